"""What is on the page, and where. The components by name; what they do is wired in ``regions_page``, ``whole_page``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from seagull_tune.web.picture import SCORES
from seagull_tune.web.state import HINTS, TOOLS
from seagull_tune.web.views import card_html, legend_html, messages_of, note_html
from seagull_tune.web.visitor import Visitor
from seagull_tune.web.whole import VIEWS, view_legend_html, whole_html

FIRST_TOOL = "Point"
_BRUSH = "#00c2d1"  # no colour of the score map: what is painted is not a judgement


@dataclass(frozen=True)
class Entrance:
    """What is above the tabs: where a photograph is opened, and what the page says. ``workplace`` holds the tabs; it is
    shown with the first photograph."""

    visitor: gr.State
    upload: gr.File
    note: gr.HTML
    another: gr.UploadButton
    workplace: gr.Column


@dataclass(frozen=True)
class Components:
    """Everything on the tab about regions that an event reads or changes."""

    tool: gr.Radio
    everything: gr.Button
    photo: gr.Image
    easel: gr.ImageEditor
    judge_painted: gr.Button
    by: gr.Radio
    legend: gr.HTML
    numbers: gr.Textbox
    add_numbers: gr.Button
    regions: gr.Radio
    card: gr.HTML
    editing: gr.Column
    describe: gr.Button
    name: gr.Textbox
    rename: gr.Button
    remove: gr.Button
    keep_json: gr.Button
    keep_png: gr.Button
    kept: gr.Textbox
    chat: gr.Chatbot
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    restart: gr.Button


@dataclass(frozen=True)
class WholeComponents:
    """Everything on the tab about the whole photograph that an event reads or changes."""

    score: gr.Button
    scored: gr.Row
    picture: gr.Image
    view: gr.Radio
    legend: gr.HTML
    told: gr.HTML
    keep_page: gr.Button
    keep_json: gr.Button
    keep_png: gr.Button
    kept: gr.Textbox


def lay_out_entrance() -> Entrance:
    """Builds what is above the tabs, inside the ``gr.Blocks`` that is open."""
    visitor = gr.State(Visitor)
    upload = gr.File(label="Open a photograph", file_count="single", type="filepath", height=170, elem_id="upload")
    with gr.Row(elem_classes="entrance"):
        note = gr.HTML(note_html(Visitor().visit), elem_id="note", min_width=200)
        another = gr.UploadButton("Other photo", size="sm", elem_id="another", min_width=110, scale=0, visible=False)
    return Entrance(visitor, upload, note, another, gr.Column(visible=False, elem_id="workplace"))


def lay_out_regions() -> Components:
    """Builds the tab about regions, inside the one that is open."""
    parts: dict[str, Any] = {}
    with gr.Row(elem_classes="sides"):
        with gr.Column(scale=3, min_width=300):
            parts |= _photograph_side()
        with gr.Column(scale=2, min_width=300, elem_id="side"):
            parts |= _card_side()
    parts |= _conversation()
    return Components(**parts)


def lay_out_whole() -> WholeComponents:
    """Builds the tab about the whole photograph, inside the one that is open; nothing but its button is shown yet."""
    parts: dict[str, Any] = {}
    parts["score"] = gr.Button("Score the whole photograph", variant="primary", elem_id="score")
    with gr.Row(elem_classes="sides", visible=False, elem_id="scored") as scored:
        with gr.Column(scale=3, min_width=300):
            parts["picture"] = gr.Image(
                label="Where the score comes from", show_label=False, interactive=False, format="png",
                buttons=["fullscreen"], elem_id="whole-photo",
                alt_text="The photograph: where the scorer looks, or its regions by quality",
            )  # fmt: skip
            with gr.Row(elem_classes="colours"):
                parts["view"] = gr.Radio(
                    list(VIEWS), value=VIEWS[0], label="Colours", show_label=False, container=False,
                    elem_id="whole-view", min_width=250,
                )  # fmt: skip
                parts["legend"] = gr.HTML(view_legend_html(VIEWS[0]), elem_id="whole-legend", min_width=200)
        with gr.Column(scale=2, min_width=300):
            parts["told"] = gr.HTML(whole_html(Visitor().visit, 0), elem_id="whole")
            with gr.Row(elem_id="whole-downloads"):
                parts["keep_page"] = gr.Button("Download page", size="sm", min_width=110, elem_id="whole-page")
                parts["keep_json"] = gr.Button("JSON", size="sm", min_width=70, elem_id="whole-json")
                parts["keep_png"] = gr.Button("PNG", size="sm", min_width=70, elem_id="whole-png")
            parts["kept"] = gr.Textbox(visible="hidden", elem_id="whole-kept")
    return WholeComponents(scored=scored, **parts)


def _photograph_side() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Row(elem_classes="tools"):
        parts["tool"] = gr.Radio(
            list(TOOLS), value=FIRST_TOOL, label="A click", show_label=False, container=False, elem_id="tool",
            scale=3, min_width=310,
        )  # fmt: skip
        parts["everything"] = gr.Button("All regions", variant="primary", size="sm", elem_id="everything", min_width=90)
    parts["photo"] = gr.Image(
        label="Photograph with its regions", show_label=False, interactive=False, format="png", buttons=["fullscreen"],
        elem_id="photo", alt_text="The photograph with its regions, coloured by their scores",
    )  # fmt: skip
    parts["easel"] = gr.ImageEditor(
        label="Paint over the region", show_label=False, visible=False, sources=(), transforms=(), layers=False,
        type="numpy", format="png", brush=gr.Brush(default_size=40, colors=[_BRUSH], color_mode="fixed"),
        buttons=[], elem_id="easel",
    )  # fmt: skip
    parts["judge_painted"] = gr.Button(
        "Judge what is painted", variant="primary", visible=False, elem_id="judge-painted"
    )
    with gr.Row(elem_classes="colours"):
        parts["by"] = gr.Radio(
            list(SCORES), value=SCORES[0], label="Colours", show_label=False, container=False, elem_id="by",
            min_width=190,
        )  # fmt: skip
        parts["legend"] = gr.HTML(legend_html(SCORES[0]), elem_id="legend", min_width=200)
    with gr.Accordion("Add a region by numbers", open=False), gr.Row():
        parts["numbers"] = gr.Textbox(
            label="Pixels of the photograph", placeholder="x,y  or  x0,y0,x1,y1  or  x,y;x,y;x,y", scale=3,
            max_length=4000, elem_id="numbers", min_width=200,
        )  # fmt: skip
        parts["add_numbers"] = gr.Button("Add", size="sm", min_width=80, elem_id="add-numbers")
    return parts


def _card_side() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    parts["regions"] = gr.Radio([], label="Regions", visible=False, elem_id="regions", type="value")
    parts["card"] = gr.HTML(card_html(Visitor().visit), elem_id="card")
    with gr.Column(visible=False, elem_id="editing") as editing:
        parts["describe"] = gr.Button("Describe in words", size="sm", elem_id="describe")
        with gr.Row():
            parts["name"] = gr.Textbox(
                label="Name", show_label=False, container=False, placeholder="Name of this region", max_length=80,
                elem_id="name", scale=2, min_width=130,
            )  # fmt: skip
            parts["rename"] = gr.Button("Rename", size="sm", min_width=80, elem_id="rename")
            parts["remove"] = gr.Button("Remove", size="sm", min_width=80, elem_id="remove")
        with gr.Row():
            parts["keep_json"] = gr.Button("Download JSON", size="sm", min_width=120, elem_id="keep-json")
            parts["keep_png"] = gr.Button("Download PNG", size="sm", min_width=120, elem_id="keep-png")
        parts["kept"] = gr.Textbox(visible="hidden", elem_id="kept")
    return parts | {"editing": editing}


def _conversation() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Column(elem_id="conversation"):
        parts["chat"] = gr.Chatbot(
            messages_of(Visitor().talk), label="Conversation", height=260, buttons=[], feedback_options=None,
            render_markdown=False, layout="bubble", elem_id="chat",
            placeholder="Ask about the chosen region, or name regions: Is region 1 sharper than region 2?",
        )  # fmt: skip
        with gr.Row(elem_classes="ask"):
            parts["question"] = gr.Textbox(
                label="Question", show_label=False, container=False, placeholder="Ask about this region …", lines=1,
                max_lines=4, scale=4, min_width=200, elem_id="question",
            )  # fmt: skip
            parts["send"] = gr.Button("Ask", variant="primary", size="sm", min_width=70, elem_id="send")
            parts["stop"] = gr.Button("Stop", size="sm", min_width=70, elem_id="stop")
            parts["restart"] = gr.Button("Start over", size="sm", min_width=90, elem_id="restart")
    return parts


assert set(HINTS) == set(TOOLS)
