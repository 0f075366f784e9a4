"""A tiny model behind the server, in this process."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import skimage.data
from fastapi.testclient import TestClient
from PIL import Image

from seagull_tune.config.serve import ServeConfig
from seagull_tune.segment import build_segmenter
from seagull_tune.serve.app import create_app
from seagull_tune.serve.inputs import InputReader
from seagull_tune.serve.metrics import Metrics
from seagull_tune.serve.photographs import RememberingAssessor
from seagull_tune.serve.worker import ModelWorker
from tests.tiny import enliven, make_tiny_model

Serving = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def assessor() -> RememberingAssessor:
    model, processor = make_tiny_model()
    enliven(model)
    tokenizer = processor.tokenizer
    silent = [i for i in range(len(tokenizer)) if not tokenizer.decode([i], skip_special_tokens=True).strip()]
    model.generation_config.suppress_tokens = silent
    return RememberingAssessor(model, processor, "tiny@0")


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:160, 100:300])


@pytest.fixture(scope="session")
def url(image: np.ndarray) -> str:
    """The photograph of 200x160 pixels as a data URL."""
    return data_url(image)


def data_url(image: np.ndarray, kind: str = "PNG") -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="session")
def serving(assessor: RememberingAssessor) -> Serving:
    """``with serving({"limits": {"regions": 2}}) as client``: a server that is ready, with these settings."""

    @contextmanager
    def start(
        settings: dict[str, Any] | None = None,
        key: str | None = None,
        load: Callable[[], RememberingAssessor] = lambda: assessor,
        wait: bool = True,
    ) -> Iterator[TestClient]:
        config = ServeConfig.model_validate(settings or {})
        metrics = Metrics()
        worker = ModelWorker(load, config.batching, metrics)
        reader = InputReader(config.limits, build_segmenter(), config.batching.photograph_bytes)
        app = create_app(config, worker, reader, metrics, key)
        with TestClient(app, raise_server_exceptions=False) as client:
            while wait and worker.state == "loading":
                time.sleep(0.01)
            yield client

    return start


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[TestClient]:
    with serving() as client:
        yield client


def ask(url: str, text: str = "How is this region?", **more: Any) -> dict[str, Any]:
    """The body of a chat request about a box."""
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {
        "model": "seagull-tune", "messages": [{"role": "user", "content": content}], "max_tokens": 5,
        "regions": [{"name": "face", "box": [10, 20, 90, 120]}],
    } | more  # fmt: skip
