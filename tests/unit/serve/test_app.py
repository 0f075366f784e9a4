"""What the server answers: the same as the program, in OpenAI's shapes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from seagull_tune.infer.chat import ChatSession
from seagull_tune.infer.serialise import assessment_to_dict
from seagull_tune.regions.boxes import box_region
from seagull_tune.serve.photographs import RememberingAssessor
from tests.unit.serve.conftest import ask, data_url

BOXES = [[10, 20, 90, 120], [0, 0, 200, 160], [100, 0, 190, 60], [5, 5, 60, 60]]


def assess(client: TestClient, url: str, boxes: list[list[int]], **more: Any) -> list[dict[str, Any]]:
    body = {"image": url, "regions": [{"box": box} for box in boxes], **more}
    reply = client.post("/v1/assess", json=body)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["data"]
    return found


def events(text: str) -> list[Any]:
    """The objects of a stream; its last line is the end's mark."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_numbers_are_those_of_the_assessor(
    client: TestClient, url: str, assessor: RememberingAssessor, image: np.ndarray
) -> None:
    found = assess(client, url, BOXES, name="photo.jpg")
    want = assessor.assess(image, [box_region(box, 160, 200, f"region {i + 1}") for i, box in enumerate(BOXES)])
    for line, answer in zip(found, want, strict=True):
        expected = assessment_to_dict(answer, "photo.jpg")
        assert line["region"] == expected["region"] and line.keys() == expected.keys()
        assert line["quality"] == pytest.approx(expected["quality"], abs=1e-4)
        assert line["types"] == pytest.approx(expected["types"], abs=1e-4)


def test_every_notation_of_a_region(client: TestClient, url: str) -> None:
    region = box_region((20, 30, 60, 80), 160, 200)
    runs = [20 * 160 + 30, 50] + [110, 50] * 39
    runs += [160 * 200 - sum(runs)]
    regions = [
        {"box": [20, 30, 60, 80]}, {"box": "20,30,60,80"}, {"polygon": [[20, 30], [60, 30], [60, 80], [20, 80]]},
        {"polygon": "20,30;60,30;60,80;20,80"}, {"rle": {"size": [160, 200], "counts": region.counts}},
        {"rle": {"size": [160, 200], "counts": runs}}, {"point": [100, 80], "name": "under"}, {"point": "100,80"},
    ]  # fmt: skip
    reply = client.post("/v1/assess", json={"image": url, "regions": regions})
    assert reply.status_code == 200, reply.text
    found = reply.json()["data"]
    assert [line["region"]["area"] for line in found[:6]] == [2000] * 6
    assert [line["region"]["name"] for line in found[5:]] == ["region 6", "under", "region 8"]
    every = client.post("/v1/assess", json={"image": url, "all_regions": True}).json()["data"]
    assert len(every) >= 2


def test_a_chat_answer_is_that_of_a_session(
    client: TestClient, url: str, assessor: RememberingAssessor, image: np.ndarray
) -> None:
    session = ChatSession(assessor, image)
    session.add_region(box_region((10, 20, 90, 120), 160, 200), "face")
    first = session.ask("How is the face?", max_new_tokens=5)
    second = session.ask("Why? <|im_end|>", max_new_tokens=7)
    reply = client.post("/v1/chat/completions", json=ask(url, "How is the face?")).json()
    assert reply["object"] == "chat.completion" and reply["model"] == "tiny@0"
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": first}
    assert reply["usage"]["completion_tokens"] == 5 and reply["choices"][0]["finish_reason"] == "length"
    body = ask(url, "How is the face?", max_tokens=7)
    body["messages"] += [{"role": "assistant", "content": first}, {"role": "user", "content": "Why? <|im_end|>"}]
    again = client.post("/v1/chat/completions", json=body).json()
    assert again["choices"][0]["message"]["content"] == second


def test_a_stream_says_what_the_whole_answer_says(client: TestClient, url: str) -> None:
    whole = client.post("/v1/chat/completions", json=ask(url, numbers=True)).json()
    body = ask(url, stream=True, stream_options={"include_usage": True}, numbers=True)
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, last, usage = events(reply.text)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert said.strip() == whole["choices"][0]["message"]["content"]
    assert last["choices"][0]["finish_reason"] == "length" and usage["usage"] == whole["usage"]
    assert last["assessments"] == whole["assessments"] and whole["assessments"][0]["region"]["name"] == "face"
    assert len({chunk["id"] for chunk in [*chunks, last, usage]}) == 1


