"""The tab about the whole photograph: which event asks the desk for what, and what is shown after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from seagull_tune.rsa.explain import explanation_files
from seagull_tune.web.desk import Desk
from seagull_tune.web.events import LIGHT, MODEL, file_of, saves
from seagull_tune.web.layout import Entrance, WholeComponents
from seagull_tune.web.state import Visit
from seagull_tune.web.views import escaped, note_html
from seagull_tune.web.visitor import Visitor
from seagull_tune.web.whole import VIEWS, picture_of_whole, view_legend_html, views_of, whole_html


def wire_whole(at: Entrance, on: WholeComponents, desk: Desk, opening: list[Any]) -> None:
    """Says what every event of the tab does.

    Args:
        at: what is above the tabs.
        on: the tab.
        desk: answers; it has a scorer.
        opening: events that open a photograph; the score of the last one goes.
    """
    worst = desk.config.worst
    views = [on.scored, on.picture, on.view, on.legend, on.told]

    def shown(visit: Visit) -> list[Any]:
        known = views_of(visit)
        return [
            gr.update(visible=visit.whole is not None), picture_of_whole(visit, VIEWS[0]),
            gr.update(choices=list(known), value=VIEWS[0], visible=len(known) > 1), view_legend_html(VIEWS[0]),
            whole_html(visit, worst),
        ]  # fmt: skip

    def scored(visitor: Visitor) -> list[Any]:
        visit = visitor.act(desk.score)
        if visit.problem:
            gr.Warning(escaped(visit.note), title="Not scored")
        return [note_html(visit), *shown(visit)]

    on.score.click(scored, at.visitor, [at.note, *views], **MODEL)
    for event in opening:
        event.then(lambda visitor: shown(visitor.visit), at.visitor, views, **LIGHT)
    on.view.input(
        lambda visitor, view: [picture_of_whole(visitor.visit, view), view_legend_html(view)],
        [at.visitor, on.view], [on.picture, on.legend], **LIGHT,
    )  # fmt: skip
    for button, kind in ((on.keep_page, "html"), (on.keep_json, "json"), (on.keep_png, "png")):
        saves(button, _file(kind, worst), [at.visitor], on.kept)


def _file(kind: str, worst: int) -> Callable[[Visitor], str]:
    """One of the files of an explanation."""

    def make(visitor: Visitor) -> str:
        visit = visitor.visit
        if visit.whole is None:
            return ""
        files = explanation_files(visit.open.pixels, visit.whole.explanation, visit.open.name, worst)
        return file_of(visit, f"score.{kind}", files[kind])

    return make
