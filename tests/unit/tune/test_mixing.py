from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError
from seagull_tune.model.projector import DirectLogits
from seagull_tune.tune.losses import direct_losses
from seagull_tune.tune.mixing import MIXED_FIELDS, PARTNER, SHARE, mixed_losses, mixing


def _batch(n: int = 6) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    statistics = {name: torch.rand(n, 3, generator=generator) for name in (*MIXED_FIELDS, "grid")}
    levels = torch.softmax(torch.randn(n, 5, generator=generator), dim=1)
    return {
        "statistics": statistics,
        "quality_target": levels,
        "importance_target": levels.flip(0),
        "severity_target": torch.randint(0, 6, (n, 8), generator=generator),
    }


def test_regions_are_mixed_with_their_partners_by_one_share() -> None:
    batch = _batch()
    torch.manual_seed(1)
    mixed = mixing(0.5)(batch)
    partner, share = mixed[PARTNER], float(mixed[SHARE])
    assert sorted(partner.tolist()) == list(range(6)) and 0.5 <= share <= 1.0
    for name in MIXED_FIELDS:
        before = batch["statistics"][name]
        expected = share * before + (1 - share) * before[partner]
        torch.testing.assert_close(mixed["statistics"][name], expected)
    assert mixed["statistics"]["grid"] is batch["statistics"]["grid"], "whole pictures stay"
    assert PARTNER not in batch, "the batch itself stays"


def test_losses_are_shared_between_both_targets() -> None:
    batch = {name: value for name, value in _batch().items() if name != "statistics"}
    generator = torch.Generator().manual_seed(2)
    logits = DirectLogits(*(torch.randn(6, *shape, generator=generator) for shape in ((5,), (5,), (8, 6))))
    losses = partial(direct_losses, logits)
    plain = mixed_losses(losses, batch)
    partner = torch.tensor([5, 4, 3, 2, 1, 0])
    mixed = mixed_losses(losses, {**batch, PARTNER: partner, SHARE: torch.tensor(0.75)})
    other = losses({name: value[partner] for name, value in batch.items()})
    for name, value in losses(batch).items():
        assert float(plain[name]) == float(value)
        assert float(mixed[name]) == pytest.approx(0.75 * float(value) + 0.25 * float(other[name]), abs=1e-6)


def test_mixing_is_refused_where_text_is_read() -> None:
    values = {"out": "a", "data": "b", "losses": {"level": 1.0}, "optimisation": {"mixup": 0.5}}
    with pytest.raises((ConfigError, ValueError), match=r"mixup is 0\.5"):
        TrainConfig.model_validate(values)
