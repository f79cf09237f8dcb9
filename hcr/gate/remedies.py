"""Suggests a working form for an override that Hydra cannot read, or that has several values."""

import os
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from hcr.config.errors import ConfigError
from hcr.config.secrets import is_secret_name, redact
from hcr.config.settings import is_group
from hcr.config.spelling import ALIKE_ELSEWHERE, ELSEWHERE, did_you_mean, key_meant, simplified
from hcr.config.words import accepts as takes
from hcr.config.words import words as in_words
from hcr.gate.as_written import quote_text
from hcr.gate.axes import plain, quoted, written
from hcr.gate.keys import Keys, is_list, part_of, takes_text
from hcr.gate.run_config import OF_ALL_RUNS

LONGEST = 500  # characters of a remedy; a message would cut a longer one
SHOWN = 60  # characters of a value
INTERPOLATION = re.compile(r"(?<!\\)(\\\\)*\$\{[^}]+\}")  # after an even number of backslashes
KEY = re.compile(r"[\w./@:-]+")  # a key in Hydra's grammar
FORM = "expected an override (KEY=VALUE, GROUP=NAME or a flag)"


def shell_word(word: str) -> str:
    """`word` quoted for bash, always on one line."""
    if not word.isprintable():
        plain_bytes = {ord(char) for char in map(chr, range(32, 127)) if char not in "'\\"}
        return "$'" + "".join(chr(b) if b in plain_bytes else f"\\x{b:02x}" for b in os.fsencode(word)) + "'"
    if "'" in word and not set(word) & set("$`\\!"):
        return '"' + word.replace('"', '\\"') + '"'
    return shlex.quote(word)


def text_override(key: str, text: str) -> str:
    """The override that sets `key` to exactly this text, in Hydra's grammar; only a valid `${...}` stays active."""
    from omegaconf.errors import OmegaConfBaseException
    from omegaconf.grammar_parser import parse

    if "${" in text:
        try:
            parse(text)
            literal = INTERPOLATION.search(text) is None
        except OmegaConfBaseException:
            literal = True
        if literal:
            text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    mark = "'" if '"' in text and "'" not in text else '"'
    return f"{key}={quoted(text, mark)}"


def several_values(override: str, keys: Keys) -> str:
    """The message for an override with several values without -m."""
    key, _, value = override.lstrip("+~").partition("=")
    sign = override[: len(override) - len(override.lstrip("+~"))] or "+" * keys.has_to_be_added(key)
    hint = keys.hint(key)
    sweeps = key.partition(".")[0] not in OF_ALL_RUNS
    remedies = ["add -m to run each of them"] if sweeps else []
    if takes_text(hint):
        remedies.insert(0, write(text_override(f"{sign}{key}", value), "for the text"))
    elif is_list(hint) and accepts(listed := f"{sign}{key}=[{value}]", keys):
        remedies.append(write(listed, "for a list"))
    elif re.fullmatch(r"\d*,\d+|\d{1,3}(,000)+", value):
        number = value.replace(",", "" if value.endswith(",000") else ".")
        remedies += [write(f"{key}={number}", "for one number")] if accepts(f"{key}={number}", keys) else []
    return f"{key}: {_shown(key, value)} means several values; {', or '.join(remedies) or 'expected one'}"


def unreadable(words: Sequence[str], at: int, keys: Keys) -> str:
    """The message for `words[at]`, which Hydra cannot read, with a suggestion if one is found."""
    word = words[at]
    for found in _candidates(words, at, keys):
        if accepts(found, keys):
            key, _, value = word.partition("=")
            if found.startswith(f"{key}=") and takes_text(keys.hint(key)):
                return f"{key}: expected quotes around {_shown(key, value)}; {write(found)}"
            return f"{_shown(key, word, repr)}: {FORM}; {write(found)}"
    key, equals, value = word.strip("\"' ").lstrip("+~").partition("=")
    if not equals:
        meant = _key(key, keys)
        return f"{_shown('', word, repr)}: {FORM}" + ("" if meant is None else f"; write {meant}=VALUE")
    hint = keys.hint(key)
    if not key or "hydra" in (key.partition(".")[0], key.partition("/")[0]):
        return f"{_shown(key, word, repr)}: expected an override (KEY=VALUE or GROUP=NAME)"
    if hint is None:
        return keys.unknown(key)
    if KEY.fullmatch(key) is None:
        return f"{_shown('', key, repr)}: expected a key of letters, digits and _ - . /"
    return f"{key}: expected {'a name' if is_group(hint) else in_words(hint)}, got {_shown(key, value, repr)}"


def unknown_flag(flag: str, words: Sequence[str], flags: Sequence[str], keys: Keys) -> str:
    """The message for an unknown flag, which may be meant as a setting.

    Args:
        flag: as given, such as `--lr=0.1`.
        words: the whole command line.
        flags: the known flags.
    """
    name, equals, value = flag.lstrip("-").partition("=")
    name = name.replace("-", "_")
    key = _key(name, keys)
    shown = flag.partition("=")[0]
    if key is None:
        if simplified(name) in ELSEWHERE:
            return f"{shown}: unknown flag; {ELSEWHERE[simplified(name)]}"
        near = did_you_mean(shown, flags) or "; hcr train --hydra-help lists the flags"
        return f"{shown}: unknown flag{near}"
    after = list(words[list(words).index(flag) + 1 :])[:1] if flag in words else []
    values = [value] if equals else [word for word in after if "=" not in word and not word.startswith("-")]
    values += ["true"] if keys.hint(key) is bool else []
    found = next((f"{key}={value}" for value in values if accepts(f"{key}={value}", keys)), None)
    written_so = f"write {key}=VALUE" if found is None else write(found)
    return f"{shown}: unknown flag; settings are written KEY=VALUE: {written_so}"


