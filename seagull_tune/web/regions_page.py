"""The page about regions: which event asks the desk for what, and what is shown after it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import cv2
import gradio as gr
import numpy as np

from seagull_tune.errors import SeagullError
from seagull_tune.web.desk import Desk
from seagull_tune.web.layout import FIRST_TOOL, Components, lay_out
from seagull_tune.web.picture import picture_of, picture_to_keep
from seagull_tune.web.state import HINTS, Visit
from seagull_tune.web.views import (
    card_html,
    choices_of,
    escaped,
    legend_html,
    messages_of,
    note_html,
    results_json,
)
from seagull_tune.web.visitor import Visitor

_SAVE = """(text) => {
  if (!text) return;
  const file = JSON.parse(text);
  const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], {type: file.type}));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""
"""Saves a file that came as JSON: nothing of it is written on the server."""


def regions_page(desk: Desk) -> None:
    """Lays the page out and wires it, inside the ``gr.Blocks`` that is open.

    Args:
        desk: answers.
    """
    on = lay_out()
    asking = _wire_conversation(on, desk)
    _wire_photograph(on, desk, asking)
    _wire_regions(on, desk)
    _wire_card(on, desk, asking)
    _wire_downloads(on)


def _views(on: Components) -> list[Any]:
    """What is shown anew after an event that changes the visit."""
    return [on.photo, on.note, on.regions, on.card, on.editing, on.name]


def _shown(visit: Visit, by: str, **photo: bool) -> list[Any]:
    """Values of :func:`_views`; ``photo`` has further properties of that component."""
    if visit.problem:
        gr.Warning(escaped(visit.note), title="Not done")
    return [
        gr.update(value=picture_of(visit, by), **photo),
        note_html(visit),
        gr.update(choices=choices_of(visit), value=visit.chosen, visible=bool(visit.regions)),
        card_html(visit),
        gr.update(visible=bool(visit.regions)),
        "" if visit.card is None else visit.card.name,
    ]


def _tools(on: Components) -> list[Any]:
    """What changes beside the photograph when another tool is taken."""
    return [on.tool, on.easel, on.judge_painted]


def _taken(tool: str, ground: np.ndarray | None = None) -> list[Any]:
    """Values of :func:`_tools`; ``ground`` uint8 (h, w, 3) is what is painted on."""
    painting = tool == "Paint"
    drawing = None if ground is None else {"background": ground, "layers": [], "composite": None}
    return [tool, gr.update(visible=painting, value=drawing), gr.update(visible=painting)]


def _event(action: Callable[..., Visit]) -> Callable[..., list[Any]]:
    """A handler of ``(visitor, by, *values)`` that changes the visit and shows it."""

    def handle(visitor: Visitor, by: str, *values: Any) -> list[Any]:
        return _shown(visitor.act(lambda visit: action(visit, *values)), by)

    return handle


def _wire_photograph(on: Components, desk: Desk, asking: Any) -> None:
    def opened(visitor: Visitor, by: str, file: str | None) -> list[Any]:
        before = visitor.visit
        visit = visitor.act(lambda old: old if file is None else desk.open(file))
        if visit.photograph is not before.photograph:
            visitor.forget_talk()
        there = visit.photograph is not None
        placing = [gr.update(value=None, visible=not there), gr.update(visible=there), gr.update(value=None)]
        return [*_shown(visit, by, visible=True), *_taken(FIRST_TOOL), *placing, messages_of(visitor.talk)]

    def picked(visitor: Visitor, by: str, tool: str) -> list[Any]:
        visit = visitor.act(lambda old: old.choose(old.chosen).says(HINTS[tool]))
        painting = tool == "Paint"
        ground = visit.open.shown if painting else None
        return [*_shown(visit, by, visible=not painting), *_taken(tool, ground)]

    placed = [*_tools(on), on.upload, on.workplace, on.another, on.chat]
    for source in (on.upload, on.another):
        source.upload(opened, [on.visitor, on.by, source], [*_views(on), *placed], cancels=[asking], **_MODEL)
    on.tool.input(picked, [on.visitor, on.by, on.tool], [*_views(on), *_tools(on)], **_LIGHT)
    on.by.input(
        lambda visitor, by: [picture_of(visitor.visit, by), legend_html(by)],
        [on.visitor, on.by], [on.photo, on.legend], **_LIGHT,
    )  # fmt: skip


