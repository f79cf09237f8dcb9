"""The demo's page, in Gradio: a tab to draw on, and a tab of the worst mistakes."""

from importlib.resources import files
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI

from hcr.config import HcrError
from hcr.config.errors import one_line
from hcr.config.text import printable
from hcr.demo import markup
from hcr.demo.answers import answer
from hcr.demo.facts import RunFacts
from hcr.demo.mistakes import Mistakes

if TYPE_CHECKING:  # it imports TensorFlow
    from hcr.recognition import Recognizer

MOST_WAITING = 32  # events in the queue; a visitor has at most one there
FONTS = ["system-ui", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]  # installed ones: nothing is fetched
MONO = ["ui-monospace", "Consolas", "monospace"]


def make_app(recognizer: "Recognizer", facts: RunFacts, mistakes: Mistakes | str) -> FastAPI:
    """The page's web application. One image is classified at a time; the other visitors wait in a queue."""

    num_classes = len(recognizer.class_names)

    def classify(event: gr.EventData) -> dict[str, object]:
        submission = event._data or {}
        try:
            found, message = answer(recognizer, submission), None
        except HcrError as error:
            found, message = None, one_line(error)
        return {"id": submission.get("id"), "html": markup.answer_panel(found, message, num_classes)}

    source = files("hcr.demo")
    with gr.Blocks(title=printable(f"{facts.name}: hcr demo"), analytics_enabled=False) as blocks:
        gr.HTML(markup.header(facts, recognizer.image_shape), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Draw"):
                drawing = gr.HTML(
                    html_template=markup.drawing_tab(num_classes),
                    js_on_load=source.joinpath("canvas.js").read_text(encoding="utf-8"),
                    apply_default_css=False,
                )
            with gr.Tab("Worst mistakes"):
                gr.HTML(markup.mistakes_panel(mistakes), apply_default_css=False)
        drawing.input(
            classify,
            None,
            drawing,
            trigger_mode="multiple",  # `canvas.js` sends one at a time
            show_progress="hidden",
            concurrency_limit=1,
            api_visibility="private",
        )
    blocks.queue(max_size=MOST_WAITING, api_open=False, default_concurrency_limit=1)
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(primary_hue="blue", font=FONTS, font_mono=MONO),
        css=source.joinpath("page.css").read_text(encoding="utf-8"),
    )
    return app
