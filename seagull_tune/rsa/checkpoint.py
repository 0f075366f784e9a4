"""A scorer on disk: what a folder holds, how it is written, how strictly it is read.

    rsa.safetensors   attention, head and standardising constants
    rsa.json          parts, scale of the scores, backbone and describer by content, facts of the training
    describer/        the tuned model, where the scorer carries it; otherwise rsa.json names it by its hash
    README.md         the card, in finished scorers

No place of one machine is named. The folder appears atomically.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seagull_tune import __version__
from seagull_tune.config.answer import SegmenterChoice
from seagull_tune.config.base import StrictModel
from seagull_tune.config.exchange import Scale
from seagull_tune.config.rsa import RsaSpec
from seagull_tune.errors import CheckpointError
from seagull_tune.files import atomic_folder, sha256_of
from seagull_tune.model.checkpoint import MANIFEST as CHECKPOINT_MANIFEST
from seagull_tune.model.checkpoint import copy_checkpoint, model_digest, writing
from seagull_tune.rsa.model import RsaModel

MANIFEST = "rsa.json"
WEIGHTS = "rsa.safetensors"
DESCRIBER_FOLDER = "describer"
FORMAT_VERSION = 2
_AGAIN = "Copy the whole folder again, or train again."


class DescriberRecord(StrictModel):
    """The describer a scorer was trained with.

    Attributes:
        digest: content hash of the tuned model; "" where the scorer reads nothing of it and only finds regions.
        bf16, segmenter, text: as in :class:`~seagull_tune.config.rsa.DescriberSettings`.
    """

    digest: str = ""
    bf16: bool = False
    segmenter: SegmenterChoice = SegmenterChoice()
    text: Literal["scores", "generated"] = "scores"


class ScorerManifest(StrictModel):
    """``rsa.json``.

    Attributes:
        version: of the format.
        spec: the scorer's parts.
        channels, semantics: sizes of what it reads.
        scale: range and direction of the scores.
        backbone: identity of the backbone whose features it was trained on.
        describer: who knows the regions.
        sha256: of the weights.
        training: what is known of the training, as plain values.
    """

    format: Literal["seagull-tune-scorer"] = "seagull-tune-scorer"
    version: int = FORMAT_VERSION
    written_by: str = __version__
    spec: RsaSpec
    channels: int
    semantics: int
    scale: Scale
    backbone: str
    describer: DescriberRecord = DescriberRecord()
    sha256: str = ""
    training: dict[str, Any] = pydantic.Field(default_factory=dict)


def save_scorer(folder: Path, model: RsaModel, manifest: ScorerManifest, describer: Path | None = None) -> None:
    """Writes a scorer, atomically.

    Args:
        folder: where to; an existing scorer there is replaced.
        model: its weights.
        manifest: what it is; the hash of the weights is filled in.
        describer: checkpoint that is copied into it; None names it by hash alone.

    Raises:
        CheckpointError: it cannot be written; what was there stays.
    """
    with writing(folder), atomic_folder(folder) as staging:
        write_scorer(staging, model, manifest)
        if describer is not None:
            copy_checkpoint(describer, staging / DESCRIBER_FOLDER)


def write_scorer(folder: Path, model: RsaModel, manifest: ScorerManifest) -> None:
    """Weights and manifest, into an existing folder."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    whole = manifest.model_copy(update={"sha256": sha256_of(folder / WEIGHTS)})
    (folder / MANIFEST).write_text(whole.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> ScorerManifest:
    """What a scorer is.

    Raises:
        CheckpointError: the folder is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = f"there is no {MANIFEST} in it" if folder.is_dir() else "there is no such folder"
        kind = " It is a region model; it is asked with `seagull-tune assess`." if _is_region_model(folder) else ""
        raise CheckpointError(
            f"{folder} is not a scorer: {what}.{kind} Train one: accelerate launch scripts/train_rsa.py --config FILE"
        )
    try:
        manifest = ScorerManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, pydantic.ValidationError) as error:
        raise CheckpointError(f"{path} is damaged ({str(error).splitlines()[0]}). {_AGAIN}") from error
    if manifest.version != FORMAT_VERSION:
        raise CheckpointError(f"{path} is of format {manifest.version}; this program reads {FORMAT_VERSION}.")
    return manifest


def _is_region_model(folder: Path) -> bool:
    return (folder / CHECKPOINT_MANIFEST).is_file()


def load_weights(model: RsaModel, folder: Path) -> None:
    """Puts a scorer's weights into ``model``, in place and strictly.

    Raises:
        CheckpointError: they are damaged, or of other parts.
    """
    path, manifest = folder / WEIGHTS, read_manifest(folder)
    try:
        if sha256_of(path) != manifest.sha256:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}. {_AGAIN}")
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {_AGAIN}") from error
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors are missing, unknown or of another shape ({wrong[0]}, ...). {_AGAIN}"
        )
    model.load_state_dict(state)


def find_describer(folder: Path, digest: str, given: Path | None = None) -> Path:
    """The checkpoint that a scorer's describer speaks for, found by its hash.

    Args:
        folder: of the scorer. Its own ``describer``, then ``*/model`` beside its run, then ``runs/*/model`` here.
        digest: content hash of the model.
        given: a checkpoint that the user names; only that one is looked at.

    Raises:
        CheckpointError: it is not there, or the given one is another model.
    """
    if given is not None:
        found = model_digest(given)
        if found != digest:
            raise CheckpointError(
                f"{given} is the model {found}, and the scorer {folder} was trained with the describer {digest}. Name "
                "that one, or train a scorer with this one."
            )
        return given
    for place in _places(folder):
        try:
            if model_digest(place) == digest:
                return place
        except CheckpointError:
            continue  # a damaged neighbour is none of ours
    raise CheckpointError(
        f"The describer of the scorer {folder}, a tuned model with the hash {digest}, is gone: it is neither in the "
        f"scorer's folder, nor beside its run, nor in runs/ here. Name its folder (--describer DIR, or describer=...); "
        "another model has another hash and cannot stand in."
    )


def _places(folder: Path) -> Iterator[Path]:
    resolved = folder.resolve()
    candidates = [resolved / DESCRIBER_FOLDER, *sorted(resolved.parent.parent.glob("*/model"))]
    candidates += sorted(Path("runs").glob("*/model"))
    yield from (place for place in candidates if _is_region_model(place))
