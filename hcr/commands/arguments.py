"""The flags of a verb."""

import argparse
from typing import NoReturn

from hcr.config.errors import ConfigError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}")
