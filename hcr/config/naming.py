"""File names made from user-supplied names."""

import hashlib
import re

LONGEST = 80  # characters


def safe_file_name(name: str) -> str:
    """A file name that cannot leave its folder: letters, digits, `_`, `-` and `.`, not hidden, at most 80 characters.

    A name that is already safe stays unchanged; others end with a digest, so that they remain distinct.
    """
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")
    if plain == name and 1 <= len(plain) <= LONGEST:
        return name
    return f"{plain[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
