"""What a model was trained on, as its checkpoint remembers it: photographs, by hashes of their content.

Photographs that a model knows can neither calibrate nor test it. Copies of other bytes (shrunk, encoded again) are not
recognised: `seagull-tune validate` finds near copies inside one data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.model.checkpoint import read_manifest

PHOTOGRAPHS = "photographs"
"""Key of the training's facts in a manifest: sorted hashes (see ``RoiDataset.photographs``); None: not known."""
_SHOWN = 5


def photographs_after(rows: RoiDataset, init: Path | None) -> list[str] | None:
    """The photographs that a training's result will know: its own, and those of the rounds before.

    Args:
        rows: what it trains on.
        init: the checkpoint that it starts from; None is a new model.

    Returns:
        Sorted hashes; None where those of an earlier round are not known.

    Raises:
        CheckpointError: ``init`` is no checkpoint.
    """
    own = set(rows.photographs)
    if init is None:
        return sorted(own)
    before = _recorded(read_manifest(init).get("training") or {})
    return None if before is None else sorted(own | before)


def check_unseen(folder: Path, dataset: RoiDataset) -> bool:
    """Refuses a data set with photographs that a model was trained on.

    Args:
        folder: the model's checkpoint.
        dataset: what it is to be calibrated or measured on: the photographs of its split count.

    Returns:
        Whether it is known that the model never saw them. False: the checkpoint does not say what it was trained on
        (it comes from elsewhere, or from an earlier version).

    Raises:
        DataError: photographs are known to the model, or are in two splits of the data set.
        CheckpointError: no checkpoint.
    """
    dataset.refuse_leaks()
    training = read_manifest(folder).get("training") or {}
    known = _recorded(training)
    if known is None:
        # Splits of one data set share no photograph, and only `train` is ever trained on.
        own = dataset.manifest.get("config_hash")
        return own is not None and dataset.split not in (None, "train") and _data_sets(training) == {own}
    found = [name for name, digest in dataset.photograph_of.items() if digest in known]
    if found:
        named = ", ".join(map(repr, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        raise DataError(
            f"{folder} was trained on {len(found)} of the {len(dataset.photograph_of)} images of {dataset.folder}, "
            f"split {dataset.split!r}: {named}. What it knows can neither calibrate nor test it. Take photographs that "
            "were kept out of all its trainings."
        )
    return True


def _recorded(training: Mapping[str, Any]) -> frozenset[str] | None:
    found = training.get("data", {}).get(PHOTOGRAPHS)
    return frozenset(map(str, found)) if isinstance(found, list) else None


def _data_sets(training: Mapping[str, Any]) -> set[str | None]:
    """Configuration hashes of the data sets of all rounds; None among them where one is not known."""
    return {
        training.get("data", {}).get("config_hash"), *(earlier.get("data") for earlier in training.get("earlier", []))
    }  # fmt: skip
