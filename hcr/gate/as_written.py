"""Keeps text that Hydra or YAML would read as a number: a tag `1.10`, a commit `12345e7`, a note `007`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from hcr.gate.axes import quoted
from hcr.gate.keys import part_of, takes_text

if TYPE_CHECKING:
    from hydra._internal.config_repository import IConfigRepository
    from hydra.core.default_element import ResultDefault

PATTERNS = ("dataset.group",)  # keys that take a regular expression
Hint = Callable[[str], Any]  # returns the annotation of a dotted key


def quote_text(overrides: Sequence[str], hint: Hint) -> list[str]:
    """`overrides` with quotes around values of text keys that Hydra would read as a number, true or false.

    Overrides that Hydra cannot read are unchanged, and so is null, which leaves a key empty.
    """
    return [_quoted(override, hint) for override in overrides]


def quote_patterns(overrides: Sequence[str]) -> list[str]:
    """`overrides` with quotes around regular expressions that Hydra could not read, such as `w(\\d+)_`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found = list(overrides)
    for i, override in enumerate(found):
        key, equals, value = override.partition("=")
        if equals and key in PATTERNS and "(" in value and not value.startswith(("'", '"')):
            try:
                OverridesParser.create().parse_override(override)
            except HydraException:
                found[i] = f"{key}={quoted(value)}"
    return found


def restore_text(
    job: DictConfig, hint: Hint, defaults: Callable[[], Sequence["ResultDefault"]], repository: "IConfigRepository"
) -> None:
    """Restore the original text of a user's YAML in `job` where a text key was read as a number, true or false.

    Args:
        job: a composed config; changed in place.
        hint: returns the annotation of a dotted key.
        defaults: returns the files that `job` was composed of, in order.
        repository: the repository of these files.
    """
    read = list(_misread(job, hint))
    if not read:
        return
    files = [(str(entry.package or ""), _yaml_file(entry, repository)) for entry in defaults()]
    texts = [(package, _words(file)) for package, file in files if file is not None]
    for node, name, path in read:
        for package, words in reversed(texts):
            word = _at(words, [part for part in package.split(".") if part], path)
            if word is not None:
                if OmegaConf.create(f"x: {word}").x == node[name]:
                    node[name] = word
                break


def _misread(job: DictConfig, hint: Hint) -> Iterator[tuple[Any, Any, list[str]]]:
    """The node, the name in it, and the full path of every number, true or false at a text key."""
    for top in job:
        node = job._get_node(top)
        keys = [(node, name, [str(top), str(name)]) for name in node] if isinstance(node, DictConfig) else []
        for holder, name, path in [(job, top, [str(top)]), *keys]:
            asked, child = hint(".".join(path)), holder._get_node(name)
            places: list[tuple[Any, Any, list[str]]] = [(holder, name, path)]
            if isinstance(child, ListConfig) and part_of(asked, tuple) is not None:
                asked = get_args(part_of(asked, tuple))[0]
                places = [(child, i, [*path, str(i)]) for i in range(len(child))]
            for inner, index, where in places if takes_text(asked) else []:
                if OmegaConf.is_interpolation(inner, index) or OmegaConf.is_missing(inner, index):
                    continue
                if isinstance(inner[index], bool | int | float):
                    yield inner, index, where


def _yaml_file(entry: "ResultDefault", repository: "IConfigRepository") -> Path | None:
    """The file of an entry of the defaults list; None for hcr's own files, which need no repair."""
    found = repository.load_config(entry.config_path) if entry.config_path is not None else None
    if found is None or not str(found.path).startswith("file://"):
        return None
    return Path(str(found.path).removeprefix("file://")) / f"{str(entry.config_path).removesuffix('.yaml')}.yaml"


def _words(file: Path) -> Any:
    """The content of a YAML file, with every value as its original text."""
    return yaml.load(file.read_text(encoding="utf-8"), _TextLoader)


class _TextLoader(yaml.BaseLoader):
    """A loader that reads every scalar as text, and merges `<<` as OmegaConf does."""

    flatten_mapping = yaml.SafeLoader.flatten_mapping

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        self.flatten_mapping(node)
        return super().construct_mapping(node, deep)


_TextLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<"), ["<"])


def _at(words: Any, package: list[str], path: list[str]) -> str | None:
    if path[: len(package)] != package:
        return None
    for name in path[len(package) :]:
        if isinstance(words, Mapping):
            words = words.get(name)
        elif isinstance(words, list) and name.isdigit() and int(name) < len(words):
            words = words[int(name)]
        else:
            return None
    return words if isinstance(words, str) else None


def _quoted(override: str, hint: Hint) -> str:
    key, equals, value = override.partition("=")
    asked = hint(key.lstrip("+").partition("@")[0])
    inner = part_of(asked, tuple) or part_of(asked, dict)
    item = get_args(inner)[-1 if part_of(asked, tuple) is None else 0] if inner is not None else None
    if not equals or not (takes_text(asked) or takes_text(item)):
        return override
    spans = [span for span, depth in _not_text(value) if takes_text(item if depth else asked)]
    for start, end in sorted(spans, reverse=True):
        value = f"{value[:start]}'{value[start:end]}'{value[end:]}"
    return f"{key}={value}"


def _not_text(value: str) -> Iterator[tuple[tuple[int, int], int]]:
    """The span of every number, true or false in a value of Hydra's grammar, and its depth in lists and groups."""
    # Hydra's own lexer and parser, which have no type hints.
    from hydra.grammar.gen.OverrideLexer import (  # type: ignore[attr-defined]
        CommonTokenStream,
        InputStream,
        OverrideLexer,
    )
    from hydra.grammar.gen.OverrideParser import OverrideParser

    lexer = OverrideLexer(InputStream(value))
    lexer.removeErrorListeners()
    lexer.mode(OverrideLexer.VALUE_MODE)
    parser = OverrideParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()

    def walk(node: Any, depth: int) -> Iterator[tuple[tuple[int, int], int]]:
        if isinstance(node, OverrideParser.FunctionContext) and node.ID().getText() != "choice":
            return
        if isinstance(node, OverrideParser.PrimitiveContext):
            tokens = [child.symbol for child in node.getChildren() if hasattr(child, "symbol")]
            tokens = [token for token in tokens if token.type != OverrideLexer.WS]
            read = (OverrideLexer.INT, OverrideLexer.FLOAT, OverrideLexer.BOOL)
            if len(tokens) == 1 and tokens[0].type in read:
                yield (tokens[0].start, tokens[0].stop + 1), depth
            return
        is_inside = isinstance(node, OverrideParser.ListContainerContext | OverrideParser.DictContainerContext)
        for child in getattr(node, "children", None) or []:
            yield from walk(child, depth + is_inside)

    yield from walk(parser.value(), 0)
