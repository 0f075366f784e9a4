"""A tiny scorer of whole images for tests, with random weights that say something else of every picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from seagull_tune.config.answer import SegmenterChoice
from seagull_tune.config.exchange import Scale
from seagull_tune.config.rsa import BackboneSettings, DescriberSettings, RsaSpec
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.rsa.checkpoint import DescriberRecord
from seagull_tune.rsa.inputs import to_batch
from seagull_tune.rsa.model import RsaModel
from seagull_tune.rsa.scorer import RsaScorer, make_reader
from tests.tiny import TOWER

SCALE = Scale(low=1.0, high=5.0, higher_is_better=True)
CHOICE = SegmenterChoice(max_regions=5)
SPEC = RsaSpec(
    backbone=BackboneSettings(name=TOWER, weights=None, max_side=96), semantics="none", width=16, heads=2
)  # fmt: skip


def make_tiny_scorer(
    spec: RsaSpec,
    images: Sequence[np.ndarray],
    tuned: Path | None = None,
    scale: Scale = SCALE,
    assessor: RegionAssessor | None = None,
) -> RsaScorer:
    """A scorer whose constants are measured on ``images``.

    Where ``spec`` reads semantics, ``tuned`` is a checkpoint, or ``assessor`` a model that is loaded.
    """
    settings = DescriberSettings(model=str(tuned or ""), segmenter=CHOICE)
    reader = make_reader(spec, settings, assessor=assessor)
    torch.manual_seed(1)
    model = RsaModel(spec, reader.extractor.channels, reader.width)
    model.measure([to_batch([reader(image)]) for image in images], 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        if model.attention is not None:
            model.attention.looking.fill_(1.0)
            model.attention.weighing.fill_(1.0)
    digest = model_digest(tuned) if tuned is not None else ""
    return RsaScorer(model, reader, scale, DescriberRecord(digest=digest, segmenter=CHOICE))
