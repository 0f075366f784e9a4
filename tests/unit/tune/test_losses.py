"""Losses against hand computation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from seagull_tune.data.collate import IGNORE, SLOT_KINDS
from seagull_tune.levels import soft_levels
from seagull_tune.model.projector import DirectLogits
from seagull_tune.tune.losses import (
    answer_loss,
    direct_losses,
    ranking_loss,
    slot_loss,
    soft_cross_entropy,
    taught_targets,
    types_loss,
)


def _log_softmax(row: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in row))
    return [value - total for value in row]


def test_soft_cross_entropy_by_hand() -> None:
    logits = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [4.0, 4.0, 4.0]]
    targets = [[0.25, 0.75, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    first, third = _log_softmax(logits[0]), _log_softmax(logits[2])
    expected = (-(0.25 * first[0] + 0.75 * first[1]) - third[2]) / 2  # the row without mass does not count
    assert float(soft_cross_entropy(torch.tensor(logits), torch.tensor(targets))) == pytest.approx(expected, abs=1e-6)


def test_soft_cross_entropy_of_hard_targets_is_cross_entropy() -> None:
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    hard = torch.nn.functional.one_hot(classes, 5).float()
    torch.testing.assert_close(soft_cross_entropy(logits, hard), torch.nn.functional.cross_entropy(logits, classes))


def test_soft_cross_entropy_without_any_target_is_zero_with_a_gradient() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    loss = soft_cross_entropy(logits, torch.zeros(3, 5))
    loss.backward()
    assert float(loss) == 0 and logits.grad is not None and bool((logits.grad == 0).all())


def test_answer_loss_leaves_value_slots_out() -> None:
    logits = torch.tensor([[1.0, 2.0], [5.0, -5.0], [0.0, 1.0]])
    expected = -(_log_softmax([1.0, 2.0])[1] + _log_softmax([0.0, 1.0])[0]) / 2
    assert float(answer_loss(logits, torch.tensor([1, IGNORE, 0]))) == pytest.approx(expected, abs=1e-6)
    assert float(answer_loss(logits, torch.tensor([IGNORE] * 3))) == 0


def _slots() -> dict[str, torch.Tensor]:
    return {
        "slot_rows": torch.tensor([2, 0]),
        "slot_kinds": torch.tensor([SLOT_KINDS.index("quality"), SLOT_KINDS.index("severity")]),
        "slot_candidates": torch.tensor([[3, 0, -1], [1, 2, 4]]),
        "slot_targets": torch.tensor([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0]]),
    }


LOGITS = [[0.1, 0.2, 0.3, 0.4, 0.5], [9.0, 9.0, 9.0, 9.0, 0.0], [1.0, -1.0, 0.5, 2.0, 0.0]]


@pytest.mark.parametrize("severity", [1.0, 0.25, 0.0])
def test_slot_loss_by_hand(severity: float) -> None:
    """Over the whole vocabulary, so that mass also moves to the value words; a weighted mean over kinds."""
    quality_row, severity_row = _log_softmax(LOGITS[2]), _log_softmax(LOGITS[0])
    quality_loss = -(0.4 * quality_row[3] + 0.6 * quality_row[0])
    severity_loss = -severity_row[2]
    expected = (quality_loss + severity * severity_loss) / (1 + severity)
    found = slot_loss(torch.tensor(LOGITS), _slots(), {"quality": 1.0, "severity": severity})
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_padded_candidates_get_no_gradient() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    batch = _slots()
    slot_loss(logits, batch, {}).backward()
    assert logits.grad is not None
    assert bool((logits.grad[1] == 0).all()), "a position without a slot"
    # d(-sum t log p) / d logit = p - t: the first slot's candidates are the tokens 3 and 0.
    p = torch.tensor(LOGITS[2]).softmax(0)
    expected = (p - torch.tensor([0.6, 0.0, 0.0, 0.4, 0.0])) / 2
    torch.testing.assert_close(logits.grad[2], expected)


def test_no_slot_gives_zero_with_a_gradient() -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    empty = {name: value[:0] for name, value in _slots().items()}
    loss = slot_loss(logits, empty, {})
    loss.backward()
    assert float(loss) == 0 and logits.grad is not None


def test_direct_losses() -> None:
    generator = torch.Generator().manual_seed(1)
    direct = DirectLogits(*(torch.randn(2, *shape, generator=generator) for shape in ((5,), (5,), (8, 6))))
    batch = {
        "quality_target": torch.tensor([[0, 0.5, 0.5, 0, 0], [1.0, 0, 0, 0, 0]]),
        "importance_target": torch.tensor([[0.0] * 5, [0, 0, 0, 0.2, 0.8]]),
        "severity_target": torch.randint(0, 6, (2, 8), generator=generator),
    }
    losses = direct_losses(direct, batch)
    quality, importance = direct.quality.log_softmax(1), direct.importance.log_softmax(1)
    expected = -(0.5 * quality[0, 1] + 0.5 * quality[0, 2] + quality[1, 0]) / 2
    torch.testing.assert_close(losses["direct_quality"], expected)
    # The first region's importance is not scored, so the second alone is the mean.
    torch.testing.assert_close(losses["direct_importance"], -(0.2 * importance[1, 3] + 0.8 * importance[1, 4]))
    severity = direct.severity.log_softmax(2)
    picked = [severity[r, t, batch["severity_target"][r, t]] for r in range(2) for t in range(8)]
    torch.testing.assert_close(losses["direct_severity"], -torch.stack(picked).mean())


def test_losses_are_computed_in_float32() -> None:
    logits = torch.tensor(LOGITS).to(torch.bfloat16)
    assert slot_loss(logits, _slots(), {}).dtype == torch.float32
    assert answer_loss(logits, torch.tensor([1, 2, 3])).dtype == torch.float32


def test_types_are_decided_one_by_one_against_none() -> None:
    # Names far above "none" where they are there, far below where they are not; all the mass on these words.
    logits = torch.tensor([[6.0, -6.0, 6.0, -6.0, -6.0, -6.0, -6.0, -6.0, 0.0]])
    both = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    by_hand = 8 * math.log1p(math.exp(-6.0))
    assert float(types_loss(logits.log_softmax(1), both)) == pytest.approx(by_hand, abs=1e-5)
    clean = torch.zeros(1, 8)
    assert float(types_loss(logits.log_softmax(1), clean)) == pytest.approx(2 * 6.0 + by_hand, abs=1e-5)
    # Mass on other words is lost mass: half of it costs log 2, whatever the decisions.
    halved = logits.log_softmax(1) - math.log(2.0)
    assert float(types_loss(halved, both)) == pytest.approx(by_hand + math.log(2.0), abs=1e-5)


def test_taught_targets_are_what_the_direct_head_believes() -> None:
    generator = torch.Generator().manual_seed(2)
    direct = DirectLogits(*(torch.randn(2, *shape, generator=generator) for shape in ((5,), (5,), (8, 6))))
    kinds = ("quality", "importance", "types", "severity", "judgement", "quality")
    batch = {
        "slot_kinds": torch.tensor([SLOT_KINDS.index(kind) for kind in kinds]),
        "slot_regions": torch.tensor([1, 0, 1, 0, 0, -1]),
    }
    labels = torch.rand(6, 9, generator=generator)
    found = taught_targets(labels, batch, direct)
    severity = direct.severity.softmax(2)
    torch.testing.assert_close(found[0, :5], direct.quality.softmax(1)[1])
    torch.testing.assert_close(found[1, :5], direct.importance.softmax(1)[0])
    torch.testing.assert_close(found[2, :8], 1 - severity[1, :, 0])
    assert torch.equal(found[3:], labels[3:]), "severities, judgements, words of no single region keep their labels"


def test_a_share_of_the_targets_is_taught() -> None:
    batch = _slots() | {"slot_regions": torch.tensor([0, 0])}
    batch["slot_targets"] = torch.eye(5)[:2]
    batch["slot_candidates"] = torch.arange(5).expand(2, 5)
    logits = torch.tensor(LOGITS)
    direct = DirectLogits(torch.zeros(1, 5), torch.zeros(1, 5), torch.zeros(1, 8, 6))
    rows = logits[batch["slot_rows"]].log_softmax(1)
    mixed = batch["slot_targets"].clone()
    mixed[0] = torch.lerp(mixed[0], torch.full((5,), 0.2), 0.25)  # the other one is a severity
    found = slot_loss(logits, batch, {}, direct, taught=0.25)
    assert float(found) == pytest.approx(float(-(mixed * rows).sum(1).mean()), abs=1e-6)
    assert float(slot_loss(logits, batch, {}, direct)) == pytest.approx(float(slot_loss(logits, batch, {})))


def test_slots_of_types_have_their_own_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 40)
    candidates = torch.stack([torch.randperm(40)[:9] for _ in range(3)])
    targets = torch.zeros(3, 9)
    targets[0, 2] = targets[2, 0] = 1.0
    targets[1, [0, 3]] = 0.5
    batch = {
        "slot_rows": torch.tensor([0, 1, 2]),
        "slot_kinds": torch.tensor([SLOT_KINDS.index(kind) for kind in ("quality", "types", "severity")]),
        "slot_candidates": candidates,
        "slot_targets": targets,
    }
    chosen = logits.log_softmax(1).gather(1, candidates)
    expected = (-2 * chosen[0, 2] + 3 * types_loss(chosen[1:2], targets[1:2, :8].ceil())[0] - chosen[2, 0]) / 6
    found = slot_loss(logits, batch, {"quality": 2.0, "types": 3.0, "severity": 1.0})
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def _direct(quality: list[float]) -> DirectLogits:
    """Predictions of these qualities: nearly all mass on the two levels around each."""
    rows = torch.zeros(len(quality), 5)
    for row, value in zip(rows, quality, strict=True):
        place = min(int(value * 4), 3)
        row[place], row[place + 1] = 1 - (value * 4 - place), value * 4 - place
    return DirectLogits((rows + 1e-9).log().requires_grad_(), torch.zeros(len(quality), 5), torch.zeros(0))


def test_ranking_by_hand() -> None:
    labels = torch.tensor([soft_levels(q) for q in (0.9, 0.5, 0.5, 0.1)])
    # Pairs of different labels, both ways: 0-1, 0-2, 0-3, 1-3, 2-3; the two of 0.5 have no order.
    predicted = [0.6, 0.5, 0.7, 0.1]
    gaps = {(0, 1): 0.4 - 0.1, (0, 2): 0.4 + 0.1, (0, 3): 0.8 - 0.5, (1, 3): 0.0, (2, 3): 0.0}
    assert float(ranking_loss(_direct(predicted), labels)) == pytest.approx(sum(gaps.values()) / 5, abs=1e-5)
    assert float(ranking_loss(_direct([0.9, 0.5, 0.5, 0.1]), labels)) == pytest.approx(0.0, abs=1e-5)


def test_ranking_moves_pairs_apart_and_nothing_where_there_are_none() -> None:
    direct = _direct([0.5, 0.5])
    ranking_loss(direct, torch.tensor([soft_levels(0.9), soft_levels(0.2)])).backward()
    gradient = direct.quality.grad
    assert gradient is not None and float(gradient[0, 4]) < 0 < float(gradient[1, 4]), "the better one is pushed up"
    for count in (0, 1):
        alone = _direct([0.5] * count)
        loss = ranking_loss(alone, torch.zeros(count, 5))
        loss.backward()
        assert float(loss) == 0


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 5), torch.rand(5)
    mine = slice(0, 5) if rank == 0 else slice(5, 5)  # the second process has no region at all
    if (Path(folder) / "both").exists():
        mine = slice(0, 2) if rank == 0 else slice(2, 5)
    quality = logits[mine].clone().requires_grad_()
    targets = torch.tensor([soft_levels(float(q)) for q in labels[mine]]).view(-1, 5)
    loss = ranking_loss(DirectLogits(quality, quality, quality), targets)
    loss.backward()
    torch.save({"loss": loss.detach(), "gradient": quality.grad}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("both", [True, False])
def test_ranking_over_two_processes_is_that_of_one(both: bool, tmp_path: Path) -> None:
    if both:
        (tmp_path / "both").touch()
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.manual_seed(0)
    quality, labels = torch.randn(5, 5).requires_grad_(), torch.rand(5)
    alone = ranking_loss(DirectLogits(quality, quality, quality), torch.tensor([soft_levels(float(q)) for q in labels]))
    alone.backward()
    # Data parallel takes the mean of losses and of gradients over the processes.
    torch.testing.assert_close(sum(part["loss"] for part in found) / 2, alone.detach(), rtol=0, atol=1e-6)
    gradient = torch.cat([part["gradient"] for part in found]) / 2
    torch.testing.assert_close(gradient, quality.grad, rtol=0, atol=1e-6)
