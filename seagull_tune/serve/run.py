"""The server from its start to its clean end."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from seagull_tune.config.serve import ServeConfig
from seagull_tune.errors import ConfigError
from seagull_tune.segment import build_segmenter
from seagull_tune.serve.app import create_app
from seagull_tune.serve.inputs import InputReader
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.photographs import RememberingAssessor
from seagull_tune.serve.worker import ModelWorker


def api_key_of(config: ServeConfig) -> str | None:
    """The key that requests must carry, from the environment.

    Raises:
        ConfigError: the variable that is named holds nothing.
    """
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"The environment variable {config.api_key_env} holds no key; set it, or leave --api-key-env out."
        )
    return key


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM: what is at work may end, then the model's thread ends.

    Args:
        config: what, where, and within which limits.
        say: receives notes for the person at the terminal.

    Raises:
        ConfigError: the address cannot be listened at, or the key is missing.
        CheckpointError: the model cannot be used.
    """
    key = api_key_of(config)
    listening = _listen(config.host, config.port)
    host, port = listening.getsockname()[:2]
    metrics = Metrics()
    chosen = config.segmenter
    reader = InputReader(
        config.limits, build_segmenter(chosen.method, chosen.min_area_share, chosen.max_regions, chosen.sam),
        config.batching.photograph_bytes,
    )  # fmt: skip
    worker = ModelWorker(lambda: _load(config), config.batching, metrics, on_failure=lambda: _end(server))
    app = create_app(config, worker, reader, metrics, key)
    patience = max(1, round(config.limits.shutdown_seconds))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", server_header=False, ws="none", timeout_graceful_shutdown=patience)
    )
    shown = f"[{host}]" if ":" in host else host
    say(f"Listening on http://{shown}:{port} (API at /v1, state at /health); Ctrl-C ends it.")
    if key is None and not is_local(config.host):
        say("Whoever reaches this address can use it: no API key is asked for (--api-key-env NAME).")
    with _ended_by_signals(), listening:
        server.run(sockets=[listening])
    if worker.error is not None:
        raise worker.error
    say("The server has ended.")


def _load(config: ServeConfig) -> RememberingAssessor:
    assessor = RememberingAssessor.from_pretrained(config.model, config.device, config.bf16, config.chunk)
    assert isinstance(assessor, RememberingAssessor)
    return assessor


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything is loaded."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen at {host}, port {port}: {error.strerror or error}. Choose another --port (0 takes a free "
            "one) or --host."
        ) from error


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more; here that is the end that was asked for, not a fault."""
    before = {kind: signal.signal(kind, lambda *_: None) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
