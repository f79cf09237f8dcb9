"""The flags of a verb."""

import argparse
from typing import NoReturn

from hcr.config.errors import ConfigError
from hcr.config.secrets import redact
from hcr.verbs import VERBS


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error.

    Args:
        verb: a key of VERBS; its examples end the help.
        description: what the verb does, for the help.
    """

    def __init__(self, verb: str, description: str) -> None:
        examples = "".join(f"\n  {example}" for example in VERBS[verb].examples)
        super().__init__(
            prog=f"hcr {verb}",
            description=description,
            epilog=f"examples:{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {redact(message)}")  # it quotes words of the command line
