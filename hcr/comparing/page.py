"""The page of a comparison: one HTML file with its pictures inside, without scripts, that loads nothing."""

import base64
import os
import secrets
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from hcr.comparing.pictures import Drawn
from hcr.comparing.story import PARTS, Compare
from hcr.comparing.tables import difference_of
from hcr.comparing.words import method, told_images, told_tests
from hcr.config import ConfigError
from hcr.config.text import printable
from hcr.evaluation.claims import told_p

# Nothing but what is in the file: no script, no font, no address.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
TITLES = {"config": "Config", "code": "Code", "data": "Data", "environment": "Environment"}
MOST_ROWS = 40  # of a section that are shown; the JSON has all
STYLE = """
:root { color-scheme: light dark; --ink: #24292f; --muted: #59626b; --line: #d8dde3; --paper: #fff; --tint: #f5f7f9;
  --accent: #0b5fa5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --muted: #a2abb4; --line: #3a4149; --paper: #15181c;
  --tint: #1e2328; --accent: #7db8ec; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 48px; max-width: 1080px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.45rem; line-height: 1.3; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 36px 0 10px; }
h3 { font-size: 1rem; margin: 20px 0 6px; }
p { margin: 6px 0; }
.verdict { border-left: 4px solid var(--accent); background: var(--tint); padding: 12px 16px; margin: 16px 0;
  font-size: 1.1rem; }
.verdict p { margin: 4px 0; }
.muted { color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
th { font-weight: 600; }
th[scope=row] { min-width: 9em; max-width: 24em; }
thead th { color: var(--muted); }
td.text { overflow-wrap: anywhere; min-width: 7em; }
td.number { white-space: nowrap; }
ul { padding-left: 1.2em; margin: 6px 0; }
figure { margin: 18px 0; overflow-x: auto; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
@media (max-width: 640px) { body { padding: 16px 12px 32px; } h1 { font-size: 1.2rem; } .verdict { font-size: 1rem; }
  th, td { padding-right: 12px; } figure img { max-width: none; width: 720px; } }
"""


def page(compared: Compare, drawn: Drawn, command: str, run: str | None) -> str:
    """The page in HTML: the verdict, the table, the pictures, what differs, the method.

    Args:
        command: the command line that asked for it.
        run: the key that the comparison is recorded under.
    """
    title = f"{' against '.join(compared.labels[:2])}{' and others' if len(compared.labels) > 2 else ''}"
    body = [
        f"<h1>{_text(title)}</h1>",
        _verdicts(compared),
        f"<p class=muted>{_text(_sentence(told_images(compared)))}</p>",
        _sides(compared),
        _pairs(compared),
        _pictures(drawn),
        _differing(compared),
        "<h2>Method</h2>" + "".join(f"<p>{_text(line)}</p>" for line in method(compared)),
        f"<p class=muted>Again: <code>{_text(command)}</code>"
        + ("" if run is None else f"<br>Recorded as run <code>{_text(run)}</code>")
        + "</p>",
    ]
    head = (
        '<!doctype html><html lang=en><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="hcr compare"><title>{_text(title)}</title><style>{STYLE}</style></head>'
    )
    return f"{head}<body><main>{''.join(body)}</main></body></html>\n"


def check_page(target: Path, *, force: bool) -> None:
    """Refuse a place that cannot be written, or that has a file already.

    Raises:
        ConfigError: one line that says why, and what to write instead.
    """
    shown = printable(str(target))
    if target.is_dir():
        raise ConfigError(
            f"--html: expected a file, such as {printable(str(target / 'compare.html'))}; {shown} is a folder"
        )
    if not target.parent.is_dir():
        raise ConfigError(f"--html: expected a file in a folder that exists; {printable(str(target.parent))} is none")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--html: expected a folder that can be written, got {printable(str(target.parent))}")
    if (target.exists() or target.is_symlink()) and not force:
        raise ConfigError(f"--html: {shown} exists; --force replaces it, another name keeps it")


