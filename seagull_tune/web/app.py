"""The whole page in gradio."""

from __future__ import annotations

import gradio as gr

from seagull_tune.web.desk import Desk
from seagull_tune.web.layout import lay_out_entrance, lay_out_regions, lay_out_whole
from seagull_tune.web.regions_page import wire_regions
from seagull_tune.web.views import escaped
from seagull_tune.web.whole import no_scorer_html
from seagull_tune.web.whole_page import wire_whole

TITLE = "Seagull-Tune"


def build_app(desk: Desk) -> gr.Blocks:
    """The page: a header, a photograph to be opened, and a tab for each way to look at it. A further one goes here.

    Args:
        desk: answers.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as app:
        gr.HTML(
            f'<header class="top"><h1>{TITLE}</h1><p>How good is this region? Judged by '
            f"{escaped(desk.assessor.name)}.</p></header>"
        )
        at = lay_out_entrance()
        with at.workplace, gr.Tabs():
            with gr.Tab("Regions"):
                regions = lay_out_regions()
            with gr.Tab("Whole image"):
                if desk.scorer is None:
                    gr.HTML(no_scorer_html(), elem_id="no-scorer")
                else:
                    whole = lay_out_whole()
        opening = wire_regions(at, regions, desk)
        if desk.scorer is not None:
            wire_whole(at, whole, desk, opening)
    return app
