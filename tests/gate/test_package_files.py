"""Files of installed packages: parsed once, read anew when they change, and nobody's to spoil."""

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from omegaconf import OmegaConf

from hcr.gate.package_files import keep_package_files


def test_a_file_is_parsed_once_until_it_changes_and_each_caller_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "kept_conf"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.yaml").write_text("x: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    parsed: list[str] = []
    parse = OmegaConf.load

    def counted(file: Any) -> Any:
        parsed.append(Path(file.name).name)
        return parse(file)

    monkeypatch.setattr(OmegaConf, "load", counted)

    def load() -> Any:
        repository = ConfigRepository(create_config_search_path("pkg://kept_conf"))
        keep_package_files(repository)
        found = repository.load_config("a")
        return None if found is None else found.config

    load().x = 5
    assert (load().x, parsed) == (1, ["a.yaml"])
    (package / "a.yaml").write_text("x: 20\n")
    assert (load().x, load().x, parsed) == (20, 20, ["a.yaml"] * 2)
    (package / "a.yaml").unlink()
    assert load() is None
