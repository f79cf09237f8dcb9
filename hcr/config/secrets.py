"""Redaction of passwords and tokens, recognized by their key, position or shape, before anything is recorded."""

import re
from typing import Any

HIDDEN = "<hidden>"  # plain text in YAML, JSON and Markdown alike
PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]+@")
NO_PORT = re.compile(r"(://[^/?@:\[\]]*:)(?!\d*(?:[/?]|$))[^/?@]+")
_SECRET = (
    r"(?:pass(?:word|wd|phrase)|secret(?:[-_]?(?:access)?[-_]?key)?|(?:api|access|private)[-_]?key"
    r"|token|credentials?)"
)
SECRET_NAME = re.compile(rf"(?i)(?:^|[._\-\s/]){_SECRET}$")
# Separators between such a name and its value: in YAML, JSON, Python and TOML (_LOOSE, the value may be several words),
# and in a shell (_TIGHT).
_LOOSE = r"(?:\s*:[ \t]*(?:[|>][+-]?[ \t]*)?(?:\n[+-]?[ \t]+)?|[ \t]+=[ \t]*)"
_TIGHT = r"=[ \t]*"
_NO_SECRET = r"(?!(?:null|none|~)[ \t]*(?:[\n\"',;})\]]|\Z))"
# A character of an unquoted value: includes a quote inside a word, and a comma not followed by a blank or another key.
_CHARACTER = r"(?:[^\s\"',;})\]]|(?<=\w)[\"'](?=\w)|[,;](?=[^\s\"'}\])])(?!\w+\s*[:=]))"
KEYED = re.compile(
    rf"(?i)(?P<name>\b(?:\w+[._-])?{_SECRET}[\"']?)(?:"
    rf"(?P<quoted>(?:{_LOOSE}|{_TIGHT})(?P<mark>[\"']))(?:(?!(?P=mark))[^\n\\]|\\.){{6,}}"
    rf"|(?P<listed>(?:{_LOOSE}|{_TIGHT})[\[{{])[^\n\]}}]{{4,}}"
    rf"|(?P<loose>{_LOOSE}){_NO_SECRET}(?=(?:{_CHARACTER}|[ \t]){{6}}){_CHARACTER}+(?:[ \t]+{_CHARACTER}+)*"
    rf"|(?P<tight>{_TIGHT}){_NO_SECRET}{_CHARACTER}{{6,}})"
)
TOKEN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[opsur]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{40,}\b|\bglpat-[\w-]{20,}"  # GitHub, GitLab
    r"|\bhf_[A-Za-z0-9]{30,}\b|\bsk-[\w-]{20,}|\bdapi[0-9a-f]{32}\b|\bxox[abprs]-[\w-]{10,}"  # hubs, Databricks, Slack
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.|\n)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)


def redact(text: str) -> str:
    """Redact secrets in the text of a user or a library: `http://me:secret@host` becomes `http://me:***@host`.

    Redacts passwords in URLs, tokens recognized by their shape, and values of 6 or more characters after names such as
    `api_key`. A value is the text in quotes or brackets, the text after a colon up to the end of the line or the next
    comma, or one shell word (`TOKEN=...`).
    """
    text = PASSWORD.sub(r"\1***@", text)
    return TOKEN.sub(HIDDEN, KEYED.sub(_without_value, text))


def redact_shapes(text: str) -> str:
    """Redact URL passwords and tokens in a message of hcr's own, whose values are already redacted by key.

    `redact` would misread messages such as `/etc/passwd: expected a file` as a key and its value.
    """
    return TOKEN.sub(HIDDEN, PASSWORD.sub(r"\1***@", text))


def without_credentials(uri: str) -> str:
    """An invalid URI without the text between its scheme and its last `@`, and without a port that is not a number.

    No parser can locate the password in a malformed URI.
    """
    hidden = re.sub(r"^([\w+.-]+:(?://)?)?[^\n]*@", r"\1***@", uri)
    return redact(NO_PORT.sub(r"\1***", hidden))


def without_secrets(value: Any, name: str = "") -> Any:
    """`value`, possibly nested, with everything that is named like a secret or looks like one redacted.

    A group with such a name is redacted as a whole, a list item by item.
    """
    if isinstance(value, dict) and not is_secret_name(name):
        return {key: without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item, name) for item in value]
    if value is not None and is_secret_name(name):
        return HIDDEN
    return redact(value) if isinstance(value, str) else value


def shown(key: str, value: object) -> str:
    """`repr(value)` for a message, without secrets: by the name of `key`, or of a key inside `value`."""
    return repr(without_secrets(value, key))


def override_without_secrets(override: str) -> str:
    """An override with its secrets redacted, such as `tags.api_key=<hidden>`."""
    key, equals, value = override.partition("=")
    return f"{key}={HIDDEN}" if equals and value != "null" and is_secret_name(key) else redact(override)


def is_secret_name(name: str) -> bool:
    """True if `name` is the name of a secret, such as `tags.api_key`."""
    return SECRET_NAME.search(name) is not None


def _without_value(found: re.Match[str]) -> str:
    before = next(part for part in found.group("quoted", "listed", "loose", "tight") if part is not None)
    return f"{found['name']}{before}{HIDDEN}"
