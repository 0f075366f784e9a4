"""The load benchmark's own parts: its bad requests are bad, its mixes good, its counting right."""

from __future__ import annotations

import json
import random

from benchmarks import serve_load


def test_mixes_are_requests_about_boxes_inside() -> None:
    images = serve_load.photographs()
    for mix in serve_load.mixes(images).values():
        talk = mix(random.Random(1))
        path, body = next(talk)
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


def test_a_conversation_carries_its_answers() -> None:
    talk = serve_load.mixes(serve_load.photographs())["conversations of four turns"](random.Random(3))
    first = json.loads(next(talk)[1])
    said = {"role": "assistant", "content": "Good."}
    second = json.loads(talk.send(json.dumps({"choices": [{"message": said}]}).encode())[1])
    assert second["messages"][:2] == [*first["messages"], said] and second["regions"] == first["regions"]
    assert second["messages"][2]["content"] == [{"type": "text", "text": serve_load.TURNS[1]}]
