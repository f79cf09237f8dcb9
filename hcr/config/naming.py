"""Names that come from users, as names of files."""

import hashlib
import re

LONGEST = 80  # characters


def safe_file_name(name: str) -> str:
    """A file name that stays in its folder: letters, digits, `_`, `-` and `.`, not hidden, at most 80 characters.

    Such a name is itself; others are told apart by a digest at their end.
    """
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")
    if plain == name and 1 <= len(plain) <= LONGEST:
        return name
    return f"{plain[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
