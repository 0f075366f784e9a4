"""The load benchmark's own parts: its bad requests are bad, its mixes good, its counting right."""

from __future__ import annotations

import json
import random

from benchmarks import serve_load


def test_mixes_are_requests_about_boxes_inside() -> None:
    images = serve_load.photographs()
    for mix in serve_load.mixes(images).values():
        path, body = mix(random.Random(1))
        values = json.loads(body)
        assert path in (serve_load.CHAT, serve_load.ASSESS)
        x0, y0, x1, y1 = values["regions"][0]["box"]
        assert 0 <= x0 < x1 and 0 <= y0 < y1
    for image in images.values():
        x0, y0, x1, y1 = serve_load.random_box(random.Random(2), image)
        assert x1 <= image.shape[1] and y1 <= image.shape[0]


def test_every_kind_of_bad_request_differs() -> None:
    bad = serve_load.bad_requests(serve_load.photographs()["chelsea"])
    assert len({body for _, body in bad}) == len(bad) >= 20