def accepts(override: str, keys: Keys) -> bool:
    """True if Hydra reads `override` as one value that fits the type of its key."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_override(*quote_text([override], keys.hint))
        if found.is_sweep_override():
            return False
        hint, value = keys.hint(str(found.key_or_group)), plain(found.value())
        if is_group(hint):
            names = keys.names_of(str(found.key_or_group)) if keys.names_of is not None else ()
            return isinstance(value, str) and value in names
        return hint is not None and takes(hint, value)
    except (HydraException, ConfigError, RecursionError):
        return False


def _candidates(words: Sequence[str], at: int, keys: Keys) -> Iterator[str]:
    """Overrides that `words[at]` may mean, alone or joined with the words around it."""
    for start in range(at, max(at - 3, -1), -1):
        last = start
        while last + 1 < len(words) and keys.hint(words[last + 1].partition("=")[0].lstrip("+~")) is None:
            last += 1
        for end in range(last, at - 1, -1):
            if start == end == at:
                break
            joined = " ".join(words[start : end + 1])
            # The shell split `notes= x` at the blank, so the blank is not part of the text.
            yield from _repaired(re.sub(r"^([^=\s]+=) ", r"\1", joined), keys)
    yield from _repaired(words[at], keys)
    top, _, rest = words[at].partition("=")[0].lstrip("+").partition(".")
    if KEY.fullmatch(rest) is None and part_of(keys.hint(top), dict) is not None:  # such as a tag name with a blank
        yield f"{top}={{{rest}:{words[at].partition('=')[2]}}}"
    name = words[at].strip()
    if name and not re.search(r"[=:\s]", name):
        hint = keys.hint(name)
        yield from [f"{name}=true"] if hint is bool else []
        yield from (f"{group}={name}" for group in keys.all() if is_group(keys.hint(group)) and "." not in group)


def _repaired(text: str, keys: Keys) -> Iterator[str]:
    """Overrides that a mistyped override may mean."""
    if keys.hint(text.partition("=")[0].lstrip("+~")) is None and text[:1] in ("'", '"') and text[:1] == text[-1:]:
        text = text[1:-1]
    found = re.match(r"\s*(\+{0,2})([\w./@-]+?)(\s*[=:]\s*)(.*)", text, re.DOTALL)
    meant = _key(found[2], keys) if found is not None else None
    if found is None or meant is None:
        return
    hint, value = keys.hint(meant), found[4]
    meant = f"{found[1] or '+' * keys.has_to_be_added(meant)}{meant}"
    if takes_text(hint):
        # Everything after the = is the text, including blanks, unless there are blanks around the = or it is a colon.
        is_loose = found[3].strip() == ":" or found[3][0].isspace()
        yield text_override(meant, value if is_loose else text[found.start(3) + 1 :])
        return
    value = unicodedata.normalize("NFKC", value).strip().strip(",;").lstrip("=").strip()
    inner = re.fullmatch(r"[(\[{]?(.*?)[)\]}]?", value, re.DOTALL)
    assert inner is not None
    values = [value, value.strip("'\""), f"[{inner[1]}]", re.sub(r"10\^([+-]?\d+)", r"1e\1", value)]
    values.append("[" + ",".join(re.split(r"[,;\s]+", inner[1].strip())) + "]")
    if is_list(hint) and takes_text(get_args(part_of(hint, tuple))[0]):
        values.append(written([item.strip().strip("'\"") for item in inner[1].split(",")]))
    if part_of(hint, dict) is not None:
        pairs = [pair.partition(":") for pair in inner[1].split(",")]
        values.append(written({name.strip(): item.strip() for name, _, item in pairs}))
    yield from (f"{meant}={item}" for item in values)


def _key(name: str, keys: Keys) -> str | None:
    """The key that `name` means: itself, or misspelled, or another common name; None if none is close."""
    name = name.strip()
    if keys.hint(name) is not None:
        return name
    meant = key_meant(name, keys.all(), alike=ALIKE_ELSEWHERE) if name else None
    return meant if meant is not None and simplified(name) != "" else None


def write(override: str, what: str = "") -> str:
    """The advice `write 'notes="a, b"' for the text`; a secret or long value is shown as `...`."""
    key, _, value = override.partition("=")
    word = shell_word(override)
    if is_secret_name(key) or redact(override) != override or len(word) > LONGEST:
        mark = value[0] if value[:1] in ("'", '"') else ""
        word = shell_word(f"{key}={mark}...{mark}")
    return f"write {word}{' ' * bool(what)}{what}"


def _shown(key: str, value: str, form: Any = str) -> str:
    if is_secret_name(key):
        return "it"
    # A malformed address may have its password anywhere before the last @.
    value = redact(re.sub(r"([\w+.-]+://).*@", r"\1***@", value))
    short = value if len(value) <= SHOWN else f"{value[: SHOWN - 3]}..."
    return str(form(short) if short.isprintable() else repr(short))
