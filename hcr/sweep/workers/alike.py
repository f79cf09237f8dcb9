"""Comparison of two machines: their code, libraries and CPU have to match for equal results."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

from hcr import __version__
from hcr.config.training import has_bfloat16
from hcr.environment import deciding_settings, default_setting
from hcr.gate.fingerprint import DECIDING_PACKAGES, code_sources
from hcr.gate.run_config import RunConfig


@dataclass(frozen=True)
class Facts:
    """All that affects results on a machine, beside the config.

    Attributes:
        name: of the machine.
        versions: of Python (major and minor) and of libraries, by name.
        sources: SHA-256 of each source file, by path.
        settings: environment variables, by name.
        has_bfloat16: True if the CPU supports bfloat16.
    """

    name: str
    versions: dict[str, str]
    sources: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    has_bfloat16: bool = False


def facts(name: str, configs: Sequence[RunConfig]) -> Facts:
    """The facts of this machine, for runs of `configs`."""
    versions = {"Python": ".".join(platform.python_version_tuple()[:2]), "hcr": __version__}
    digests: dict[str, str] = {}
    for cfg in configs:
        digests |= code_sources(cfg)
    settings = deciding_settings()
    return Facts(
        name=name,
        versions=versions | {package: digests[package] for package in DECIDING_PACKAGES if package in digests},
        sources={path: digest for path, digest in digests.items() if path.endswith(".py")},
        settings=settings,
        has_bfloat16=has_bfloat16(),
    )


def difference(here: Facts, there: Facts, *, precisions: Sequence[str]) -> str | None:
    """The first difference that would change results on the machine `there`, and its remedy; None if there is none.

    Args:
        precisions: the `training.precision` of the runs on a CPU.
    """
    theirs, ours = f"node {there.name} has", f"the controller {here.name} has"
    for name, version in here.versions.items():
        if there.versions.get(name) != version:
            return f"{theirs} {name} {there.versions.get(name, 'none')}, and {ours} {version}; install the same on both"
    for name in sorted(here.settings.keys() | there.settings.keys()):
        if here.settings.get(name) != there.settings.get(name):
            what = [facts.settings.get(name, default_setting(name, "none")) for facts in (there, here)]
            return f"{theirs} {name} {what[0]}, and {ours} {what[1]}; set the same on both"
    paths = sorted(here.sources.keys() | there.sources.keys())
    changed = [path for path in paths if here.sources.get(path) != there.sources.get(path)]
    if changed:
        return f"{theirs} other code than the controller {here.name} ({changed[0]}); install the same on both"
    if here.has_bfloat16 != there.has_bfloat16 and "bfloat16" in precisions:
        cpus = ["bfloat16" if facts.has_bfloat16 else "no bfloat16" for facts in (there, here)]
        return (
            f"{theirs} a CPU with {cpus[0]}, and {ours} one with {cpus[1]}, so training.precision=bfloat16 would mean"
            " different things; set training.precision=float32"
        )
    return None
