"""The model card: a README.md inside a finished checkpoint, with the YAML header that the Hub reads.

Everything in it comes from the checkpoint itself, and from a ``metrics.json`` of this very model beside its folder, so
a copied folder keeps its card. No path of the machine is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from seagull_tune.embedded import EMBEDDED
from seagull_tune.errors import CheckpointError
from seagull_tune.files import atomic_write_text
from seagull_tune.hub_card import CARD, data_set_name, front_matter, hub_licence
from seagull_tune.model.bases import split_reference
from seagull_tune.model.calibration import CALIBRATION, Calibration, load_calibration
from seagull_tune.model.card_sections import body
from seagull_tune.model.checkpoint import CALIBRATED, model_digest, read_bases, read_manifest, writing
from seagull_tune.model.places import near

METRICS = "metrics.json"
_FIGURES = (
    ("quality", "srcc", "spearmanr", "Quality, Spearman's rank correlation"),
    ("quality", "plcc", "pearsonr", "Quality, Pearson's correlation"),
    ("importance", "srcc", "spearmanr", "Importance, Spearman's rank correlation"),
    ("importance", "plcc", "pearsonr", "Importance, Pearson's correlation"),
    ("types", "macro_f1", "f1", "Distortion types, macro F1"),
    ("severity", "f1", "f1", "Severities, macro F1 over 0 to 5"),
)
"""Section and key of ``metrics.json``, the Hub's name of the kind of figure, ours."""
_NON_COMMERCIAL_LABELS = ("pyiqa",)


class _Known(BaseModel):
    """A part of ``metrics.json`` that a card shows; what else is in it does not matter here."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Figure(_Known):
    srcc: float | None = None
    plcc: float | None = None
    macro_f1: float | None = None
    f1: float | dict[str, Any] | None = None
    ci95: tuple[float, float] | None = None


class _Reader(_Known):
    quality: _Figure | None = None
    importance: _Figure | None = None
    types: _Figure | None = None
    severity: _Figure | None = None


class Measured(_Reader):
    """What a card needs of ``metrics.json``; any figure may be undefined."""

    direct: _Reader | None = None
    baselines: dict[str, _Reader] = {}
    n_regions: int
    n_samples: int
    n_photographs: int


class Fitted(_Known):
    """What a card needs of the facts of a calibration."""

    n_regions: int
    n_photographs: int
    folds: int
    split: str
    unseen: bool = False
    precision: str
    before: dict[str, dict[str, float | None]]
    after: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Base:
    """A pre-trained part that the model comes from.

    Attributes:
        part: ``language_model`` or ``vision_tower``.
        reference: ``embedded:NAME@sha256`` or ``hub:ID@revision``.
        name, version: its parts.
        licence: as far as the project knows it.
        hub_id: the model of the Hub that it is, if it is one.
        inside: whether its weights, changed or not, lie in this folder.
    """

    part: str
    reference: str
    name: str
    version: str
    licence: str | None
    hub_id: str | None
    inside: bool


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        digest: of the weights.
        manifest: the checkpoint's.
        training: what is known of its training; empty where nothing is.
        bases: what it comes from.
        metrics: figures of this very model, if it was measured.
        calibration: how its scores are calibrated, if they are.
        data_card: relative link to the card of its training data, where that lies near.
    """

    digest: str
    manifest: Mapping[str, Any]
    training: Mapping[str, Any]
    bases: tuple[Base, ...]
    metrics: Mapping[str, Any] | None
    calibration: Calibration | None
    data_card: str | None


def write_card(folder: Path) -> Path:
    """Writes (or refreshes) the card of a checkpoint; the same checkpoint and figures always give the same card.

    Args:
        folder: the checkpoint; ``metrics.json`` beside it is read if it is of this model.

    Returns:
        The card.

    Raises:
        CheckpointError: no checkpoint, a damaged ``metrics.json`` or ``calibration.json``, or the card cannot be
            written.
    """
    folder = Path(folder)
    facts = _facts(folder)
    with writing(folder / CARD):
        atomic_write_text(folder / CARD, front_matter(header(facts)) + body(facts))
    return folder / CARD


def origins(folder: Path) -> dict[str, str]:
    """Part -> the base that it comes from, also where its weights were trained in full or merged since."""
    training = read_manifest(folder).get("training") or {}
    return {**training.get("derived_from", {}), **read_bases(folder)}


