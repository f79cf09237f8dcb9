"""The GPUs of a machine, as its driver shows them: those that a process may use, and what they are called."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hcr import gpus
from hcr.gpus import gpu_models, has_cuda, unused_note, usable_gpus, visible_gpus

MODEL = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 42\nGPU UUID: \t GPU-7d0c\nDevice Minor: \t 0\n"


def machine(root: Path, *nodes: str, models: tuple[str, ...] = ()) -> Path:
    """A file system with these files in /dev, and the driver's texts on GPUs."""
    for node in nodes:
        (root / "dev" / node).parent.mkdir(parents=True, exist_ok=True)
        (root / "dev" / node).touch()
    for number, model in enumerate(models):
        text = root / f"proc/driver/nvidia/gpus/0000:{number:02x}:00.0/information"
        text.parent.mkdir(parents=True)
        text.write_text(MODEL.replace("NVIDIA A100-SXM4-40GB", model))
    return root


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, ("0", "1", "2")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),  # what Slurm sets for a job that asked for none
        ("2", ("2",)),
        ("2,0", ("2", "0")),
        (" 1 , 2 ", ("1", "2")),
        ("0,-1,1", ("0",)),  # CUDA reads no further than the first that is none
        ("0,3,1", ("0",)),
        ("1,1", ("1",)),
        ("GPU-7d0c,1", ("GPU-7d0c", "1")),
        ("MIG-7d0c/1/0", ("MIG-7d0c/1/0",)),
    ],
)
def test_a_process_sees_the_gpus_that_its_environment_leaves_it(
    setting: str | None, expected: tuple[str, ...], tmp_path: Path
) -> None:
    root = machine(tmp_path, "nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1")
    environ = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    assert visible_gpus(root, environ) == expected


@pytest.mark.parametrize("setting", ["0", "GPU-7d0c"])
def test_naming_a_gpu_does_not_make_one(setting: str, tmp_path: Path) -> None:
    assert visible_gpus(machine(tmp_path, "null"), {"CUDA_VISIBLE_DEVICES": setting}) == ()


def test_a_container_has_only_the_gpus_whose_devices_it_was_given(tmp_path: Path) -> None:
    host = ("NVIDIA A100-SXM4-40GB",) * 4  # which /proc shows in every container
    assert visible_gpus(machine(tmp_path / "none", "null", models=host), {}) == ()
    assert visible_gpus(machine(tmp_path / "one", "nvidia3", "nvidiactl", models=host), {}) == ("0",)


def test_the_gpu_of_windows_is_seen_in_its_linux(tmp_path: Path) -> None:
    root = machine(tmp_path, "dxg")
    assert visible_gpus(root, {}) == ()  # without NVIDIA's driver
    (root / "usr/lib/wsl/lib").mkdir(parents=True)
    assert visible_gpus(root, {}) == ("0",)


def test_models_are_named_once_each(tmp_path: Path) -> None:
    assert gpu_models(machine(tmp_path / "a", models=("Tesla T4", "NVIDIA L4", "Tesla T4"))) == (
        "Tesla T4",
        "NVIDIA L4",
    )
    assert gpu_models(tmp_path / "nowhere") == ()


def test_cuda_is_there_if_all_is_installed_that_tensorflow_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def version(name: str, missing: str = "") -> str:
        asked.append(name)
        if name == missing:
            raise PackageNotFoundError(name)
        return "12.0"

    monkeypatch.setattr(gpus, "version", version)
    assert has_cuda()
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12"} <= set(asked)
    monkeypatch.setattr(gpus, "version", lambda name: version(name, "nvidia-cudnn-cu12"))
    assert not has_cuda()


def test_a_gpu_without_cuda_is_not_used_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ("0", "1"))
    monkeypatch.setattr(gpus, "gpu_models", lambda: ("Tesla T4",))
    monkeypatch.setattr(gpus, "has_cuda", lambda: False)
    assert usable_gpus() == ()
    assert "Tesla T4 is here too, but not the CUDA libraries" in str(unused_note())
    monkeypatch.setattr(gpus, "has_cuda", lambda: True)
    assert (usable_gpus(), unused_note()) == (("0", "1"), None)
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ())
    assert (usable_gpus(), unused_note()) == ((), None)
