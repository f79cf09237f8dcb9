"""What looks like a secret is not recorded, and what does not is left as it is."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hcr.config.errors import ConfigError, one_line
from hcr.config.naming import safe_file_name
from hcr.config.secrets import HIDDEN, is_secret_name, override_without_secrets, redact, without_secrets
from hcr.gate.compose import compose
from hcr.gate.run_config import parse_config, to_yaml

# Shaped like secrets, and put together here so that nobody's scanner takes them for any.
TOKENS = [
    "AKIA" + "ABCDEFGHIJ234567",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 12,
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "hf_" + "abcdEFGH" * 4,
    "sk-" + "proj-" + "abcdEFGH1234" * 2,
    "dapi" + "0123456789abcdef" * 2,
    "xoxb-" + "123456789012-abcdef",
    "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "abcdefghijklmnop",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIabc\nxyz\n-----END RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:8])
def test_a_token_is_known_by_its_shape_wherever_it_stands(token: str) -> None:
    for text in (token, f"see {token}, please", f"x={token}\n+ y", f'"{token}"'):
        hidden = redact(text)
        assert HIDDEN in hidden
        assert not any(part in hidden for part in token.splitlines() if len(part) > 4)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://me:secret@host:5000/x", "https://me:***@host:5000/x"),
        ("password: hunter22", "password: <hidden>"),
        ('"api_key": "abcdef123456",', '"api_key": "<hidden>",'),
        ("export AWS_SECRET_ACCESS_KEY=abcdef/123456", "export AWS_SECRET_ACCESS_KEY=<hidden>"),
        ("tags={db.password:hunter22}", "tags={db.password:<hidden>}"),
        ("MLFLOW_TRACKING_TOKEN=abcdefgh", "MLFLOW_TRACKING_TOKEN=<hidden>"),
    ],
)
def test_what_stands_behind_a_secret_s_name_is_hidden(text: str, hidden: str) -> None:
    assert redact(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "token: null",
        "model.filters: [32, 64]",
        "number of tokens: 12345678",
        "sha256: 731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        "http://host:5000/#/experiments",
        "hcr train dataset=mnist model.depth=3",
        "keyboard: azerty-layout",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


PACKAGE = Path(__file__).parents[2] / "hcr"


def messages(name: str) -> set[str]:
    """Every text of ours that begins with something that is known only then, with `name` in its place."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.FormattedValue):
                parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values[1:]]
                found.add("".join(map(str, [name, *parts])))
    return found


@pytest.mark.parametrize("name", ["/etc/passwd", "tags.api_key", "token"])
def test_our_own_words_behind_a_name_like_a_secret_s_are_no_secret(name: str) -> None:
    told = [text for text in messages(name) if re.search(rf"{re.escape(name)}: [a-z]+ [a-z]", text)]
    assert len(told) > 50
    assert [text for text in told if one_line(ConfigError(text)) != text] == []


FIRST_WORDS = ["another", "cannot", "damaged", "expected", "missing", "neither", "numbers", "unknown", "weights"]


@pytest.mark.parametrize("first", [*FIRST_WORDS, "hunter22", "none", "it's", "a"])
@pytest.mark.parametrize(
    "line",
    [
        "password: {}", "db_password: {}", "  api_key:   {}", "token = {}", "+  secret: {}", "password:\n  {}",
        "password: |\n  {}", '{{"password": "{}"}}', "Client(token='{}')", 'export TOKEN="{}"', "{{api_key: [{}]}}",
        "tags={{password:{},a:1}}",
    ],
)  # fmt: skip
def test_a_secret_of_several_words_is_hidden_whatever_they_are(line: str, first: str) -> None:
    if "'{}'" in line and "'" in first:
        return  # that ends the quotes, there as in any language
    before, secret, after = "seed: 3\n", f"{first} horse battery9", "\nmodel.depth: 3"
    hidden = redact(before + line.format(secret) + after)
    assert not any(word in hidden for word in (secret, "horse", "battery9"))
    assert hidden.startswith(before)
    assert hidden.endswith(after)


@pytest.mark.parametrize("value", ["hunter22", "expected", "unknown.", "cannot", "missing-link", "numbers"])
def test_a_shell_s_word_behind_a_secret_s_name_is_hidden_and_what_follows_is_not(value: str) -> None:
    assert redact(f"TOKEN={value} hcr train seed=3") == f"TOKEN={HIDDEN} hcr train seed=3"


