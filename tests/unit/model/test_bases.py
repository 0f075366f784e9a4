"""References of bases: what they are pinned to, with the cache of the model hub but without the hub."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants as hub
import pytest

from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.model import bases

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the hub's client keeps of one repository whose branch ``main`` was at :data:`COMMIT`."""
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--some--model"
    (kept / "snapshots" / COMMIT).mkdir(parents=True)
    (kept / "snapshots" / COMMIT / "config.json").write_text("{}")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    return kept / "snapshots" / COMMIT


def test_a_branch_is_pinned_to_its_commit(cache: Path) -> None:
    assert bases.pin("hub:some/model@main") == f"hub:some/model@{COMMIT}"


def test_a_commit_is_a_pin_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "hf_hub_download", lambda *_, **__: pytest.fail("nothing is to be asked"))
    assert bases.pin(f"hub:some/model@{COMMIT}") == f"hub:some/model@{COMMIT}"


@pytest.mark.parametrize("reference", ["words", "file:/tmp/words", "embedded:", "hub:some/model", "/tmp/words"])
def test_references_that_cannot_be_used(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"reference|revision"):
        bases.pin(reference)


@pytest.mark.usefixtures("cache")
def test_a_hub_that_does_not_answer_is_one_sentence() -> None:
    for reference in ("hub:some/model@v2", "hub:other/model@main", "hub:no name@main"):
        for ask in (bases.pin, bases.fetch, bases.load_text_config, bases.load_tokenizer, bases.load_language_model):
            with pytest.raises(CheckpointError, match=rf"{reference} cannot be read: .*Check its name") as caught:
                ask(reference)
            assert "\n" not in str(caught.value)


def test_a_repository_is_found_by_its_commit(cache: Path) -> None:
    assert bases.fetch("hub:some/model@main") == cache
    assert bases.fetch(f"hub:some/model@{COMMIT}", ask_hub=False) == cache
    with pytest.raises(ConfigError, match="hub:ID@REVISION"):
        bases.fetch("hub:some/model")
