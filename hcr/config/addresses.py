"""Parsing of server addresses."""

from urllib.parse import SplitResult, urlsplit


def split_address(address: str) -> SplitResult | None:
    """The parts of a URI; None if it is malformed, such as `http://[::1` or a port that is not a number."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises only when read
    except ValueError:
        return None
    return parts


def without_user(address: str) -> str:
    """The address of a server without the name and the password in it: a browser asks for them."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