@pytest.mark.parametrize(
    "override",
    ["tags={api_key: [hunter22]}", "tags.api_key=hunter22", "+tags.api_key=hunter22,b", "+tags.api_key=hunter22#",
     "tags={db/password: [hunter22]}", "+tags.token=[hunter22]", "tags={a: [{token: hunter22}]}",
     "+tags.password={a: hunter22}", "tags={password: {a: {b: hunter22}}}", "+tags.password=hunter22)",
     "tracking.uri=me:hunter22@host", "tracking.uri=postgresql:me:hunter22@host/db", "password: hunter22",
     "tracking.uri='https://me:hunter/22@host:5000'", "tracking.uri='http://me:se[hunter22@host:5000'"],
)  # fmt: skip
def test_a_refusal_says_nothing_of_a_secret(override: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose([override])
    assert "hunter22" not in one_line(refused.value)
    assert "22@" not in one_line(refused.value)


def test_a_config_with_hidden_values_is_yaml_still() -> None:
    long = "words of a secret " * 20  # YAML writes it over several lines
    cfg = compose(["tags={password: ab, api_key: '" + long + "', key: " + TOKENS[1] + "}"])
    text = to_yaml(cfg, secrets=False)
    assert "words" not in text
    again = parse_config(OmegaConf.create(text))
    assert again.tags == {"password": HIDDEN, "api_key": HIDDEN, "key": HIDDEN}
    assert to_yaml(cfg).count("hidden") == 0


@pytest.mark.parametrize(
    ("override", "hidden"),
    [
        ("+tags.api_key=ab", f"+tags.api_key={HIDDEN}"),
        ("tags.password='a b=c'", f"tags.password={HIDDEN}"),
        ("tags.password=null", "tags.password=null"),
        ("model.depth=3", "model.depth=3"),
        ("tracking.uri=http://me:secret@host", "tracking.uri=http://me:***@host"),
        ("--multirun", "--multirun"),
    ],
)
def test_an_override_is_recorded_without_its_secret(override: str, hidden: str) -> None:
    assert override_without_secrets(override) == hidden


def test_plain_values_are_searched_in_groups_and_lists() -> None:
    values = {"a": [{"token": "x"}, TOKENS[0]], "token": None, "b": {"passwd": [1, 2]}, "c": {"secret": {"d": 1}}}
    hidden = {"a": [{"token": HIDDEN}, HIDDEN], "token": None, "b": {"passwd": [HIDDEN, HIDDEN]}}
    hidden |= {"c": {"secret": HIDDEN}}
    assert without_secrets(values) == hidden
    assert without_secrets(hidden) == hidden


PIECES = ["password", "token", ": ", ":", "=", " = ", "null", "none", '"', "'", "[", "]", "}", ",", "\n", "  ", "- ",
          "abcdef", "a", "://", "me", "@", "host", "\\", "|", ";", TOKENS[1], HIDDEN]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_hiding_twice_hides_no_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_names_of_secrets_are_known() -> None:
    assert all(
        map(
            is_secret_name, ["password", "tags.api_key", "db-password", "tags.HF_TOKEN", "x.credentials", "db/password"]
        )
    )
    assert not any(map(is_secret_name, ["tokens", "model.name", "passwords_file", "secretary", "tags.keyboard"]))


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:AWS_SECRET_ACCESS_KEY}",
        "${oc.env:PATH,nothing}",
        "${oc.env:${oc.env:HCR_TEST_NAME}}",
        "${oc.decode:${oc.env:PATH}}",
        "${oc.env: PATH }",
    ],
)
def test_a_config_reads_no_variable_that_may_be_a_secret(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22")
    monkeypatch.setenv("HCR_TEST_NAME", "PATH")
    with pytest.raises(ConfigError, match=r"^notes: ") as refused:
        compose([f"notes='{value}'"])
    assert "hunter22" not in str(refused.value)


def test_a_config_may_read_what_is_hcr_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCR_TEST_TEAM", "ocr")
    assert compose(["notes='${oc.env:HCR_TEST_TEAM} ${oc.env:HCR_TEST_ABSENT,none}'"]).notes == "ocr none"


@given(st.text(max_size=200))
def test_any_name_becomes_a_file_name_that_stays_in_its_folder(name: str) -> None:
    safe = safe_file_name(name)
    path = Path("/folder") / f"{safe}-samples.png"
    assert path.parent == Path("/folder")
    assert path.resolve().parent == Path("/folder")
    assert 1 <= len(safe.encode()) <= 80
    assert not safe.startswith(".")


def test_a_plain_name_is_itself_and_others_are_told_apart() -> None:
    assert safe_file_name("mnist-v1.2") == "mnist-v1.2"
    assert len({safe_file_name(name) for name in ("a/b", "a b", "a_b", "../a_b", "ａ_b")}) == 5
