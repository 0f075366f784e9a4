"""A data set in the layout of SEAGULL-100w, and a short way to import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_builders.exporters import export_dataset
from data_builders.importers import ImportSummary, import_dataset
from seagull_tune.config.exchange import ExportConfig, ImportConfig


@pytest.fixture
def bring() -> Callable[..., ImportSummary]:
    """Imports: ``bring(out, format="mos", ...)``."""

    def call(out: Path, **settings: Any) -> ImportSummary:
        return import_dataset(ImportConfig.model_validate(settings), out, show_progress=False)

    return call


@pytest.fixture(scope="session")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set in the layout of SEAGULL-100w."""
    out = tmp_path_factory.mktemp("exported") / "100w"
    export_dataset(dataset, out, ExportConfig(format="seagull"), show_progress=False)
    return out
