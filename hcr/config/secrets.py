"""What must not be recorded: passwords and tokens, by where they stand and by their shape."""

import re
from typing import Any

HIDDEN = "<hidden>"  # plain text in YAML, JSON and Markdown alike
PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]+@")
_SECRET = (
    r"(?:pass(?:word|wd|phrase)|secret(?:[-_]?(?:access)?[-_]?key)?|(?:api|access|private)[-_]?key"
    r"|token|credentials?)"
)
SECRET_NAME = re.compile(rf"(?i)(?:^|[._\-\s/]){_SECRET}$")
# How our own messages go on behind a key or a file, such as `/etc/passwd: expected ...`: no value, and nothing to hide.
OWN_WORDS = ("another", "cannot", "damaged", "expected", "missing", "neither", "numbers", "unknown", "weights")
# A value behind such a name, in YAML, JSON, Python, a shell: of 6 characters or more, so that `token: null` stays.
_NO_SECRET = rf"(?!null\b|none\b)(?!(?<=: )(?:{'|'.join(OWN_WORDS)}) [\w(\[{{'])"
KEYED = re.compile(rf"(?i)(\b(?:\w+[._-])?{_SECRET}[\"']?\s*[:=]\s*[\"']?){_NO_SECRET}[^\s\"',;}})\]]{{6,}}")
TOKEN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[opsur]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{40,}\b|\bglpat-[\w-]{20,}"  # GitHub, GitLab
    r"|\bhf_[A-Za-z0-9]{30,}\b|\bsk-[\w-]{20,}|\bdapi[0-9a-f]{32}\b|\bxox[abprs]-[\w-]{10,}"  # hubs, Databricks, Slack
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.|\n)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)


def redact(text: str) -> str:
    """`text` without what looks like a secret: `http://me:secret@host` becomes `http://me:***@host`.

    Passwords of addresses, values behind keys such as `api_key`, and tokens by their shape.
    """
    text = PASSWORD.sub(r"\1***@", text)
    text = KEYED.sub(rf"\1{HIDDEN}", text)
    return TOKEN.sub(HIDDEN, text)


def without_secrets(value: Any, name: str = "") -> Any:
    """Plain values, in groups and lists, with what is called like a secret or looks like one left out."""
    if isinstance(value, dict):
        return {key: without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item, name) for item in value]
    if value is not None and is_secret_name(name):
        return HIDDEN
    return redact(value) if isinstance(value, str) else value


def override_without_secrets(override: str) -> str:
    """An override such as `tags.api_key=...` as it may be recorded."""
    key, equals, value = override.partition("=")
    return f"{key}={HIDDEN}" if equals and value != "null" and is_secret_name(key) else redact(override)


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret, such as `tags.api_key`."""
    return SECRET_NAME.search(name) is not None
