"""A real server in a process of its own: it starts, streams, notices who goes away, and ends cleanly."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seagull_tune.config.serve import ServeConfig
from seagull_tune.errors import ConfigError
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.serve.run import api_key_of, is_local
from tests.tiny import enliven, make_tiny_model
from tests.unit.serve.conftest import ask

WAIT = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that say visible words: others stream nothing until they end."""
    network, processor = make_tiny_model()
    folder = tmp_path_factory.mktemp("served") / "model"
    save_checkpoint(enliven(network), processor, folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it is ready."""
    command = [sys.executable, "-m", "seagull_tune.cli", "serve", "--model", str(model), "--port", "0"]
    more = ["--set", "limits.new_tokens=2000", "--device", "cpu"]
    process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://\S+:\d+", process.stderr.readline())
        assert found is not None
        address = found.group()
        _until(lambda: _status(f"{address}/health") == 200)
        yield process, address
    finally:
        process.kill()
        process.wait()


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=WAIT).status_code
    except httpx.ConnectError:
        return 0


def _until(holds: object, seconds: float = WAIT) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _count(address: str, name: str) -> float:
    text = httpx.get(f"{address}/metrics", timeout=WAIT).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def test_a_client_that_goes_away_stops_its_answer(server: tuple[subprocess.Popen[str], str], url: str) -> None:
    _, address = server
    body = ask(url, stream=True, max_tokens=900)
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=WAIT) as reply:
        assert reply.status_code == 200
        next(reply.iter_lines())
    _until(lambda: _count(address, "seagull_tune_requests_at_work") == 0)
    _until(lambda: _count(address, "seagull_tune_generated_tokens_total") > 0)
    assert _count(address, "seagull_tune_generated_tokens_total") < 900
    assert _count(address, 'seagull_tune_requests_total{route="/v1/chat/completions",status="499"}') == 1

    with pytest.raises(httpx.ReadTimeout):  # and one that does not wait for a whole answer
        httpx.post(f"{address}/v1/chat/completions", json=ask(url, max_tokens=900), timeout=0.3)
    _until(lambda: _count(address, "seagull_tune_requests_at_work") == 0)
    whole = httpx.post(f"{address}/v1/chat/completions", json=ask(url), timeout=WAIT)
    assert whole.status_code == 200


def test_what_is_too_large_is_said_although_it_is_still_being_sent(
    server: tuple[subprocess.Popen[str], str], url: str
) -> None:
    _, address = server
    reply = httpx.post(f"{address}/v1/assess", content=b"x" * (34 << 20), timeout=WAIT)
    assert reply.status_code == 413 and "body_too_large" in reply.text


def test_paths_do_not_leave_the_server(server: tuple[subprocess.Popen[str], str]) -> None:
    import http.client

    connection = http.client.HTTPConnection(server[1].removeprefix("http://"), timeout=WAIT)
    for path in ("/../../../etc/passwd", "/v1/../../etc/passwd", "/%2e%2e%2fetc%2fpasswd"):
        connection.request("GET", path)  # sent as it is: no client's own cleaning
        reply = connection.getresponse()
        assert reply.status == 404 and b"root:" not in reply.read()


def test_the_end_is_clean(server: tuple[subprocess.Popen[str], str], url: str) -> None:
    """Last in this file: it ends the server."""
    process, address = server
    body = ask(url, stream=True, max_tokens=6)
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=WAIT) as reply:
        lines = reply.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        assert [line for line in lines if line][-1] == "data: [DONE]", "what is at work may end"
    assert process.wait(WAIT) == 0
    assert process.stderr is not None
    rest = process.stderr.read()
    assert "has ended" in rest and "Traceback" not in rest


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAGULL_TEST_KEY", " k ")
    assert api_key_of(ServeConfig(api_key_env="SEAGULL_TEST_KEY")) == "k"
    assert api_key_of(ServeConfig()) is None
    monkeypatch.delenv("SEAGULL_TEST_KEY")
    with pytest.raises(ConfigError, match="SEAGULL_TEST_KEY"):
        api_key_of(ServeConfig(api_key_env="SEAGULL_TEST_KEY"))
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [True] * 3 + [
        False
    ] * 2
