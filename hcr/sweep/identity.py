"""Fingerprints of the runs of a sweep: runs with equal fingerprints are the same run.

Configs are not enough: two files may hold the same data set, and the data in a file may change.
"""

from collections.abc import Iterable, Mapping, Sequence

from hcr.config import ConfigError
from hcr.config.replicates import REPLICATE_KEYS
from hcr.data.splitting import DataDigests, data_digests
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_version, fingerprint
from hcr.gate.points import AskedRun
from hcr.gate.resolve import resolve
from hcr.sweep.plan import Plan, place_of


class Fingerprints:
    """Fingerprints of the runs of a sweep; data that several runs share is read and digested once.

    Attributes:
        data: source and digest of every data set seen so far, by `place_of` (see `Plan.data`).
    """

    def __init__(self) -> None:
        self.data: dict[str, dict[str, str]] = {}
        self._digests: dict[str, DataDigests] = {}
        self._code: dict[str, str] = {}

    def of(self, cfg: RunConfig) -> str:
        """The fingerprint of a run of `cfg` in a sweep.

        Raises:
            DataError: its data cannot be read.
        """
        cfg = resolve(cfg, in_sweep=True)
        data = self._data_of(cfg)
        kinds = repr([type(value) for value in vars(cfg).values()])
        if kinds not in self._code:
            self._code[kinds] = code_version(cfg)
        return fingerprint(
            cfg,
            dataset_digest=data.dataset,
            split_digest=data.split,
            preparation_digest=data.preparation,
            code=self._code[kinds],
        )

    def read(self, configs: Iterable[RunConfig]) -> None:
        """Digest the data of all `configs`, grouped by data set: only the last one read stays in memory.

        Raises:
            DataError: a data set cannot be read.
        """
        for cfg in sorted(configs, key=lambda cfg: repr(cfg.dataset)):
            self._data_of(cfg)

    def _data_of(self, cfg: RunConfig) -> DataDigests:
        key = repr((cfg.dataset, cfg.split, cfg.split.seed_for(cfg.seed)))
        if key not in self._digests:
            found = self._digests[key] = data_digests(cfg.dataset, cfg.split, cfg.seed)
            self.data[place_of(cfg.dataset)] = {"source": found.source, "digest": found.dataset}
        return self._digests[key]


def without_duplicates(
    runs: Sequence[AskedRun], fingerprints: Fingerprints, *, around: bool
) -> tuple[list[AskedRun], int]:
    """The first run of each fingerprint, and the number of runs that were removed.

    Args:
        around: True for `sweep.design=around`. There every axis that contains the base's own value repeats the base
            config; these repeats are not counted.

    Raises:
        DataError: a data set cannot be read.
    """
    fingerprints.read(run.cfg for run in runs)
    first: dict[str, AskedRun] = {}
    num_same = 0
    for run in runs:
        kept = first.setdefault(fingerprints.of(run.cfg), run)
        is_base = not kept.values.keys() - set(REPLICATE_KEYS)
        num_same += kept is not run and not (around and is_base)
    return list(first.values()), num_same


def check_data(before: Mapping[str, Mapping[str, str]], plan: Plan) -> None:
    """Refuse to resume a sweep whose data changed since it started: a leaderboard never mixes old and new data.

    Args:
        before: the data at its start, as in `Plan.data`.

    Raises:
        ConfigError: the data changed; names the files.
    """
    changed = sorted({now["source"] for place, now in plan.data.items() if _differs(before.get(place), now)})
    if changed:
        raise ConfigError(
            f"sweep: the data changed since this sweep started: {', '.join(changed)}; a leaderboard never mixes"
            " old and new data: put the old data back to resume the sweep, or start a new one with resume=never"
        )


def _differs(before: Mapping[str, str] | None, now: Mapping[str, str]) -> bool:
    return before is not None and before["digest"] != now["digest"]
