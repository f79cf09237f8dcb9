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

    def classify(event: gr.EventData) -> str:
        try:
            found = answer(recognizer, event._data or {})
        except HcrError as error:
            return markup.answer_panel(None, one_line(error), len(recognizer.class_names))
        return markup.answer_panel(found, None, len(recognizer.class_names))

    source = files("hcr.demo")
    title = printable(f"{facts.name}: hcr demo")
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.HTML(markup.header(facts, recognizer.image_shape))
        with gr.Tabs():
            with gr.Tab("Draw"), gr.Row():
                drawing = gr.HTML(
                    html_template=markup.canvas(recognizer.class_names),
                    js_on_load=source.joinpath("canvas.js").read_text(encoding="utf-8"),
                    min_width=300,
                )
                shown = gr.HTML(markup.answer_panel(None, None, len(recognizer.class_names)), min_width=300)
            with gr.Tab("Worst mistakes"):
                gr.HTML(markup.mistakes_panel(mistakes))
        drawing.input(
            classify,
            None,
            shown,
            trigger_mode="always_last",  # while an answer is awaited, only the newest drawing waits behind it
            show_progress="hidden",
            concurrency_limit=1,
            api_visibility="private",
        )
    blocks.queue(max_size=MOST_WAITING, api_open=False, default_concurrency_limit=1)
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
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
        theme=gr.themes.Default(font=FONTS, font_mono=MONO),
        css=source.joinpath("page.css").read_text(encoding="utf-8"),
    )
