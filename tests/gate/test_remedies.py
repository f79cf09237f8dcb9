"""What hcr says to write instead: a form that works, whatever was typed."""

import os
import re
import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hcr.config import ConfigError
from hcr.config.errors import one_line
from hcr.gate.axes import plain
from hcr.gate.compose import Composer, compose
from hcr.gate.keys import Keys
from hcr.gate.remedies import several_values, shell_word, text_override, unreadable

EXAMPLES = int(os.environ.get("HCR_FUZZ_EXAMPLES", "30"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What an argument of a process may be: no NUL, and no half of a character.
# What a config may hold: NUL and U+0085 are refused, by whatever form they come.
ARGUMENT = st.text(st.characters(exclude_characters="\0\x85", exclude_categories=["Cs"]), max_size=60)
TRICKY = st.text("ab ,;:=#'\"\\(){}[]!$%&*?|<>~^`@/\n\té日1.0", max_size=40)


@pytest.fixture(scope="module")
def keys() -> Keys:
    composer = Composer()
    return composer.loader.keys_of(composer.compose([]))


def given_back(message: str) -> str:
    """The one word that a message says to write, as bash hands it over."""
    found = re.search(r"write (.*?)(?: for the text(?:, or .*)?)?$", message, re.DOTALL)
    assert found is not None, message
    if not found[1].startswith("$'"):
        (word,) = shlex.split(found[1])
        return word
    done = subprocess.run(["bash", "-c", f"printf %s {found[1]}"], capture_output=True, check=True)
    return os.fsdecode(done.stdout)


@fuzz
@given(text=ARGUMENT | TRICKY)
@example("it is 50% better, I think")
@example("\\")
@example("'\\'")
@example("a\r")
@example("#${x")
@example("\\${a#")
def test_a_note_that_hydra_cannot_read_as_one_text_is_offered_as_the_same_text(keys: Keys, text: str) -> None:
    override = f"notes={text}"
    try:
        if not OverridesParser.create().parse_override(override).is_sweep_override():
            return
        message = several_values(override, keys)
    except (HydraException, RecursionError):
        message = unreadable([override], 0, keys)
    told = one_line(ConfigError(message))
    if told != message:
        return  # it looks like a secret, which is not said again
    parsed = OverridesParser.create().parse_override(given_back(told))
    assert not parsed.is_sweep_override()
    assert parsed.key_or_group == "notes"
    found = plain(parsed.value())
    if re.search(r"(?<!\\)(\\\\)*\$\{[^}]+\}", text):
        assert found == text or "\\${" in found  # an interpolation stays one
    else:
        assert OmegaConf.create({"notes": found}).notes == text


@pytest.mark.parametrize(
    "text",
    ["it is 50% better, I think", "a#b", "a=b", "it's", "日本", "1,2", 'say "hi", it\'s ok!', "$HOME, `ls`", "a\nb,c"],
)
def test_bash_and_the_composer_take_what_is_offered(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose([f"notes={text}"])
    message = one_line(refused.value)
    offered = re.search(r"write (.*?)(?: for the text.*)?$", message)
    assert offered is not None
    line = f"printf '%s\\0' {offered[1]}"
    words = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert compose(words).notes == text


@fuzz
@given(word=ARGUMENT)
def test_a_word_for_bash_is_on_one_line(word: str) -> None:
    quoted = shell_word(word)
    assert quoted.isprintable()
    if not quoted.startswith("$'"):
        assert shlex.split(quoted) == [word]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["model.depth", "=", "3"], "model.depth=3"),
        (["model.depth=", "3"], "model.depth=3"),
        (["model.depth", "=3"], "model.depth=3"),
        (["model.depth = 3"], "model.depth=3"),
        (["model.depth:3"], "model.depth=3"),
        (["model.depth==3"], "model.depth=3"),
        (['"model.depth=3"'], "model.depth=3"),
        (["seed=1,"], "seed=1"),
        (["model.depth=３"], "model.depth=3"),
        (["model.filters=[16,", "32]"], "'model.filters=[16, 32]'"),
        (["model.filters=(16,32)"], "'model.filters=[16,32]'"),
        (["optimizer.learning_rate=10^-3"], "optimizer.learning_rate=1e-3"),
        (["tracking.run_name=", "log/x.pkl"], "'tracking.run_name=\"log/x.pkl\"'"),
        (["notes=hello", "world"], "'notes=\"hello world\"'"),
        (["notes=hello,", "world", "seed=1"], "'notes=\"hello, world\"'"),
        (["tags={a: x#y}"], "\"tags={a:'x#y'}\""),
        (["tags.team=a#b"], "'+tags.team=\"a#b\"'"),
        (["dataset.class_names=[a#,b]"], "\"dataset.class_names=['a#',b]\""),
        (["check_only"], "check_only=true"),
        (["cnn"], "model=cnn"),
        (["mnist"], "dataset=mnist"),
        (["lr"], "optimizer.learning_rate=VALUE"),
    ],
    ids=str,
)
def test_a_slip_of_the_keyboard_is_answered_with_what_was_meant(keys: Keys, words: list[str], offered: str) -> None:
    parser = OverridesParser.create()

    def is_read(word: str) -> bool:
        try:
            return bool(parser.parse_override(word))
        except HydraException:
            return False

    at = next(i for i, word in enumerate(words) if not is_read(word))
    assert unreadable(words, at, keys).endswith(f"; write {offered}")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed=0,1,2", "seed: 0,1,2 means several values; add -m to run each of them"),
        ("model.filters=8,16", "add -m to run each of them, or write 'model.filters=[8,16]' for a list"),
        ("model.dropout=0,3", "add -m to run each of them, or write model.dropout=0.3 for one number"),
        ("dataset.limit=1,000", "add -m to run each of them, or write dataset.limit=1000 for one number"),
        ("notes=a,b", "write 'notes=\"a,b\"' for the text, or add -m to run each of them"),
        ("tracking.run_name=a,b", "write 'tracking.run_name=\"a,b\"' for the text"),
        ("+tags.team=a,b", "write '+tags.team=\"a,b\"' for the text, or add -m to run each of them"),
        (
            "tags.api_key=hunter22,x",
            "tags.api_key: it means several values; write '+tags.api_key=\"...\"' for the text",
        ),
    ],
)
def test_several_values_are_answered_by_the_type_of_their_key(keys: Keys, override: str, says: str) -> None:
    assert says in several_values(override, keys)
    assert several_values(override, keys).endswith(says) or "api_key" in override


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("+tags.a b=1", "'+tags.a b=1': expected an override (KEY=VALUE, GROUP=NAME or a flag); write 'tags={a b:1}'"),
        ("+tags.'a'=1", "\"tags.'a'\": expected a key of letters, digits and _ - . /"),
        ("password: hunter22", "'password: <hidden>': expected an override"),
        ("tracking.uri=https://me:p@ss/w[rd@h", "tracking.uri: expected quotes around https://***@h; write 'tracking"),
    ],
)
def test_a_key_that_hydra_cannot_read_is_what_is_refused(keys: Keys, word: str, says: str) -> None:
    assert unreadable([word], 0, keys).startswith(says)


def test_a_token_is_hidden_before_a_value_is_cut(keys: Keys) -> None:
    token = "hf_" + "abcdEFGH" * 4
    assert "abcdEFGH" not in unreadable([f"notes={'x' * 40} {token}, ["], 0, keys)


def test_an_interpolation_in_a_text_stays_one() -> None:
    assert text_override("notes", "${seed} #1") == 'notes="${seed} #1"'
    assert compose([text_override("notes", "seed ${seed}, #1"), "seed=7"]).notes == "seed 7, #1"
