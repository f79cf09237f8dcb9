"""The HTML of the demo's page. Every name and message in it is text: no markup of theirs takes effect."""

import base64
import html
import io

from PIL import Image

from hcr.config.text import printable
from hcr.data.pixels import Images
from hcr.demo.answers import MOST_BYTES, MOST_CLASSES, Answer, ClassProbability
from hcr.demo.facts import RunFacts
from hcr.demo.mistakes import Mistake, Mistakes

# Gradio compiles HTML as a JavaScript template string and with Handlebars, in which these have a meaning.
_TEMPLATE = str.maketrans({char: f"&#{ord(char)};" for char in "$`{}\\"})
HINT = "Draw a character, or open, drop or paste a picture of one."


def text(value: str) -> str:
    """`value` as HTML that shows it literally, on one line."""
    return html.escape(printable(value)).translate(_TEMPLATE)


def header(facts: RunFacts, image_shape: tuple[int, int, int]) -> str:
    """The run's name, score and place in MLflow."""
    height, width, channels = image_shape
    color = "grey" if channels == 1 else "colour"
    if facts.page is None:
        link = f"run {text(facts.key)}; in MLflow: <code>hcr ui</code>"
    else:
        href = f'href="{text(facts.page)}" target="_blank" rel="noreferrer noopener"'
        link = f"<a {href}>run {text(facts.key)} in MLflow</a>"
    return (
        f'<header class="hcr-header"><h1><bdi>{text(facts.name)}</bdi></h1>'
        f"<p>{text(facts.score)}</p>"
        f"<p>dataset <bdi>{text(facts.dataset)}</bdi>, {height}x{width} {color} images; {link}</p></header>"
    )


def answer_panel(answer: Answer | None, message: str | None = None, num_classes: int = MOST_CLASSES) -> str:
    """The bars of the most probable classes and the image that the model took, or empty ones with a message.

    Args:
        message: shown instead of an answer; None: how to begin.
        num_classes: number of empty bars.
    """
    if answer is None:
        count = min(MOST_CLASSES, num_classes)
        kind = "hcr-hint" if message is None else "hcr-refusal"
        top = f'<div class="hcr-pixels hcr-none"></div><p class="{kind}">{text(message or HINT)}</p>'
        bars = "".join(_bar(None) for _ in range(count))
    else:
        best = answer.classes[0]
        height, width = answer.image.shape[:2]
        top = (
            f'<img class="hcr-pixels" src="{data_url(answer.image)}" alt="the image that the model sees">'
            f'<div><p class="hcr-best" title="{text(best.name)}"><bdi>{text(best.name)}</bdi></p>'
            f'<p class="hcr-note">left: the {height}x{width} pixels that the model sees</p></div>'
        )
        bars = "".join(_bar(each) for each in answer.classes)
    return f'<div class="hcr-top">{top}</div><ol class="hcr-bars">{bars}</ol>'


def _bar(shown: ClassProbability | None) -> str:
    name, share, width = ("", "", 0.0) if shown is None else _bar_parts(shown)
    return (
        f'<li><span class="hcr-name" title="{name}"><bdi>{name}</bdi></span>'
        f'<span class="hcr-track"><span class="hcr-fill" style="width:{width:.1f}%"></span></span>'
        f'<span class="hcr-share">{share}</span></li>'
    )


def _bar_parts(shown: ClassProbability) -> tuple[str, str, float]:
    return text(shown.name), percent(shown.probability), 100 * shown.probability


def mistakes_panel(found: Mistakes | str) -> str:
    """The worst mistakes as pictures with captions, or why there are none to show."""
    if isinstance(found, str):
        return f'<p class="hcr-note">The worst mistakes are not shown: {text(found)}</p>'
    if not found.rows:
        return (
            f'<p class="hcr-note">No mistakes: all {found.num_images:,} validation images are classified correctly.</p>'
        )
    images = f"{found.num_images:,} validation images"
    if len(found.rows) == found.num_wrong:
        title = f"Every mistake on {images} ({found.num_wrong}), the most confident first."
    else:
        title = f"The {len(found.rows)} most confident of {found.num_wrong:,} mistakes on {images}."
    cards = "".join(_card(row) for row in found.rows)
    return f'<p class="hcr-note">{title}</p><div class="hcr-mistakes">{cards}</div>'


def _card(row: Mistake) -> str:
    actual, predicted = text(row.actual), text(row.predicted)
    return (
        f'<figure><img class="hcr-pixels" src="{data_url(row.image)}" alt="{actual}, predicted as {predicted}">'
        f'<figcaption><span title="{actual}">actual <b><bdi>{actual}</bdi></b></span>'
        f'<span title="{predicted}">predicted <b class="hcr-wrong"><bdi>{predicted}</bdi></b></span>'
        f"<span>{percent(row.probability)}</span></figcaption></figure>"
    )


def percent(share: float) -> str:
    """A share in [0, 1], such as `97.3 %`; 100.0 only for 1."""
    return "&gt; 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def data_url(image: Images) -> str:
    """An image (h, w, c) uint8, c 1 or 3, as a PNG inside a URL."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def drawing_tab(num_classes: int) -> str:
    """The canvas, its buttons and the place of the answer; `canvas.js` brings them to life."""
    return (
        f'<div class="hcr-tab" data-most-bytes="{MOST_BYTES}"><div class="hcr-draw">'
        f'<canvas class="hcr-canvas" role="img" aria-label="Canvas: draw one of {num_classes} classes"></canvas>'
        '<div class="hcr-buttons"><button type="button" class="hcr-undo">Undo</button>'
        '<button type="button" class="hcr-clear">Clear</button>'
        '<button type="button" class="hcr-open">Open picture</button>'
        '<input type="file" accept="image/*" hidden></div></div>'
        f'<div class="hcr-answer" aria-live="polite">{answer_panel(None, num_classes=num_classes)}</div></div>'
    )