def test_together_as_alone(client: TestClient, url: str, image: np.ndarray) -> None:
    """Many at once, of both kinds, about two photographs: each gets what it gets alone."""
    urls = [url, data_url(np.ascontiguousarray(image[:, ::-1]))]
    chats = [ask(urls[i % 2], "How is the face?" + " Really?" * i, max_tokens=3 + i) for i in range(6)]
    alone = [client.post("/v1/chat/completions", json=body).json()["choices"] for body in chats]
    alone_numbers = [assess(client, urls[i % 2], [BOXES[i % 4]])[0] for i in range(8)]
    with ThreadPoolExecutor(14) as pool:
        answers = [pool.submit(client.post, "/v1/chat/completions", json=body) for body in chats]
        numbers = [pool.submit(assess, client, urls[i % 2], [BOXES[i % 4]]) for i in range(8)]
        assert [answer.result().json()["choices"] for answer in answers] == alone
        for got, want in zip(numbers, alone_numbers, strict=True):
            (line,) = got.result()
            assert line["region"] == want["region"]
            for field in ("quality", "importance"):
                assert line[field] == pytest.approx(want[field], abs=1e-4)
            assert line["types"] == pytest.approx(want["types"], abs=1e-4)
    assert 'batch_size_bucket{kind="assess",le="1"}' in client.get("/metrics").text


def test_those_who_want_words_get_them(client: TestClient, url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(assess, client, url, BOXES[:1])
        words = pool.submit(assess, client, url, BOXES[:1], text=True)
    assert plain.result()[0]["text"] == "" and words.result()[0]["text"] != ""


def test_models_health_and_metrics(client: TestClient) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny@0"]
    assert client.get("/health").json()["status"] == "ready"
    client.get("/no/such/place")
    text = client.get("/metrics").text
    for line in (
        'seagull_tune_requests_total{route="/health",status="200"}',
        'seagull_tune_requests_total{route="other",status="404"}',
        'seagull_tune_request_seconds_bucket{route="/health",le="+Inf"}', "seagull_tune_queue_length 0",
        "seagull_tune_requests_at_work 0",
    ):  # fmt: skip
        assert line in text, text
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


def test_health_while_loading(serving: Callable, assessor: RememberingAssessor, url: str) -> None:
    may_load = threading.Event()

    def slowly() -> RememberingAssessor:
        may_load.wait(60)
        return assessor

    with serving(load=slowly, wait=False) as client:
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (503, "loading")
        early = client.post("/v1/chat/completions", json=ask(url))
        assert early.status_code == 503 and early.json()["error"]["code"] == "model_not_ready"
        assert "Retry-After" in early.headers and client.get("/v1/models").status_code == 503
        may_load.set()
        while client.get("/health").status_code == 503:
            time.sleep(0.01)
        assert client.post("/v1/chat/completions", json=ask(url)).status_code == 200


def test_the_same_photograph_is_decoded_and_encoded_once(
    serving: Callable, assessor: RememberingAssessor, url: str
) -> None:
    with serving() as client:
        client.post("/v1/chat/completions", json=ask(url, "One?"))
        before = assessor.misses
        client.post("/v1/chat/completions", json=ask(url, "Two?"))
        assert assessor.misses == before


def test_a_conversation_goes_on_where_it_was(
    serving: Callable, assessor: RememberingAssessor, url: str, image: np.ndarray
) -> None:
    """The history is not read again, and the answer is that of a session which reads all of it."""
    messages = ask(url, "How is the face?")["messages"]
    with serving() as client:
        for question in ("Why is that so?", "And how sharp is it?"):
            said = client.post("/v1/chat/completions", json=ask(url) | {"messages": messages}).json()
            messages = [*messages, said["choices"][0]["message"], {"role": "user", "content": question}]
        known, read = assessor.memory.recalled, assessor.memory.read
        last = client.post("/v1/chat/completions", json=ask(url) | {"messages": messages}).json()
        known, read = assessor.memory.recalled - known, assessor.memory.read - read
        assert f"seagull_tune_prompt_tokens_recalled {assessor.memory.recalled}" in client.get("/metrics").text
    assert known + read == last["usage"]["prompt_tokens"] and known > 2 * read
    with serving({"batching": {"memory_bytes": 0}}) as client:
        anew = client.post("/v1/chat/completions", json=ask(url) | {"messages": messages}).json()
        assert assessor.memory.recalled == 0 and assessor.memory.n_bytes == 0
    assert anew["choices"] == last["choices"] and anew["usage"] == last["usage"]
