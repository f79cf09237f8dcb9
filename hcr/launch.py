"""`hcr train`: checks the config, then starts the run or the sweep. Hydra composes, and answers its own flags."""

import argparse
import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from hcr import stopping
from hcr.config import ConfigError
from hcr.config.errors import one_line
from hcr.config.places import check_places
from hcr.config.secrets import override_without_secrets, redact
from hcr.config.tracking import output_root
from hcr.environment import unusable_keras_json
from hcr.gate import RunConfig, parse_config
from hcr.gate.as_written import quote_patterns
from hcr.gate.compose import Checked, Composer
from hcr.gate.descriptions import key_help
from hcr.gate.loading import CONFIG_MODULE, CONFIG_NAME, user_config_dir
from hcr.gate.resolve import check_devices, fill_from_data, with_device
from hcr.gpus import unused_note
from hcr.importing import import_keras, refusal_of
from hcr.output import is_output_lost, leaving_without_output, of_disk
from hcr.tracking.events import ARTIFACTS, first_event, kind_of, last_event
from hcr.tracking.fetching import fetch_run
from hcr.tracking.finding import find_run, look_up
from hcr.tracking.journal import Journal
from hcr.tracking.seeing import how_to_see
from hcr.tracking.session import recorded
from hcr.tracking.status import is_delivered
from hcr.verbs import VERBS

if TYPE_CHECKING:
    from hcr.runner import RunResult

FLAGS = tuple(VERBS["train"].options)
_shown, _info = ("|".join(VERBS["train"].options[flag]) for flag in ("--cfg", "--info"))
SHORT = re.compile(f"-[hmr]+|-c({_shown})|-i({_info})")  # combined short flags, or a short flag with its value


def train(argv: Sequence[str]) -> int:
    """Check everything that `argv` asks for, then run it or let Hydra print it; returns the exit code.

    Raises:
        ConfigError: the config is invalid; raised before Hydra acts and before TensorFlow is imported.
    """
    given = argv
    flags, argv, unknown = _parse_flags(argv)
    config_dir = flags.config_dir or user_config_dir()
    composer = Composer(config_dir, flags.config_name or CONFIG_NAME, _config_of_finished)
    if unknown:
        raise composer.unknown_flag(unknown[0], given, FLAGS)
    if flags.help and (named := [word for word in flags.overrides if "=" not in word and word[:1] != "~"]):
        overrides = [word for word in flags.overrides if word not in named]
        print(key_help(named, composer.loader.keys_of(composer.compose(overrides))))
        return 0
    checked = _pass_the_gate(flags, composer)
    asked = [_as_asked(cfg, flags.overrides, checked.overrides) for cfg in checked.configs]
    if checked.configs and (problem := unusable_keras_json()):
        raise ConfigError(problem)
    if checked.configs and not checked.configs[0].check_only:
        check_places(checked.configs[0].tracking)
    os.environ["HCR_OUTPUT_DIR"] = str(output_root())  # the same folder for all child processes
    with stopping.handled():
        try:
            if checked.multirun:
                from hcr.sweep.command import train_many

                return train_many(checked, flags.overrides)
            if asked:
                return _train_one(*asked[0])
            is_found = config_dir is not None and flags.config_dir is None
            return _show([*argv, "--config-dir", str(config_dir)] if is_found else argv)
        except SystemExit as stop:  # standard output is lost, or Hydra refused a flag
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _train_one(cfg: RunConfig, overrides: Sequence[str]) -> int:
    """Train one run, or print its summary with `check_only`.

    Args:
        cfg: the run's config.
        overrides: the overrides that `cfg` was composed with, without those of Hydra's own node.

    Raises:
        HcrError: the user can fix the error.
        SystemExit: standard output is lost.
    """
    try:
        with leaving_without_output():
            _run_job(cfg, overrides)
    except ImportError as error:
        raise refusal_of(error) from error
    except OSError as error:
        raise of_disk(error, output_root(), "make room; the same command resumes the run") from error
    return 0


def _show(argv: Sequence[str]) -> int:
    """Answer Hydra's own flags, such as `--help`.

    Hydra prints into a buffer: if it printed directly, a closed pipe would show a traceback.
    """
    import hydra

    def never_train(_: DictConfig) -> None:
        raise AssertionError("Hydra shows things; it does not run them")

    sys.argv = ["hcr train", *argv]
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            hydra.main(version_base="1.3", config_path=CONFIG_MODULE, config_name=CONFIG_NAME)(never_train)()
    finally:
        print(said.getvalue(), end="")
    return 0


