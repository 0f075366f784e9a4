"""What events show: the colours that are chosen when they end."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.web.desk import Desk
from seagull_tune.web.picture import picture_of
from seagull_tune.web.state import Visit
from seagull_tune.web.visitor import Visitor


def test_colours_that_are_chosen_meanwhile_hold(desk: Desk, visit: Visit) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (extra web)")
    from seagull_tune.web.regions_page import _event

    visitor = Visitor()

    def slow(_: Visit) -> Visit:
        visitor.by = "Importance"  # by another event, while the model is asked
        return desk.typed(visit, "10,20,200,300")

    shown = _event(slow)(visitor)
    chosen, before = (picture_of(visitor.visit, by) for by in ("Importance", "Quality"))
    assert chosen is not None and before is not None and not np.array_equal(chosen, before)
    assert np.array_equal(shown[0]["value"], chosen)
