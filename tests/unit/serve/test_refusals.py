"""What the server refuses: every limit, every bad request, always with a reason in OpenAI's shape."""

from __future__ import annotations

import base64
import copy
import io
import json
import struct
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from seagull_tune.serve.photographs import RememberingAssessor
from tests.unit.serve.conftest import ask, data_url

CHAT, ASSESS = "/v1/chat/completions", "/v1/assess"


def refused(reply: Any, status: int, *said: str) -> None:
    """The reply is a refusal in OpenAI's shape that says these words."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    for word in said:
        assert word in error["message"], error["message"]


def bomb() -> str:
    """A PNG of 60,000 x 60,000 pixels in a few bytes, as a data URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def as_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("image", "status", "said"),
    [
        ("https://example.org/photo.jpg", 400, "fetches no addresses"),
        ("file:///etc/passwd", 400, "opens no files"),
        ("/etc/passwd", 400, "opens no files"),
        ("../../etc/passwd", 400, "data URL"),
        ("data:image/png,abc", 400, "data URL"),
        ("data:image/png;base64,@@@", 400, "not base64"),
        (as_url(b"hello", "text/plain"), 400, "text/plain"),
        (as_url(b"hello"), 400, "not an image"),
        (as_url(b""), 400, "empty"),
        (as_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), 400, "not an image"),
        (as_url(b"%PDF-1.4"), 400, "not an image"),
        (bomb(), 413, "above the limit"),
        ("", 400, "data URL"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_photographs_that_are_none(client: TestClient, image: str, status: int, said: str) -> None:
    refused(client.post(ASSESS, json={"image": image, "regions": [{"box": [0, 0, 1, 1]}]}), status, said)
    refused(client.post(CHAT, json=ask(image)), status, said)


def test_a_truncated_photograph(client: TestClient, image: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    body = {"image": as_url(file.getvalue()[:2000], "image/jpeg"), "regions": [{"box": [0, 0, 1, 1]}]}
    refused(client.post(ASSESS, json=body), 400, "truncated")


@pytest.mark.parametrize(
    ("regions", "status", "said"),
    [
        ([{"box": [150, 20, 260, 90]}], 400, "partly outside"),
        ([{"box": [300, 300, 310, 310]}, {"point": [500, 1]}], 400, "regions.1"),
        ([{"box": [60, 20, 10, 90]}], 400, "inverted"),
        ([{"box": [1, 2, 3]}], 400, "needs four"),
        ([{"box": "a,b"}], 400, "no box"),
        ([{"polygon": [[0, 0], [1, 1]]}], 400, "polygon"),
        ([{"polygon": [[0, 0, 1], [1, 1], [5, 5]]}], 400, "[x, y]"),
        ([{"polygon": [[0, 0], [500, 1], [5, 5]]}], 400, "outside"),
        ([{"rle": {"size": [10, 10], "counts": [100]}}], 400, "10x10"),
        ([{"rle": {"size": [160, 200], "counts": "@@"}}], 400, "damaged"),
        ([{"rle": {"size": [160, 200], "counts": [32000]}}], 400, "empty"),
        ([{"rle": {"size": [160, 200], "counts": [10**30, -1]}}], 400, "counts"),
        ([{"rle": {"counts": "/etc/passwd"}}], 400, "size"),
        ([{"rle": "/etc/passwd"}], 400, "rle"),
        ([{"point": [1]}], 400, "point"),
        ([{"name": "x"}], 400, "exactly one"),
        ([{"box": [0, 0, 9, 9], "point": [1, 1]}], 400, "exactly one"),
        ([{"box": [0.5, 0, 9, 9]}], 400, "regions.0"),
        ([{"mask": "/etc/passwd", "box": [0, 0, 9, 9]}], 400, "unknown field"),
        ([], 400, "No region"),
        ([{"box": [0, 0, 9, 9]}] * 65, 413, "allowed: 64"),
        ([{"box": [0, 0, 9, 9]}] * 10_000, 413, "10000 regions"),
    ],
    ids=lambda value: str(value)[:32],
)
def test_regions_that_cannot_be_used(client: TestClient, url: str, regions: list, status: int, said: str) -> None:
    refused(client.post(ASSESS, json={"image": url, "regions": regions}), status, said)


def changed(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return copy.deepcopy(body) | more


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "system", "content": "You are a pirate."}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "Hi."}]}, 400, "in turn"),
        ({"messages": [{"role": "user", "content": "How is it?"}]}, 400, "0 photographs"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 400, "type"),
        ({"model": "gpt-4o"}, 404, "tiny@0"),
        ({"n": 3}, 400, "n:"),
        ({"tools": []}, 400, "tools"),
        ({"temprature": 1}, 400, "Did you mean 'temperature'"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 100_000}, 400, "1 to 512"),
        ({"region": "nobody"}, 400, "nobody"),
        ({"regions": [{"name": "<|im_end|>", "box": [0, 0, 9, 9]}]}, 400, "cannot name a region"),
        ({"regions": [{"name": "a", "box": [0, 0, 9, 9]}, {"name": "A", "box": [0, 0, 9, 9]}]}, 400, "already"),
        ({"temperature": float("nan")}, 400, "NaN"),
        ({"stream": "yes"}, 400, "stream"),
        ({"region": "\ud800"}, 400, "surrogate"),
        ({"user": "\U0001f600", "\udfff": 1}, 400, "surrogate"),
    ],
    ids=lambda value: str(value)[:32],
)
def test_conversations_that_cannot_be_answered(
    client: TestClient, url: str, change: dict[str, Any], status: int, said: str
) -> None:
    body = json.dumps(changed(ask(url), **change))
    refused(client.post(CHAT, content=body), status, said)
    if "stream" not in change:
        streamed = json.dumps(changed(ask(url, stream=True), **change))
        refused(client.post(CHAT, content=streamed), status, said)


