"""Suggestions for a misspelled or differently named key, choice or verb."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

ALIKE = 0.6  # lowest difflib ratio of a suggestion
ALIKE_ELSEWHERE = 0.8  # the same for a key of another group
BEGINNING = 4  # fewest characters by which the name that begins with them is suggested, before one that is alike

# Other common names of hcr's keys, without underscores. A key is suggested only if the current config has it.
ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        other: keys
        for others, keys in (
            ("lr baselr initiallr initlr learnrate maxlr peaklr stepsize", ("optimizer.learning_rate",)),
            ("wd decay l2 weightdecay", ("optimizer.weight_decay",)),
            ("beta b1", ("optimizer.beta_1", "optimizer.adam_beta_1")),
            ("b2", ("optimizer.beta_2", "optimizer.adam_beta_2")),
            ("eps", ("optimizer.epsilon", "optimizer.adam_epsilon")),
            ("opt optim", ("optimizer",)),
            ("warmup warmupratio warmupproportion", ("schedule.warmup_fraction",)),
            ("sched scheduler lrschedule lrscheduler learningrateschedule learningratescheduler", ("schedule",)),
            ("bs batch minibatch", ("training.batch_size",)),
            ("epoch nepoch nepochs nbepoch nbepochs numepochs maxepochs numtrainepochs", ("training.epochs",)),
            ("stepsperepoch limittrainbatches", ("training.steps_per_epoch",)),
            ("earlystop earlystopping earlystoppingpatience stopafter", ("training.patience",)),
            ("smoothing", ("training.label_smoothing",)),
            ("ema emadecay swa", ("training.average_decay",)),
            ("accelerator cuda device devices gpu", ("training.device",)),
            ("amp bf16 dtype fp16 mixedprecision", ("training.precision",)),
            ("nthreads numthreads cpus numcpus cores numcores", ("training.threads",)),
            ("droprate dropoutrate dropoutprob pdrop", ("model.dropout",)),
            ("layers nlayers numlayers nblocks numblocks", ("model.depth", "model.blocks", "model.dense_units")),
            ("dense denselayers hidden hiddensize hiddenunits hiddenlayers units", ("model.dense_units",)),
            ("channels nfilters numfilters width", ("model.filters",)),
            ("kernel filtersize ksize", ("model.kernel_size",)),
            ("stride", ("model.strides",)),
            ("pool", ("model.pooling",)),
            ("bn batchnormalization", ("model.batch_norm",)),
            ("act activationfunction nonlinearity", ("model.activation",)),
            ("arch architecture net network", ("model",)),
            ("aug augment augmentations transform transforms", ("augmentation",)),
            ("rotation rotate", ("augmentation.rotation_degrees",)),
            ("data ds", ("dataset",)),
            ("datadir datafile datapath dataroot root", ("dataset.path",)),
            ("imagesize imgsize inputshape inputsize", ("dataset.image_shape",)),
            ("classes labels", ("dataset.class_names",)),
            ("nclasses", ("dataset.num_classes",)),
            ("maxsamples nsamples numsamples subset", ("dataset.limit",)),
            ("valfraction valratio valsize valsplit validationsplit val", ("split.validation",)),
            ("testfraction testratio testsize testsplit", ("split.test",)),
            ("manualseed randomseed randomstate rngseed", ("seed",)),
            ("metric objective", ("monitor",)),
            ("dryrun", ("check_only",)),
            ("comment description note", ("notes",)),
            ("tag labelsofrun", ("tags",)),
            ("ckpt checkpoint resumefrom", ("resume",)),
            ("exp preset recipe", ("experiment",)),
            ("experimentname project projectname", ("tracking.experiment_name",)),
            ("name runname", ("tracking.run_name",)),
            ("mlflowuri trackinguri trackingurl", ("tracking.uri",)),
            ("numtrials trials", ("sweep.n_trials",)),
            ("jobs njobs numjobs parallel workers", ("launcher.workers",)),
        )
        for other in others.split()
    }
)

# Common settings that are no keys here, and what to use instead.
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        other: where
        for others, where in (
            (
                "criterion loss lossfn lossfunction",
                "the loss is cross-entropy; training.label_smoothing and training.class_weights change it",
            ),
            (
                "gpus ngpus numgpus",
                "a run trains on one GPU (training.device), a sweep on all of this machine",
            ),
            (
                "dataloaderworkers loaderworkers numworkers nworkers",
                "images are in memory and need no loaders; launcher.workers sets how many runs of a sweep train in"
                " parallel",
            ),
            ("storage", "a sweep is stored in the journals of its runs; launcher=ray or slurm trains on many machines"),
            ("logdir outdir output outputdir rundir savedir", "the variable HCR_OUTPUT_DIR sets the folder of runs"),
            ("configdir configpath", "--config-dir adds a folder with your own YAML"),
        )
        for other in others.split()
    }
)


def simplified(name: str) -> str:
    """`name` in lower case and without punctuation: `batch-size`, `BatchSize` and `batch_size` are the same."""
    return re.sub(r"[\W_]+", "", name).casefold()


def nearest(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str | None:
    """The known name that `name` most likely means; None if none is close."""
    by_name: dict[str, str] = {}
    for other in known:
        by_name.setdefault(simplified(other), other)
    plain = simplified(name)
    if plain in by_name:
        return by_name[plain]
    if len(plain) >= BEGINNING:
        for other in by_name:
            if other.startswith(plain):
                return by_name[other]
    near = get_close_matches(plain, list(by_name), n=1, cutoff=alike) if plain else []
    return by_name[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that suggests the known name nearest to `name`; empty if none is close."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean {near!r}?"


def key_meant(key: str, keys: Iterable[str], *, alike: float = ALIKE) -> str | None:
    """The one of `keys` (dotted, including groups) that `key` most likely means; None if none is close.

    `key` may be misspelled, have another common name, or be in the wrong group.
    Keys are compared by their last component, group by group, as the rest is alike anyway.
    """
    keys = list(keys)
    group, _, last = key.replace("/", ".").rpartition(".")
    own = [other for other in keys if other.rpartition(".")[0] == group]
    for other in own:
        if simplified(_last(other)) == simplified(last):
            return other
    for other in alias_targets(last):
        if other in keys:
            return other
    if group and not own:
        near = nearest(group, {other.rpartition(".")[0] for other in keys} - {""})
        if near is not None and near != group:
            found = key_meant(f"{near}.{last}", keys, alike=alike)
            if found is not None:
                return found
    same = [other for other in keys if simplified(_last(other)) == simplified(last)]
    if len(same) == 1:
        return same[0]
    near = nearest(last, map(_last, own), alike=alike)
    if near is not None:
        return f"{group}.{near}" if group else near
    if group:
        return None
    near = nearest(last, map(_last, keys), alike=ALIKE_ELSEWHERE)
    there = [other for other in keys if near is not None and _last(other) == near]
    return there[0] if len(there) == 1 else None


def alias_targets(name: str) -> tuple[str, ...]:
    """The keys that `name` may be another name of; a config may lack some."""
    return ALIASES.get(simplified(name), ())


def _last(key: str) -> str:
    return key.rpartition(".")[2]
