"""Addresses of servers: whether one can be read at all."""

from urllib.parse import SplitResult, urlsplit


def split_address(address: str) -> SplitResult | None:
    """The parts of a URI; None of one that is malformed, such as `http://[::1` or a port that is no number."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises only now
    except ValueError:
        return None
    return parts