def _wire_regions(on: Components, desk: Desk) -> None:
    def clicked(visitor: Visitor, by: str, tool: str, place: gr.SelectData) -> list[Any]:
        x, y = place.index
        return _shown(visitor.act(lambda visit: desk.click(visit, tool, x, y)), by)

    def painted(visitor: Visitor, by: str, drawing: dict[str, Any] | None) -> list[Any]:
        layers: list[np.ndarray] = list(drawing["layers"]) if drawing else []
        visit = visitor.act(lambda old: desk.painted(old, layers))
        if visit.problem:  # what was painted stays, to be painted on
            return [*_shown(visit, by), gr.update(), gr.update(), gr.update()]
        return [*_shown(visit, by, visible=True), *_taken("Look")]

    def everything(visitor: Visitor, by: str) -> list[Any]:
        return [*_shown(visitor.act(desk.everything), by, visible=True), *_taken("Look")]

    views = _views(on)
    on.photo.select(clicked, [on.visitor, on.by, on.tool], views, **_MODEL)
    on.everything.click(everything, [on.visitor, on.by], [*views, *_tools(on)], **_MODEL)
    typed = [on.visitor, on.by, on.numbers]
    gr.on([on.add_numbers.click, on.numbers.submit], _event(desk.typed), typed, views, **_MODEL)
    on.judge_painted.click(painted, [on.visitor, on.by, on.easel], [*views, *_tools(on)], **_MODEL)
    on.regions.input(_event(lambda visit, index: visit.choose(index)), [on.visitor, on.by, on.regions], views, **_LIGHT)


def _wire_card(on: Components, desk: Desk, asking: Any) -> None:
    def removed(visitor: Visitor, by: str) -> list[Any]:
        visit = visitor.act(lambda old: old.removed())
        if not visit.problem:
            visitor.forget_talk()
        return [*_shown(visit, by), messages_of(visitor.talk)]

    views = _views(on)
    on.describe.click(_event(desk.describe), [on.visitor, on.by], views, **_MODEL)
    naming = [on.visitor, on.by, on.name]
    gr.on(
        [on.rename.click, on.name.submit], _event(lambda visit, name: visit.renamed(name)), naming, views, **_LIGHT
    )  # fmt: skip
    on.remove.click(removed, [on.visitor, on.by], [*views, on.chat], cancels=[asking], **_LIGHT)


def _wire_downloads(on: Components) -> None:
    def as_json(visitor: Visitor, by: str) -> str:
        return _file(visitor.visit, "regions.json", "application/json", results_json(visitor.visit).encode())

    def as_png(visitor: Visitor, by: str) -> str:
        picture = cv2.cvtColor(picture_to_keep(visitor.visit, by), cv2.COLOR_RGB2BGR)
        return _file(visitor.visit, f"{by.lower()}.png", "image/png", cv2.imencode(".png", picture)[1].tobytes())

    for button, make in ((on.keep_json, as_json), (on.keep_png, as_png)):
        button.click(make, [on.visitor, on.by], on.kept, **_LIGHT).then(None, on.kept, None, js=_SAVE).then(
            lambda: "", None, on.kept, **_LIGHT
        )


def _file(visit: Visit, suffix: str, kind: str, data: bytes) -> str:
    """A file as :data:`_SAVE` takes it."""
    name = f"{PurePath(visit.open.name).stem}.{suffix}"
    return json.dumps({"name": name, "type": kind, "data": base64.b64encode(data).decode("ascii")})


def _wire_conversation(on: Components, desk: Desk) -> Any:
    def ask(visitor: Visitor, question: str) -> Iterator[tuple[Any, Any]]:
        try:
            for talk in visitor.ask(desk, question):
                yield messages_of(talk), ""
        except SeagullError as error:
            gr.Warning(escaped(str(error)), title="Not asked")
            yield messages_of(visitor.talk), question

    def restart(visitor: Visitor) -> list[dict[str, str]]:
        visitor.forget_talk()
        return messages_of(visitor.talk)

    asking = gr.on(
        [on.send.click, on.question.submit], ask, [on.visitor, on.question], [on.chat, on.question],
        show_progress="hidden", **_MODEL,
    )  # fmt: skip
    on.stop.click(lambda visitor: visitor.stop(), on.visitor, None, **_LIGHT)
    gr.on([on.restart.click, on.chat.clear], restart, on.visitor, on.chat, cancels=[asking], **_LIGHT)
    return asking


_MODEL: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
"""Events that ask the model: all may come in at once; the desk takes them one by one, so the page of one visitor never
makes another one's look broken."""

_LIGHT: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
"""Events that only show what is known."""
