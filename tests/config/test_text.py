"""Text of users' is shown whole and in one line, and can be printed and written whatever the locale is."""

import ast
import io
import os
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import Hcr

from hcr.config.errors import ConfigError
from hcr.config.settings import Listing, Settings
from hcr.config.text import markdown, printable
from hcr.gate.compose import compose
from hcr.streams import ENCODING_ERRORS, refuse_undecodable, settle_streams

PACKAGE = Path(__file__).parents[2] / "hcr"
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 中文 한글 क्ष שלום e\u0301 \U0001f600", None),
        ("two\nlines\r\n\ttab", r"two\nlines\r\n\ttab"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("\ud800 alone, \x00 and \x85", r"\ud800 alone, \x00 and \x85"),
    ],
)
def test_whatever_a_text_holds_it_is_one_line_that_shows_all_of_it(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


def test_text_in_markdown_is_no_emphasis_no_html_no_table_and_no_second_line() -> None:
    made = markdown("a|b `c` <script> *d* _e_ f_g [h](i) ~j~\n# k :smile: @me &lt;")
    assert made == (
        r"a\|b \`c\` &#60;script\> \*d\* \_e\_ f_g \[h\](i) \~j\~\n".replace(r"\n", r"\\n")
        + r"\# k &#58;smile: &#64;me &#38;lt;"
    )


def test_a_stream_of_ascii_spells_what_it_lacks() -> None:
    settle_streams()
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=ENCODING_ERRORS)
    stream.write("± × → … é 中 \ud800")
    stream.flush()
    assert stream.buffer.getvalue().decode() == r"+/- x -> ... \xe9 \u4e2d \ud800"


class Noted(Settings):
    notes: str | None


class Named(Settings):
    group: ClassVar[str] = "dataset"

    class_names: Listing[str]


@pytest.mark.parametrize("value", ["\ud800", "a\x00b", "a\x85"])
def test_a_config_with_what_no_file_can_hold_is_refused_by_its_key(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^notes: expected text without NUL, U\+0085 and lone surrogates, got '"):
        Noted(notes=value)
    with pytest.raises(ConfigError, match=r"^dataset\.class_names\[1\]: expected text"):
        Named(class_names=["a", value])


def test_bytes_that_are_no_text_are_refused_wherever_they_come_from() -> None:
    refuse_undecodable(["dataset.path=é"], {"HCR_DATA_DIR": "/data"})
    with pytest.raises(ConfigError, match=r"^argument 2: expected text in utf-8, got 'a=\\udcff'"):
        refuse_undecodable(["train", "a=\udcff"], {})
    with pytest.raises(ConfigError, match=r"^HCR_OUTPUT_DIR: expected"):
        refuse_undecodable([], {"HCR_OUTPUT_DIR": "\udcff", "OTHER": "\udcff"})


def test_bytes_that_are_no_text_are_refused_without_a_secret_and_with_the_remedy_of_their_place() -> None:
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_PASSWORD: .* got '<hidden>'; set it to text in UTF-8$"):
        refuse_undecodable([], {"MLFLOW_TRACKING_PASSWORD": "geheim\udcfc99"})
    with pytest.raises(ConfigError, match=r"got '\+tags\.password=<hidden>'; write it in UTF-8, or rename the file"):
        refuse_undecodable(["train", "+tags.password=geheim\udcfc99"], {})


def test_an_undecodable_word_a_folder_and_an_ascii_locale_cost_one_line_each(hcr: Hcr) -> None:
    done = hcr("data", os.fsdecode(b"dataset.path=\xff.npz"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "argument 2: expected text in utf-8" in done.stderr
    assert "rename the file" in done.stderr
    done = hcr("data", 'notes="é"', env=ASCII_LOCALE)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "expected text in ascii" in done.stderr
    assert "LC_ALL=C.UTF-8" in done.stderr


@pytest.mark.slow
def test_a_locale_of_ascii_hides_nothing_of_a_data_set(hcr: Hcr, tmp_path: Path) -> None:
    names = ["±", "中", *"abcdefgh"]
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    yaml = f"defaults: [digits]\nname: 'é ±'\nclass_names: {names}\n".replace("'±'", '"±"')
    (tmp_path / "conf" / "dataset" / "own.yaml").write_text(yaml, encoding="utf-8")
    done = hcr("data", "dataset=own", env=ASCII_LOCALE)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\xe9 +/-: 1,797 images" in done.stdout
    assert r"\u4e2d" in done.stdout
    cfg = compose(["dataset=own"], config_dir=tmp_path / "conf")
    assert list(cfg.dataset.class_names or ()) == names


def _says_no_encoding(call: ast.Call) -> bool:
    """Whether a call opens a text file in whatever encoding the locale has."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {keyword.arg for keyword in call.keywords}
    if "encoding" in keywords or name == "replace":  # a dataclass with a `text` of its own
        return False
    if name in ("read_text", "write_text"):
        return True
    if name in ("open", "fdopen"):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if (
            isinstance(owner, ast.Name)
            and owner.id in ("os", "tarfile", "archive", "direct", "Image", "webbrowser")
            and name == "open"
        ):
            return False  # no file object, or no file
        modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        return not any("b" in mode for mode in modes if set(mode) <= set("rwxabt+"))
    return bool(keywords & {"text", "universal_newlines"})


def test_every_text_file_is_utf_8_whatever_the_locale_is() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _says_no_encoding(node)
    ]
    assert found == []


@pytest.mark.parametrize("call", ["p.read_text()", "p.open('w')", "open(p)", "subprocess.run(c, text=True)"])
def test_a_text_file_without_an_encoding_is_found(call: str) -> None:
    (node,) = [node for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Call)]
    assert _says_no_encoding(node)