def _run_job(cfg: RunConfig, overrides: Sequence[str]) -> None:
    asked = cfg
    cfg = fill_from_data(cfg)  # before TensorFlow is imported: what does not fit the data is refused at once
    if cfg != asked:
        from hcr.data.splitting import data_digests

        data_digests(cfg.dataset, cfg.split, cfg.seed)
    if cfg.training.device == "auto" and (note := unused_note()):
        print(note, file=sys.stderr, flush=True)
    cfg = with_device(cfg)
    check_devices([cfg.training.device])
    with _reading_ahead(cfg):
        import_keras()
        from hcr.runner import run
    if cfg.check_only:
        from hcr.commands.check import print_check

        print_check(cfg)
        return
    from hcr.resuming import AlreadyFinished
    from hcr.training.progress import ProgressDisplay

    display = ProgressDisplay(cfg.training.epochs, keeps_best=cfg.training.keep == "best")
    with _stopped_in_one_line(cfg) as seen, recorded(cfg.tracking) as journal, display:
        seen.append(journal)
        try:
            with leaving_without_output(lambda: f"the same command resumes run {journal.key}"):
                result = run(
                    cfg,
                    journal,
                    overrides=overrides,
                    on_epoch=display.on_epoch,
                    on_steps=display.on_steps,
                    skip_finished=True,
                )
        except AlreadyFinished as done:
            print(f"{done}; new_run=true trains it again", flush=True)
            if cfg.score_test is not False:
                from hcr.scoring import score_later

                score_later(done.folder)
            return
        from hcr.console import say
        from hcr.evaluation.fonts import note_on_names

        try:
            for line in _summary(result, journal, cfg.training.epochs).splitlines():
                say(line)
            for note in (*result.notes, note_on_names(result.class_names)):
                if note is not None:
                    say(f"note: {note}")
        except OSError as error:  # the run is complete anyway; the next print raises again
            if not is_output_lost(error):
                raise
    for line in how_to_see(journal.folder, journal.uri):
        say(line)


@contextmanager
def _stopped_in_one_line(cfg: RunConfig) -> Iterator[list[Journal]]:
    """Turn a stop signal during a run into one line: what is kept, and the command that resumes it.

    The caller appends the run's journal to the list that is yielded.
    """
    seen: list[Journal] = []
    try:
        with stopping.recording():
            yield seen
            stopping.check()  # a signal in the last moment of the run
    except BaseException:
        if not stopping.is_requested():
            raise
        raise KeyboardInterrupt(_what_is_kept(seen, cfg)) from None
    finally:
        stopping.set_line(_what_is_kept(seen, cfg))


def _what_is_kept(seen: Sequence[Journal], cfg: RunConfig) -> str:
    from hcr.training.checkpoint import CHECKPOINT, checkpoints

    status = last_event(seen[0].folder).get("status") if seen else None
    if status is None:
        return "interrupted; nothing had begun"
    folder = seen[0].folder
    if status == "FINISHED":
        rest = "" if is_delivered(folder) else "; `hcr sync` uploads the rest of it"
        return f"interrupted; run {folder.name} has finished and is in {folder}{rest}"
    saved = checkpoints(folder / CHECKPOINT)
    epochs = int(saved[0].name) if saved else 0
    again = "the same command" if cfg.resume == "auto" else f"`hcr train resume={folder.name}`"
    rest = "" if is_delivered(folder) else ", and `hcr sync` uploads what it has so far"
    return (
        f"interrupted after epoch {epochs} of {cfg.training.epochs}; {again} resumes run {folder.name}"
        f" in {folder}{rest}"
    )


def _as_asked(cfg: RunConfig, overrides: Sequence[str], recorded: Sequence[str]) -> tuple[RunConfig, Sequence[str]]:
    """`cfg` and the overrides to record; with `resume=RUN`, the config and overrides of that run.

    Args:
        overrides: all overrides of the command line.
        recorded: the same without those of Hydra's own node.

    Raises:
        ConfigError: `resume=RUN` comes with other settings, or the run's config cannot be read.
        TrackingError: there is no such run.
    """
    if cfg.resume in ("auto", "never"):
        return cfg, recorded
    others = [word for word in overrides if not word.startswith("resume=")]
    if others:
        got = override_without_secrets(others[0])
        raise ConfigError(f"resume: a run resumes with its own config; expected no other override, got {got}")
    folder = find_run(output_root(), cfg.resume)
    _require_trained(folder.name, first_event(folder).get("tags", {}), key="resume")
    given = _recorded(folder / ARTIFACTS, "overrides.yaml", key="resume", run=folder.name)
    config = _recorded(folder / ARTIFACTS, "config.yaml", key="resume", run=folder.name)
    return parse_config(config).replace(resume=folder.name), [str(word) for word in given]


