"""The whole page in gradio."""

from __future__ import annotations

import gradio as gr

from seagull_tune.web.desk import Desk
from seagull_tune.web.regions_page import regions_page
from seagull_tune.web.views import escaped

TITLE = "Seagull-Tune"


def build_app(desk: Desk) -> gr.Blocks:
    """The page: a header, and the page about regions. Another page becomes a tab beside it, here.

    Args:
        desk: answers.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as app:
        gr.HTML(
            f'<header class="top"><h1>{TITLE}</h1><p>How good is this region? Judged by '
            f"{escaped(desk.assessor.name)}.</p></header>"
        )
        regions_page(desk)
    return app