def _facts(folder: Path) -> CardFacts:
    manifest = read_manifest(folder)
    named = read_bases(folder)
    bases = tuple(_base(part, reference, part not in named) for part, reference in sorted(origins(folder).items()))
    return CardFacts(
        digest=model_digest(folder),
        manifest=manifest,
        training=manifest.get("training") or {},
        bases=bases,
        metrics=_metrics_of(folder),
        calibration=_calibration_of(folder),
        data_card=_data_card(folder, manifest),
    )


def _base(part: str, reference: str, inside: bool) -> Base:
    kind, name, version = split_reference(reference)
    known = EMBEDDED.get(name) if kind == "embedded" else None
    hub_id = known.hub_id if known is not None else name if kind == "hub" else None
    return Base(part, reference, name, version, known.licence if known is not None else None, hub_id, inside)


def _metrics_of(folder: Path) -> dict[str, Any] | None:
    """The figures beside a model, if they are of this one: another may have been measured there before."""
    path = folder.resolve().parent / METRICS
    if not path.is_file():
        return None
    try:
        metrics = dict(json.loads(path.read_text(encoding="utf-8")))
        measured = str(metrics.get("model_id", "")).rpartition("@")[2].partition(CALIBRATED)[0]
        if measured != model_digest(folder):
            return None
        Measured.model_validate(metrics)
    except (OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{path} is damaged ({said}). Remove it and measure again.") from error
    return metrics


def _calibration_of(folder: Path) -> Calibration | None:
    """The calibration of a checkpoint; its facts are for people, and read by nobody else."""
    found = load_calibration(folder)
    try:
        if found is not None and "before" in found.facts:
            Fitted.model_validate(found.facts)
    except ValueError as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{folder / CALIBRATION} is damaged ({said}). Remove it, or calibrate again.") from error
    return found


def _data_card(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """Link from a model to the card of its data, inside the same run: further away it would tell of this machine."""
    place = (manifest.get("resolved_config") or {}).get("data")
    if not isinstance(place, str) or not (folder / place / CARD).is_file():
        return None
    return near(folder / place / CARD, folder)


def header(facts: CardFacts) -> dict[str, Any]:
    """The YAML header, as the Hub's documentation of model cards describes it."""
    data = facts.training.get("data", {})
    found: dict[str, Any] = {
        "license": _licence(facts),
        "language": ["en"],
        "library_name": "seagull-tune",
        "pipeline_tag": "image-text-to-text",
        "tags": ["image-quality-assessment", "region-of-interest", "vision-language-model", "seagull-tune"],
    }
    on_hub = [base.hub_id for base in facts.bases if base.hub_id is not None]
    if facts.manifest["adapter"]:
        found["tags"].append("lora")
    if on_hub:
        found["base_model"] = on_hub
        found["base_model_relation"] = "adapter" if facts.manifest["adapter"] else "finetune"
    if data.get("config_hash"):
        found["datasets"] = [_slug(data["config_hash"])]
    if facts.metrics is not None:
        found["model-index"] = [_model_index(facts.digest, facts.metrics)]
    return found


def _licence(facts: CardFacts) -> str:
    """That of the bases; ``other`` where one is not known, or where labels were made by non-commercial means."""
    known = [base.licence for base in facts.bases if base.licence is not None]
    parts = {base.part for base in facts.bases}
    whole = len(known) == len(facts.bases) and parts >= {"language_model", "vision_tower"}
    if not whole or facts.training.get("data", {}).get("label_method") in _NON_COMMERCIAL_LABELS:
        return "other"
    return hub_licence(known)


def _slug(config_hash: str) -> str:
    return data_set_name(config_hash).lower().replace(" ", "-")


def _model_index(digest: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    figures = [
        {"type": kind, "name": name, "value": metrics[section][key]}
        for section, key, kind, name in _FIGURES
        if (metrics.get(section) or {}).get(key) is not None
    ]
    data = str(metrics.get("data_config_hash") or "unknown")
    result = {
        "task": {"type": "image-text-to-text", "name": "Image quality of regions"},
        "dataset": {"type": _slug(data), "name": data_set_name(data), "split": metrics.get("split") or "test"},
        "metrics": figures,
    }
    return {"name": f"seagull-tune-{digest}", "results": [result]}
