"""JSON Schemas of configs, with which editors complete and check YAML files.

    python -m hcr.gate.schema [FOLDER]

writes them, and the comments of the YAML files, into a folder laid out like `conf/`.
"""

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hcr.config.errors import ConfigError
from hcr.config.settings import Settings, choose, fields_of, is_group
from hcr.config.words import Expected
from hcr.gate.descriptions import commented, comments_of, group_of, is_global, kind_of, own_names, with_choices
from hcr.gate.run_config import CHOICES, MONITORS, RunConfig, config_hints

DRAFT = "http://json-schema.org/draft-07/schema#"
FILE = "schema.json"
MODELINE = "# yaml-language-server: $schema="
PACKAGE = "# @package "
INTERPOLATION = {"type": "string", "pattern": r"\$\{"}  # such as ${model.depth}
# Hydra's key in every file. No key is required, since a file may set only some.
OF_HYDRA = {"defaults": {"type": "array", "description": "Hydra's defaults list: the files that this one extends"}}


def schema_of(what: str | None = None, *, own: bool = False) -> dict[str, Any]:
    """The JSON Schema (draft 7) of a whole config, of the files of a group, or of one part.

    Args:
        what: None for the whole config, GROUP for its files, GROUP/NAME for one part.
        own: True for hcr's own parts only, without those that other packages add.

    Raises:
        ConfigError: there is no such group, or no such part.
    """
    head = {"$schema": DRAFT, "title": f"hcr: {what or 'config'}"}
    if what is None:
        return head | _whole(own)
    group, _, name = what.partition("/")
    choose(config_groups(), group, key="schema")
    if not name:
        return head | _group(group, own)
    if group not in CHOICES:
        raise ConfigError(f"schema: {group} has one kind of settings; write hcr schema {group}")
    _, table = CHOICES[group]
    return head | _settings(choose(table, name, key=f"schema: {group}"))


def config_groups() -> dict[str, Any]:
    """The groups of a config, each with its class."""
    return {name: hint for name, hint in config_hints().items() if is_group(hint)}


def write(root: Path) -> None:
    """Write the schemas of hcr's own parts, and the modelines and comments of the YAML files.

    Args:
        root: a folder laid out like `conf/`.
    """
    places: dict[Path, str | None] = {root: None} | {root / group: group for group in config_groups()}
    for folder, what in places.items():
        text = json.dumps(schema_of(what, own=True), indent=1, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
    for file in sorted(root.rglob("*.yaml")):
        text, group = file.read_text(encoding="utf-8"), group_of(file, root)
        whole = is_global(text) or not group
        text = _with_modeline(text, f"../{FILE}" if whole and group else FILE)
        if not is_global(text):
            text = commented(text, comments_of(group, _values(file)))
        if not group:
            folders = (folder for folder in root.iterdir() if folder.is_dir())
            text = with_choices(
                text, {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
            )
        file.write_text(text, encoding="utf-8")


def _with_modeline(text: str, schema: str) -> str:
    """`text` with the editors' modeline, after `# @package`: Hydra stops reading its header at any other comment."""
    lines = [line for line in text.splitlines() if not line.startswith(MODELINE)]
    lines.insert(int(lines[0].startswith(PACKAGE)), MODELINE + schema)
    return "\n".join(lines) + "\n"


def _values(file: Path) -> dict[str, Any]:
    """The settings of a file, including those of the files in its group that it extends."""
    raw = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(raw, dict)
    merged: dict[str, Any] = {}
    for entry in raw.get("defaults") or []:
        if isinstance(entry, str) and entry != "_self_":
            merged |= _values(file.with_name(f"{entry}.yaml"))
    return merged | {str(key): value for key, value in raw.items()}


def _whole(own: bool) -> dict[str, Any]:
    values = {name: field for name, field in fields_of(RunConfig).items() if not is_group(field.annotation)}
    made = RunConfig.model_json_schema(by_alias=True)["properties"]
    properties = {name: _property(made[name], field) for name, field in values.items()}
    properties["monitor"] |= {"enum": list(MONITORS)}
    properties |= {group: _group(group, own) for group in config_groups()}
    properties |= OF_HYDRA | {"hydra": {"type": "object", "description": "Hydra's own settings"}}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _group(group: str, own: bool) -> dict[str, Any]:
    """The schema of any file of a group; a file that names no part may have the keys of all."""
    if group not in CHOICES:
        kind = kind_of(group, {})
        assert kind is not None
        return _settings(kind)
    selector, table = CHOICES[group]
    parts = {name: _settings(table[name]) for name in (own_names(group) if own else table)}
    every: dict[str, Any] = {}
    for part in parts.values():
        every |= {key: {"description": value.get("description", "")} for key, value in part["properties"].items()}
    named = {selector: every[selector] | {"anyOf": [{"enum": list(parts)}, {"type": "string"}]}}
    rules = [
        {"if": {"properties": {selector: {"const": name}}, "required": [selector]}, "then": part}
        for name, part in parts.items()
    ]
    rules.append({"if": {"not": {"required": [selector]}}, "then": {"properties": every}})
    return {"type": "object", "properties": named, "allOf": rules}


def _settings(kind: type[Settings]) -> dict[str, Any]:
    made = kind.model_json_schema(by_alias=True)["properties"]
    properties = {name: _property(made[name], field) for name, field in fields_of(kind).items()}
    about = (kind.__doc__ or "").strip().partition("\n")[0]
    return {
        "type": "object",
        "description": about,
        "properties": properties | OF_HYDRA,
        "additionalProperties": False,
    }


def _property(made: Mapping[str, Any], field: Any) -> dict[str, Any]:
    """The schema of a value or an interpolation; its description adds what type and range do not say."""
    value = {key: item for key, item in made.items() if key not in ("title", "default", "description")}
    texts = [made.get("description", "")]
    texts += [f"expects {item.what}" for item in field.metadata if isinstance(item, Expected)]
    taken = {"anyOf": [value, INTERPOLATION]} if value != {"type": "string"} else value
    return {"description": "; ".join(filter(None, texts))} | taken


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(files("hcr.conf"))))