def _config_of_finished(name: str) -> DictConfig:
    """The config of the finished run `name`.

    Raises:
        ConfigError: the run has not finished, or its config cannot be read.
        TrackingError: there is no such run.
    """
    found = look_up(output_root(), name)
    if isinstance(found, Path):
        key, status, artifacts = found.name, last_event(found).get("status"), found / ARTIFACTS
        tags = first_event(found).get("tags", {})
    else:
        stored = fetch_run(found)
        key, status, artifacts, tags = found.key, stored.status, stored.artifacts, stored.tags
    _require_trained(key, tags, key="from")
    if status != "FINISHED":
        raise ConfigError(f"from: expected a finished run; {key} has not finished")
    config = _recorded(artifacts, "config.yaml", key="from", run=key)
    assert isinstance(config, DictConfig)
    return config


def _require_trained(run: str, tags: Mapping[str, str], *, key: str) -> None:
    """Refuse a run that was not trained: it has no config to train.

    Raises:
        ConfigError: names an ensemble's members.
    """
    kind = kind_of(tags)
    if kind == "ensemble":
        members = ", ".join(str(tags["hcr.members"]).split())
        raise ConfigError(f"{key}: expected a trained run; {run} is an ensemble, of the runs {members}")
    if kind != "train":
        raise ConfigError(f"{key}: expected a trained run; {run} is one of another kind: {kind}")


def _recorded(artifacts: Path, name: str, *, key: str, run: str) -> Any:
    try:
        return OmegaConf.load(artifacts / "config" / name)
    except Exception as error:  # missing or damaged: OmegaConf and YAML raise many types
        raise ConfigError(f"{key}: the config of run {run} cannot be read ({one_line(error)})") from error


@contextmanager
def _reading_ahead(cfg: RunConfig) -> Iterator[None]:
    """Read the data set in a thread while the `with` block runs, such as TensorFlow's import."""
    # Imported before the thread starts: two threads that import modules of one import cycle can fail.
    from hcr.data.loading import read_ahead

    reader = threading.Thread(target=read_ahead, args=(cfg.dataset,), name="reading ahead")
    reader.start()
    try:
        yield
    finally:
        reader.join()


def _summary(result: "RunResult", journal: Journal, epochs: int) -> str:
    shown, score = ("validation", result.val) if result.test is None else ("test", result.test)
    state = result.state
    stopped = f"stopped after epoch {state.epoch} of {epochs}: none was better than epoch {state.best_epoch}\n"
    return (stopped if state.epoch < epochs else "") + (
        f"{shown} accuracy {score.accuracy:.4f} (95 % interval {score.accuracy_low:.4f} to"
        f" {score.accuracy_high:.4f}, {score.num_images:,} images)\n"
        f"run {journal.key} is in {journal.folder}"
    )


def _parse_flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
    """Parse Hydra's own flags, at any position.

    Returns:
        The flags; the same words with the flags first, as Hydra needs them; unknown flags.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        # argparse passes only the message, which names flags of Hydra that hcr does not offer.
        found = re.fullmatch(r"ambiguous option: (\S+) could match (.*)", message)
        if found is not None:
            fitting = [flag for flag in found[2].split(", ") if flag in FLAGS]
            raise ConfigError(f"{found[1].partition('=')[0]}: expected one of {', '.join(fitting)}")
        raise ConfigError(f"hcr train: {redact(message)}")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    # argparse would read one dash and a word as a short flag with its value: -patience as -p atience.
    unknown = [word for word in argv if re.match(r"-[A-Za-z_]\w", word) and not SHORT.fullmatch(word)]
    if not unknown:
        flags, unknown = parser.parse_known_intermixed_args(list(argv))
    if unknown:
        return argparse.Namespace(config_dir=None, config_name=None), list(argv), unknown
    if flags.multirun and (flags.cfg or flags.info):
        raise ConfigError("hcr train: -m and --cfg or --info do not go together; leave out -m")
    if flags.resolve and not (flags.cfg or flags.help):
        raise ConfigError("--resolve: expected together with --cfg or --help; it changes what these print")
    if flags.config_path is not None:
        raise ConfigError("--config-path: hcr's own config cannot be replaced; --config-dir adds a folder of yours")
    if getattr(flags, "experimental_rerun", None) is not None:
        raise ConfigError("--experimental-rerun: not allowed; it runs code from a pickle")
    words = list(argv)
    for override in flags.overrides:
        words.remove(override)
    flags.overrides = quote_patterns(flags.overrides)
    return flags, [*words, *flags.overrides], []


def _pass_the_gate(flags: argparse.Namespace, composer: Composer) -> Checked:
    if flags.shell_completion:  # the command line is incomplete; nothing is run
        return Checked([], multirun=False)
    if flags.help or flags.hydra_help or flags.cfg or flags.info:
        composer.compose(flags.overrides, multirun=flags.multirun)
        return Checked([], multirun=False)
    return composer.check(flags.overrides, multirun=flags.multirun)
