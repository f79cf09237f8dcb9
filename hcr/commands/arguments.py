"""Parsing of a verb's command line."""

import argparse
import textwrap
from typing import NoReturn

from hcr.config.errors import ConfigError
from hcr.config.secrets import redact
from hcr.verbs import VERBS

WIDTH = 100  # columns of a terminal


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are a single line, like all errors of hcr.

    Args:
        verb: a key of VERBS; the help ends with its examples.
        description: what the verb does, for the help.
    """

    def __init__(self, verb: str, description: str) -> None:
        examples = "".join(f"\n  {example}" for example in VERBS[verb].examples)
        super().__init__(
            prog=f"hcr {verb}",
            description=_fitting(description),
            epilog=f"examples:{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {redact(message)}")  # the message quotes the command line


def _fitting(text: str) -> str:
    """`text` in lines of at most WIDTH columns; lines that fit stay as they are."""
    is_fitting = all(len(line) <= WIDTH for line in text.splitlines())
    return text if is_fitting else textwrap.fill(" ".join(text.split()), WIDTH)
