"""What differs here from where a run was trained, of all that can change its numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hcr.config.errors import ConfigError, DataError, HcrError, one_line
from hcr.config.training import available_cores, has_bfloat16
from hcr.data.splitting import data_digests
from hcr.environment import deciding_settings, default_setting, recorded_settings
from hcr.gate import RunConfig, parse_config
from hcr.gate.fingerprint import DECIDING_PACKAGES, extension_sources, is_deciding
from hcr.gpus import gpu_models, visible_gpus
from hcr.machine import this_machine
from hcr.reproducing.original import Original
from hcr.sources import frozen_requirements, own_sources, package_sources
from hcr.tracking.events import GPU

EXTENSIONS = "extensions/"
MOST_NAMED = 8  # files or packages in a line
SHOWN = 12  # digits of a digest
NOT_PACKAGES = ("hcr",)  # its sources are compared


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What differs here.

    Attributes:
        cfg: the run's config as the installed code reads it; None if it refuses it.
        sources: the files that can change numbers and are others here, each with how: "changed", "only there" or
            "only here".
        lines: all that differs, one line each.
        data_problem: why the run's data is not here, as far as the installed code can tell; None: it is.
    """

    cfg: RunConfig | None
    sources: Mapping[str, str]
    lines: Sequence[str]
    data_problem: str | None

    @property
    def needs_own_code(self) -> bool:
        """True if the installed code is not that of the run."""
        return bool(self.sources)

    @property
    def reads_alike(self) -> bool:
        """True if the installed code reads data as the run's own does."""
        return self.cfg is not None and not any(name.startswith(("hcr/data/", "extensions/")) for name in self.sources)


def find_differences(original: Original, config: Mapping[str, Any]) -> Differences:
    """Compare this machine and installation with the record of a run; nothing of the run is executed.

    Args:
        config: the run's config, with the places of this machine.
    """
    lines = []
    try:
        cfg = parse_config(config)
    except HcrError as error:
        cfg = None
        lines.append(f"config: the installed code refuses it ({one_line(error)})")
    sources = changed_sources(original.sources, cfg)
    if sources:
        told = [f"{name} ({how})" for name, how in sorted(sources.items())]
        lines.append(f"code: {_some(told)}")
    lines += _packages(original.packages)
    lines += _environment(original.record.tags)
    lines += _machine(original, config)
    problem = None if cfg is None else _data_problem(original, cfg)
    if problem is not None:
        lines.append(f"data: {problem}")
    return Differences(cfg=cfg, sources=sources, lines=lines, data_problem=problem)


def changed_sources(theirs: Mapping[str, bytes], cfg: RunConfig | None) -> dict[str, str]:
    """The files that can change numbers and differ between a run's sources and the installed ones, each with how.

    Extensions that the run did not have are left out: they are installed, whatever code runs.
    """
    ours = own_sources(is_deciding)
    for name, modules in ({} if cfg is None else extension_sources(cfg)).items():
        ours |= {f"{EXTENSIONS}{path}": data for path, data in package_sources(name, modules).items()}
    then = {path: data for path, data in theirs.items() if is_deciding(path) or path.startswith(EXTENSIONS)}
    packages = {path.split("/")[1] for path in then if path.startswith(EXTENSIONS)}
    found = {path: "changed" if path in ours else "only there" for path in then if ours.get(path) != then[path]}
    new = [path for path in ours if path not in then]
    return found | {
        path: "only here" for path in new if not path.startswith(EXTENSIONS) or path.split("/")[1] in packages
    }


def _packages(then: Mapping[str, str]) -> list[str]:
    lines = [line.partition("==") for line in frozen_requirements().splitlines()]
    now = {name.lower(): version for name, _, version in lines if name.lower() not in NOT_PACKAGES}
    names = sorted(
        (name for name in then if name not in NOT_PACKAGES and then[name] != now.get(name)),
        key=lambda name: (name not in DECIDING_PACKAGES, name),
    )
    told = [f"{name} {then[name]} (here {now.get(name, 'missing')})" for name in names]
    return [f"packages: {_some(told)}"] if told else []


def _environment(tags: Mapping[str, str]) -> list[str]:
    # An earlier version recorded a value that is hcr's own now.
    then, now = deciding_settings(recorded_settings(tags)), deciding_settings()
    told = [
        f"{name}={then[name]} (here {now.get(name, default_setting(name, 'not set'))})"
        if name in then
        else f"{name} not set"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    return [f"environment: {', '.join(told)}"] if told else []


def _machine(original: Original, config: Mapping[str, Any]) -> list[str]:
    tags, lines, here = original.record.tags, [], this_machine()
    machine = re.match(r"(.*?), \d+ cores", tags.get("hcr.machine", ""))
    if machine is not None and machine[1] != here.cpu:
        lines.append(f"processor: {machine[1]} (here {here.cpu})")
    if "hcr.python" in tags and tags["hcr.python"] != here.versions["python"]:
        lines.append(f"python: {tags['hcr.python']} (here {here.versions['python']})")
    training = config.get("training", {})
    threads, cores = training.get("threads"), available_cores()
    if isinstance(threads, int) and threads > cores:
        lines.append(f"threads: {threads}, which this machine runs on {cores} cores")
    gpu, gpus = tags.get(GPU), gpu_models() if visible_gpus() else ()
    if gpu is not None and gpu not in gpus:
        lines.append(f"GPU: {gpu} (here {', '.join(gpus) or 'none'})")
    if training.get("precision") == "bfloat16" and training.get("device", "cpu") == "cpu" and not has_bfloat16():
        lines.append("precision: bfloat16 (this processor has float32 only)")
    return lines


def _data_problem(original: Original, cfg: RunConfig) -> str | None:
    tags = original.record.tags
    expected = str(tags.get("hcr.dataset_digest"))
    what = f"expected {cfg.dataset.name} with the digest {expected[:SHOWN]}, read from {tags.get('hcr.dataset_source')}"
    try:
        found = data_digests(cfg.dataset, cfg.split, cfg.seed)
    except (DataError, ConfigError) as error:
        return f"{what}; {one_line(error)}"
    if found.dataset != expected:
        return f"{what}; {found.source} has the digest {found.dataset[:SHOWN]}"
    if found.split != tags.get("hcr.split_digest"):
        return f"{what}; {found.source} is split otherwise here"
    if found.preparation != tags.get("hcr.preparation_digest"):
        return f"{what}; {found.source} is prepared otherwise here"
    return None


def _some(told: Sequence[str]) -> str:
    more = f" and {len(told) - MOST_NAMED} more" if told[MOST_NAMED:] else ""
    return ", ".join(told[:MOST_NAMED]) + more