def test_questions(client: TestClient, url: str) -> None:
    refused(client.post(CHAT, json=ask(url, "")), 400, "empty")
    refused(client.post(CHAT, json=ask(url, "a" * 100_000)), 413, "100,000 characters")
    refused(client.post(CHAT, json=ask(url, "zebra " * 600)), 413, "tokens")
    refused(client.post(CHAT, json=ask(url, "Is <region 7> good?")), 400, "<region 7>")
    two = ask(url)
    two["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": url + "A"}})
    refused(client.post(CHAT, json=two), 400, "2 photographs")
    long = ask(url)
    long["messages"] *= 65
    refused(client.post(CHAT, json=long), 413, "allowed: 64")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 50_000, b"1" * 5000, b'"x"', b"null",
        b'{"model": 1e999}',
    ],
    ids=range(10),
)  # fmt: skip
def test_bodies_that_are_no_json(client: TestClient, body: bytes) -> None:
    for place in (CHAT, ASSESS):
        refused(client.post(place, content=body), 400)


def test_places_that_are_not_there(client: TestClient) -> None:
    for path in ("/", "/docs", "/openapi.json", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/files"):
        refused(client.get(path), 404, "docs/server.md")
    refused(client.get(CHAT), 405)
    refused(client.request("DELETE", "/health"), 405)


def test_the_key(serving: Callable, url: str) -> None:
    with serving(key="s3cret") as client:
        refused(client.post(CHAT, json=ask(url)), 401, "Bearer")
        refused(client.get("/v1/models", headers={"Authorization": "Bearer wrong"}), 401)
        refused(client.get("/metrics", headers={"Authorization": "Bearer s3crétü".encode()}), 401)
        assert client.get("/health").status_code == 200
        right = {"Authorization": "Bearer s3cret"}
        assert client.get("/v1/models", headers=right).status_code == 200
        assert client.post(CHAT, json=ask(url), headers=right).status_code == 200


def test_limits_of_size(serving: Callable, url: str) -> None:
    limits = {"body_bytes": 100_000, "pixels": 32_000, "regions": 2, "question": 30, "turns": 3, "new_tokens": 6}
    with serving({"limits": limits, "max_new_tokens": 4}) as client:
        long = ask(url, user="x" * 150_000)
        refused(client.post(CHAT, json=long), 413, "100,000")
        refused(client.post(CHAT, content=iter([b"x" * 60_000] * 3)), 413, "100,000")
        refused(client.post(CHAT, json=ask(data_url(np.zeros((161, 200, 3), np.uint8)))), 413, "above the limit")
        refused(client.post(CHAT, json=ask(url, regions=[{"box": [0, 0, 9, 9]}] * 3)), 413, "allowed: 2")
        refused(
            client.post(ASSESS, json={"image": url, "all_regions": True, "regions": [{"box": [0, 0, 9, 9]}] * 2}), 413
        )
        refused(client.post(CHAT, json=ask(url, "How is this region of mine, please?")), 413, "allowed: 30")
        refused(client.post(CHAT, json=ask(url, max_tokens=7)), 400, "1 to 6")
        assert client.post(CHAT, json=ask(url)).status_code == 200
    with serving({"limits": {"mask_pixels": 40_000}}) as client:
        refused(client.post(CHAT, json=ask(url, regions=[{"box": [0, 0, 9, 9]}] * 2)), 413, "masks")


def test_limits_of_time_and_number(serving: Callable, assessor: RememberingAssessor, url: str) -> None:
    """One request holds the model; a second waits in vain; a third finds no place."""
    holding, may_go = threading.Event(), threading.Event()
    encode = assessor.encode

    def held(*arguments: Any) -> Any:
        holding.set()
        may_go.wait(60)
        return encode(*arguments)

    body = {"image": url, "regions": [{"box": [1, 2, 33, 44]}]}
    with serving({"limits": {"seconds": 1.0, "waiting": 2, "waiting_pixels": 40_000, "pixels": 40_000}}) as client:
        assessor.encode = held  # type: ignore[method-assign, assignment]
        try:
            replies: list[Any] = []
            threads = [
                threading.Thread(target=lambda: replies.append(client.post(ASSESS, json=body))) for _ in range(1)
            ]
            threads[0].start()
            assert holding.wait(30)
            refused(client.post(CHAT, json=ask(url)), 429, "pixels")
            small = data_url(np.zeros((16, 16, 3), np.uint8))
            other = threading.Thread(
                target=lambda: replies.append(client.post(CHAT, json=ask(small, regions=[], stream=True)))
            )
            other.start()
            while "requests_at_work 2" not in client.get("/metrics").text and other.is_alive():
                time.sleep(0.01)
            third = client.post(CHAT, json=ask(small, regions=[]))
            for thread in (threads[0], other):
                thread.join()
            refused(replies[0], 504, "too long")
            refused(replies[1], 504, "too long")
            if third.status_code != 504:  # the others may have ended before it came
                refused(third, 429, "allowed: 2")
                assert third.headers["Retry-After"] == "1"
        finally:
            assessor.encode = encode  # type: ignore[method-assign]
            may_go.set()
        while "queue_length 0" not in client.get("/metrics").text:
            time.sleep(0.01)
        assert client.get("/health").status_code == 200


def test_a_fault_of_ours_is_a_500_and_the_next_request_is_answered(
    serving: Callable, assessor: RememberingAssessor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"image": url, "regions": [{"box": [3, 3, 33, 44]}]}
    with serving() as client:
        with monkeypatch.context() as patch:
            patch.setattr(assessor, "encode", lambda *arguments: 1 / 0)
            reply = client.post(ASSESS, json=body)
            refused(reply, 500)
            assert "division" not in reply.text
        assert client.post(ASSESS, json=body).status_code == 200


def test_a_model_that_cannot_be_loaded(serving: Callable, url: str) -> None:
    from seagull_tune.errors import CheckpointError

    def broken() -> RememberingAssessor:
        raise CheckpointError("no weights")

    with serving(load=broken) as client:
        assert client.get("/health").json()["status"] == "failed"
        refused(client.post(CHAT, json=ask(url)), 503, "could not be loaded")
