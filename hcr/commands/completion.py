"""`hcr completion`: the completion scripts for shells, and the candidates that they request at each Tab."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hcr.commands.arguments import OneLineParser
from hcr.commands.suggest import Suggestions
from hcr.config.errors import ConfigError
from hcr.config.tracking import output_root
from hcr.gate.loading import user_config_dir
from hcr.tracking.status import run_labels
from hcr.verbs import FILES, VERBS

# Both scripts call the `hcr` on the command line, so that another environment's `hcr` completes its own options.
# A candidate ends in a space if the word is complete.
BASH = r"""_hcr_complete() {
    local answer
    COMPREPLY=()
    while IFS= read -r answer; do
        COMPREPLY+=("$answer")
    done < <("${COMP_WORDS[0]/#\~/$HOME}" completion --answer bash \
        "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o nospace -F _hcr_complete hcr"""

ZSH = r"""(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
_hcr_complete() {
    local answer
    local -a open complete
    while IFS= read -r answer; do
        if [[ $answer == *' ' ]]; then complete+=("${answer% }"); else open+=("$answer"); fi
    done < <("${${(Q)words[1]}/#\~/$HOME}" completion --answer zsh \
        "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    compadd -a complete
    compadd -S '' -a open
}
compdef _hcr_complete hcr"""

SCRIPTS = {"bash": BASH, "zsh": ZSH}
OPEN_ENDS = ("=", ".", "/")  # no space follows these: the word is incomplete


def main(argv: Sequence[str]) -> int:
    """Print the script for a shell; with `--answer`, which the script passes, print the candidates for a line."""
    if argv[:1] == ["--answer"]:
        shell, *rest = argv[1:]
        for word in answer_bash(*rest) if shell == "bash" else map(_end, candidates(rest)):
            print(word)
        return 0
    parser = OneLineParser(
        "completion",
        "Print the script with which the Tab key completes verbs, groups, choices, keys and flags.\n"
        'In ~/.bashrc: eval "$(hcr completion bash)"      In ~/.zshrc: eval "$(hcr completion zsh)"',
    )
    parser.add_argument("shell", choices=sorted(SCRIPTS))
    print(SCRIPTS[parser.parse_args(argv).shell])
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """The completions of the last of `words`, the words after `hcr`; the last word may be empty."""
    *before, current = words or [""]
    if not before:
        return _matching([*VERBS, "--help", "--version"], current)
    verb = VERBS.get(before[0])
    if verb is None:
        return []
    offered = verb.options.get(before[-1], ())
    if offered:
        return _paths(current) if offered == FILES else _matching(offered, current)
    if current.startswith("-"):
        return _matching(list(verb.options), current)
    if verb.words == "overrides":
        paths = _paths(current) if verb.takes_path and current and "=" not in current else []
        return [*_overrides(before[1:], current), *paths]
    given = [word for word in before[1:] if not word.startswith("-")]
    if verb.words == "run overrides" and given:
        return [word for word in _overrides(given[1:], current) if re.split("[.=]", word)[0] in verb.keys]
    if verb.words in ("run", "run overrides"):
        labels = run_labels(output_root())
        return _matching(["latest", "best", *(name for _, name in labels), *(key for key, _ in labels)], current)
    return _matching(verb.words, current)


def answer_bash(line: str, breaks: str) -> list[str]:
    """The value for bash's COMPREPLY.

    Args:
        line: the command line up to the cursor.
        breaks: COMP_WORDBREAKS. In an unquoted word bash replaces only the text after the last of these characters;
            `=` is one of them.
    """
    words, quote = split_line(line)
    while len(words) > 1 and re.match(r"\w+=", words[0]):
        words.pop(0)  # NAME=value before the command
    current = words[-1]
    # A space or quote inside a word was escaped and does not break it.
    kept = 0 if quote else max((current.rfind(char) + 1 for char in breaks if char not in " \t\n'\""), default=0)
    found = candidates(words[1:])
    if quote:  # bash closes the quote itself, without a space
        return found
    return [_escape(_end(word)[kept:]) for word in found]


def split_line(line: str) -> tuple[list[str], str]:
    """Split an unfinished command line into words without quotes; also return the open quote, or "".

    The last word is the one being typed; it is empty after a space.
    """
    words, quote, in_word = [""], "", False
    characters = iter(line)
    for char in characters:
        if quote:
            if char == quote:
                quote = ""
            else:
                words[-1] += char
        elif char in "'\"":
            quote, in_word = char, True
        elif char.isspace():
            if in_word:
                words.append("")
            in_word = False
        else:
            words[-1] += next(characters, "") if char == "\\" else char
            in_word = True
    return words, quote


def _overrides(others: Sequence[str], current: str) -> list[str]:
    key, equals, value = current.partition("=")
    if equals and key.endswith(".path"):
        return [f"{key}={path}" for path in _paths(value)]
    config_dir = None
    for flag, path in pairwise(others):
        if flag in ("--config-dir", "-cd"):
            config_dir = Path(path)
    try:
        config_dir = config_dir or user_config_dir()
    except ConfigError:  # HCR_CONF_DIR is not a folder: complete from the installed configs
        config_dir = None
    return Suggestions(others, config_dir if config_dir is not None and config_dir.is_dir() else None).complete(current)


def _paths(typed: str) -> list[str]:
    """Files and folders whose path begins with `typed`."""
    folder, name = os.path.split(typed)
    try:
        found = sorted(os.scandir(Path(folder or ".").expanduser()), key=lambda entry: entry.name)
    except (OSError, RuntimeError):  # RuntimeError: ~name of a user that does not exist
        return []
    shown = [entry for entry in found if entry.name.startswith(name) and (name or not entry.name.startswith("."))]
    prefix = typed[: len(typed) - len(name)]
    return [prefix + entry.name + "/" * entry.is_dir() for entry in shown]


def _matching(words: Sequence[str], start: str) -> list[str]:
    return list(dict.fromkeys(word for word in words if word.startswith(start)))


def _end(word: str) -> str:
    return word if word.endswith(OPEN_ENDS) else word + " "


def _escape(word: str) -> str:
    """Escape a word for the shell, except the space that ends it."""
    ended = word.endswith(" ")
    text = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", word[:-1] if ended else word)
    return text + " " * ended