def write_page(target: Path, text: str, *, force: bool) -> None:
    """Write the whole page or nothing.

    Raises:
        ConfigError: as `check_page`, also of what appeared meanwhile; or the file cannot be written.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        partial.write_text(text, encoding="utf-8")
        check_page(target, force=force)
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"--html: {printable(str(target))} cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def _text(text: str) -> str:
    return escape(printable(text), quote=True)


def _sentence(text: str) -> str:
    """The text with a full stop, and a capital if it begins with a word of ours."""
    return f"{text[0].upper() if text.startswith(('no ', 'on ')) else text[0]}{text[1:]}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int) -> str:
    """A table whose columns from `numbers_from` on are not wrapped; cells are plain text."""
    lines = []
    for first, *rest in rows:
        cells = [f"<th scope=row>{_text(first)}</th>"]
        for column, cell in enumerate(rest, start=1):
            style = "number" if column >= numbers_from else "text"
            cells.append(f"<td class={style}>{_text(cell)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    names = "".join(f"<th scope=col>{_text(name)}</th>" for name in head)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<div class=scroll tabindex=0>{table}</div>"


def _verdicts(compared: Compare) -> str:
    sentences = "".join(f"<p>{_text(_sentence(verdict))}</p>" for verdict in compared.found.verdict())
    return f"<section class=verdict>{sentences}</section>"


def _sides(compared: Compare) -> str:
    means, images = compared.means, compared.images.per_side
    rows = [
        (side.label, f"{means[side.label]:.4f}", f"{len(side.runs)}", f"{number:,}", " ".join(side.keys))
        for side, number in zip(compared.sides, images, strict=True)
    ]
    head = ("side", f"{PARTS[compared.part]} {compared.found.kind}", "runs", "images", "keys")
    return _table(head, rows, numbers_from=1)


def _pairs(compared: Compare) -> str:
    is_ratio = compared.found.pairs[0].is_ratio
    rows = []
    for pair in compared.found.pairs:
        numbers = difference_of(pair)
        told = [f"{own:.3f}" if is_ratio else f"{100 * own:+.2f}" for own in numbers]
        basis = [told[0], f"{told[1]} to {told[2]}", told_p(pair.p_adjusted), f"{pair.num_images:,}", str(pair.basis)]
        rows.append(
            (f"{pair.second} minus {pair.first}" if not is_ratio else f"{pair.second} over {pair.first}", *basis)
        )
    unit = "ratio" if is_ratio else "points"
    table = _table(("pair", unit, "95 % interval", "p", "images", "noise of"), rows, numbers_from=1)
    tests = ""
    for pair in compared.found.pairs:
        lines = "".join(f"<li>{_text(line)}</li>" for line in told_tests(compared, pair))
        name = f"<h3>{_text(pair.second)} and {_text(pair.first)}</h3>" if len(compared.found.pairs) > 1 else ""
        tests += f"{name}<ul>{lines}</ul>" if lines else ""
    return f"<h2>Difference</h2>{table}" + (f"<h2>Other tests of the same</h2>{tests}" if tests else "")


def _pictures(drawn: Drawn) -> str:
    figures = []
    for name, data in drawn.png.items():
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        figures.append(f'<figure tabindex=0><img alt="{_text(drawn.alt[name])}" src="{source}"></figure>')
    notes = "".join(f"<p class=muted>{_text(note)}</p>" for note in drawn.notes)
    return f"<h2>Pictures</h2>{''.join(figures)}{notes}"


def _differing(compared: Compare) -> str:
    found = compared.differing
    parts = []
    for name, rows in found.sections.items():
        if not rows:
            continue
        marked = [
            (f"{key} (decides numbers)" if key in found.deciding else key, *values)
            for key, values in list(rows.items())[:MOST_ROWS]
        ]
        more = f"<p class=muted>and {len(rows) - MOST_ROWS:,} more</p>" if len(rows) > MOST_ROWS else ""
        parts.append(f"<h3>{TITLES[name]}</h3>{_table(('', *compared.labels), marked, numbers_from=999)}{more}")
    notes = "".join(f"<p class=muted>{_text(note)}</p>" for note in found.notes)
    return f"<h2>What differs</h2>{''.join(parts) or '<p>Nothing that was recorded.</p>'}{notes}"
