"""Serving the page: what is missing or taken is said first, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from seagull_tune.config.web import WebConfig
from seagull_tune.errors import ConfigError, MissingDependencyError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.rsa.scorer import RsaScorer
from seagull_tune.web import server
from seagull_tune.web.desk import Desk
from tests.tiny import make_tiny_model
from tests.tiny_scorer import SPEC, make_tiny_scorer
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


def test_a_scorer_is_checked_before_anything_is_loaded(
    run: Callable, refused: Callable[..., str], tmp_path: Path
) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed (extra web)")
    model = tmp_path / "tuned" / "model"
    tiny, processor = make_tiny_model()
    save_checkpoint(tiny, processor, model)
    assert "not scored (--scorer DIR)" in run("web", "--model", model, "--dry-run").output
    assert "not a scorer" in refused("web", "--model", model, "--scorer", tmp_path / "none", "--dry-run")
    assert "--scorer DIR" in refused("web", "--model", model, "--describer", model, "--dry-run")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assessor = RegionAssessor.from_pretrained(model)
    scorer = make_tiny_scorer(SPEC.model_copy(update={"semantics": "numbers"}), [image, image[:50]], model)
    folder = tmp_path / "far" / "away" / "scorer"
    scorer.save_pretrained(folder)
    plan = ["web", "--model", model, "--scorer", folder, "--dry-run"]
    assert "described by the same model" in run(*plan).output
    assert "is gone" in refused(*plan, "--set", "bf16=true"), "rounded weights are another describer"
    assert f"described by {model}" in run(*plan, "--set", "bf16=true", "--describer", model).output
    shared = RsaScorer.from_pretrained(folder, device="cpu", assessor=assessor)
    assert shared.reader.describer is not None and shared.reader.describer.assessor.model is assessor.model
    assert shared.score([image]) == scorer.score([image])


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
        shown = httpx.get(page.url, timeout=60).text
        assert "Seagull-Tune" in shown and "started without a scorer" in shown
        large = httpx.post(f"{page.url}gradio_api/upload", files={"files": ("a.png", b"0" * 2_000_000)}, timeout=60)
        assert large.status_code == 413
        outside = httpx.get(f"{page.url}gradio_api/file=/etc/passwd", timeout=60)
        assert outside.status_code == 403
        with pytest.raises(ConfigError, match=str(port)):
            server.require_free("127.0.0.1", port)
    assert not uploads.exists()
    assert {name: os.environ.get(name) for name in before} == before
