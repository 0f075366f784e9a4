"""Serving the page: what is missing or taken is said first, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from seagull_tune.config.web import WebConfig
from seagull_tune.errors import ConfigError, MissingDependencyError
from seagull_tune.web import server
from seagull_tune.web.desk import Desk
from tests.unit.cli.conftest import refused, run

__all__ = ["refused", "run"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_missing_gradio_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"seagull-tune\[web\]"):
        server.require_gradio()


def test_a_taken_port_and_a_foreign_host_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*--port"):
            server.require_free("127.0.0.1", port)
    server.require_free("127.0.0.1", port)
    with pytest.raises(ConfigError, match="--host"):
        server.require_free("203.0.113.7", port)  # an address of documents, no machine's (RFC 5737)


def test_the_page_is_private_until_told_otherwise() -> None:
    assert WebConfig().host == "127.0.0.1"
    with pytest.raises(ValidationError, match="port"):
        WebConfig(port=0)


def test_the_command_checks_first(refused: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (extra web)")
    assert "no model folder" in refused("web", "--model", tmp_path / "none")
    assert "port" in refused("web", "--port", 99999, "--dry-run")


def test_the_command_is_loaded_without_gradio(run: Callable) -> None:
    assert run("web", "--help").exit_code == 0
    assert "seagull_tune.web.app" not in sys.modules or "gradio" in sys.modules


def test_a_page_comes_and_goes(desk: Desk) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (extra web)")
    import httpx

    before = {name: os.environ.get(name) for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED")}
    port = free_port()
    with server.serving(desk, WebConfig(port=port, max_upload_mb=1)) as page:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        assert uploads.is_dir() and page.url == f"http://127.0.0.1:{port}/"
        assert "Seagull-Tune" in httpx.get(page.url, timeout=60).text
        large = httpx.post(f"{page.url}gradio_api/upload", files={"files": ("a.png", b"0" * 2_000_000)}, timeout=60)
        assert large.status_code == 413
        outside = httpx.get(f"{page.url}gradio_api/file=/etc/passwd", timeout=60)
        assert outside.status_code == 403
        with pytest.raises(ConfigError, match=str(port)):
            server.require_free("127.0.0.1", port)
    assert not uploads.exists()
    assert {name: os.environ.get(name) for name in before} == before
