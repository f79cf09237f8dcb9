"""`hcr schema`: JSON Schemas of configs, for editors."""

import json
from collections.abc import Sequence

from hcr.commands.arguments import OneLineParser
from hcr.gate.schema import schema_of


def main(argv: Sequence[str]) -> int:
    """Print a schema; return the exit code."""
    parser = OneLineParser("schema", "Print the JSON Schema of a whole config, a group's files, or one part.")
    parser.add_argument("of", nargs="?")
    print(json.dumps(schema_of(parser.parse_args(argv).of), indent=1, ensure_ascii=False))
    return 0
