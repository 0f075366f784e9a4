"""The tab about regions: which event asks the desk for what, and what is shown after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np

from seagull_tune.errors import SeagullError
from seagull_tune.gallery.panels import to_png
from seagull_tune.web.desk import Desk
from seagull_tune.web.events import LIGHT, MODEL, file_of, saves
from seagull_tune.web.layout import FIRST_TOOL, Components, Entrance
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


def wire_regions(at: Entrance, on: Components, desk: Desk) -> list[Any]:
    """Says what every event of the tab does, and what opening a photograph does.

    Args:
        at: what is above the tabs.
        on: the tab.
        desk: answers.

    Returns:
        The events that open a photograph, for what another tab does after them.
    """
    asking = _wire_conversation(at, on, desk)
    _wire_regions(at, on, desk)
    _wire_card(at, on, desk, asking)
    _wire_downloads(at, on)
    return _wire_photograph(at, on, desk, asking)


def _views(at: Entrance, on: Components) -> list[Any]:
    """What is shown anew after an event that changes the visit."""
    return [on.photo, at.note, on.regions, on.card, on.editing, on.name]


def _shown(visitor: Visitor, visit: Visit, **photo: bool) -> list[Any]:
    """Values of :func:`_views`; ``photo`` has further properties of that component."""
    if visit.problem:
        gr.Warning(escaped(visit.note), title="Not done")
    return [
        gr.update(value=picture_of(visit, visitor.by), **photo),
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
    """A handler of ``(visitor, *values)`` that changes the visit and shows it."""

    def handle(visitor: Visitor, *values: Any) -> list[Any]:
        return _shown(visitor, visitor.act(lambda visit: action(visit, *values)))

    return handle


def _wire_photograph(at: Entrance, on: Components, desk: Desk, asking: Any) -> list[Any]:
    def opened(visitor: Visitor, file: str | None) -> list[Any]:
        before = visitor.visit
        visit = visitor.act(lambda old: old if file is None else desk.open(file))
        if visit.photograph is not before.photograph:
            visitor.forget_talk()
        there = visit.photograph is not None
        emptied = [gr.update(value=None, visible=visible) for visible in (not there, there)]
        placing = [emptied[0], gr.update(visible=there), emptied[1]]
        colours = [visitor.by, legend_html(visitor.by)]  # of a visitor who was away too long, the first ones again
        shown = [*_shown(visitor, visit, visible=True), *_taken(FIRST_TOOL)]
        return [*shown, *placing, *colours, messages_of(visitor.talk)]

    def picked(visitor: Visitor, tool: str) -> list[Any]:
        visit = visitor.act(lambda old: old.choose(old.chosen).says(HINTS[tool]))
        painting = tool == "Paint"
        ground = visit.open.shown if painting else None
        return [*_shown(visitor, visit, visible=not painting), *_taken(tool, ground)]

    def coloured(visitor: Visitor, by: str) -> list[Any]:
        visitor.by = by
        return [picture_of(visitor.visit, by), legend_html(by)]

    placed = [*_tools(on), at.upload, at.workplace, at.another, on.by, on.legend, on.chat]
    opening = [
        source.upload(opened, [at.visitor, source], [*_views(at, on), *placed], cancels=[asking], **MODEL)
        for source in (at.upload, at.another)
    ]
    on.tool.input(picked, [at.visitor, on.tool], [*_views(at, on), *_tools(on)], **LIGHT)
    on.by.input(coloured, [at.visitor, on.by], [on.photo, on.legend], **LIGHT)
    return opening


def _wire_regions(at: Entrance, on: Components, desk: Desk) -> None:
    def clicked(visitor: Visitor, tool: str, place: gr.SelectData) -> list[Any]:
        x, y = place.index
        return _shown(visitor, visitor.act(lambda visit: desk.click(visit, tool, x, y)))

    def painted(visitor: Visitor, drawing: dict[str, Any] | None) -> list[Any]:
        layers: list[np.ndarray] = list(drawing["layers"]) if drawing else []
        visit = visitor.act(lambda old: desk.painted(old, layers))
        if visit.problem:  # what was painted stays, to be painted on
            return [*_shown(visitor, visit), gr.update(), gr.update(), gr.update()]
        return [*_shown(visitor, visit, visible=True), *_taken("Look")]

    def everything(visitor: Visitor) -> list[Any]:
        return [*_shown(visitor, visitor.act(desk.everything), visible=True), *_taken("Look")]

    views = _views(at, on)
    on.photo.select(clicked, [at.visitor, on.tool], views, **MODEL)
    on.everything.click(everything, [at.visitor], [*views, *_tools(on)], **MODEL)
    typed = [at.visitor, on.numbers]
    gr.on([on.add_numbers.click, on.numbers.submit], _event(desk.typed), typed, views, **MODEL)
    on.judge_painted.click(painted, [at.visitor, on.easel], [*views, *_tools(on)], **MODEL)
    on.regions.input(_event(lambda visit, index: visit.choose(index)), [at.visitor, on.regions], views, **LIGHT)


def _wire_card(at: Entrance, on: Components, desk: Desk, asking: Any) -> None:
    def removed(visitor: Visitor) -> list[Any]:
        visit = visitor.act(lambda old: old.removed())
        if not visit.problem:
            visitor.forget_talk()
        return [*_shown(visitor, visit), messages_of(visitor.talk)]

    views = _views(at, on)
    on.describe.click(_event(desk.describe), [at.visitor], views, **MODEL)
    naming = [at.visitor, on.name]
    gr.on(
        [on.rename.click, on.name.submit], _event(lambda visit, name: visit.renamed(name)), naming, views, **LIGHT
    )  # fmt: skip
    on.remove.click(removed, [at.visitor], [*views, on.chat], cancels=[asking], **LIGHT)


def _wire_downloads(at: Entrance, on: Components) -> None:
    def as_json(visitor: Visitor) -> str:
        return file_of(visitor.visit, "regions.json", results_json(visitor.visit).encode())

    def as_png(visitor: Visitor) -> str:
        return file_of(visitor.visit, f"{visitor.by.lower()}.png", to_png(picture_to_keep(visitor.visit, visitor.by)))

    for button, make in ((on.keep_json, as_json), (on.keep_png, as_png)):
        saves(button, make, [at.visitor], on.kept)


def _wire_conversation(at: Entrance, on: Components, desk: Desk) -> Any:
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
        [on.send.click, on.question.submit], ask, [at.visitor, on.question], [on.chat, on.question],
        show_progress="hidden", **MODEL,
    )  # fmt: skip
    on.stop.click(lambda visitor: visitor.stop(), at.visitor, None, **LIGHT)
    gr.on([on.restart.click, on.chat.clear], restart, at.visitor, on.chat, cancels=[asking], **LIGHT)
    return asking
