"""The losses of the ROI model, each returned by itself.

Several processes train as one would on all their samples: a loss is a sum over what a process has, divided by the count
of what all have, times the number of processes. The mean over processes, which every engine takes of losses and of
gradients, is then the mean over all answers, slots or regions, however they are spread. Where no gradient is wanted
(evaluation), each process measures its own batch: the last ones may repeat samples.

Legend: N trained positions, S value slots, W candidate words, V vocabulary, R regions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax, relu

from seagull_tune.data.collate import IGNORE, SLOT_KINDS
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.projector import DirectLogits

_SAME = 1e-6  # labels that are closer have no order


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of soft targets over the rows that have any mass; 0 (with gradient) where none has.

    Args:
        logits: (R, K).
        targets: (R, K), rows that sum to one, or to zero where there is nothing to learn.
    """
    rows = targets.sum(dim=1)
    losses = -(targets * log_softmax(logits.float(), dim=1)).sum(dim=1)
    return _mean(losses.sum(), rows.sum(), least=1.0)


def answer_loss(logits: Tensor, target_ids: Tensor) -> Tensor:
    """Mean cross-entropy of the literal words of the answers (value slots excluded).

    Args:
        logits: (N, V).
        target_ids: (N,), ``IGNORE`` at value slots.
    """
    summed = cross_entropy(logits.float(), target_ids, ignore_index=IGNORE, reduction="sum")
    return _mean(summed, (target_ids != IGNORE).sum(), least=1.0)


def slot_loss(
    logits: Tensor,
    batch: Mapping[str, Tensor],
    kind_weights: Mapping[str, float],
    teacher: DirectLogits | None = None,
    taught: float = 0.0,
) -> Tensor:
    """Soft-label cross-entropy at value slots, over the whole vocabulary, averaged with weights per kind.

    The softmax runs over the vocabulary, so that mass also moves *to* the value words (as in DeQA-Score), not only
    among them. Slots of kind ``types`` have a loss of their own, :func:`types_loss`.

    Args:
        logits: (N, V).
        batch: ``slot_rows`` (S,), ``slot_kinds`` (S,), ``slot_candidates`` (S, W), ``slot_targets`` (S, W);
            with a teacher also ``slot_regions`` (S,).
        kind_weights: weight of each of ``SLOT_KINDS``.
        teacher: the direct head's logits of the batch's regions; see :func:`taught_targets`.
        taught: share of the targets that is the teacher's belief, in [0, 1].
    """
    rows = batch["slot_rows"]
    log_probabilities = log_softmax(logits[rows].float(), dim=1)  # (S, V)
    chosen = log_probabilities.gather(1, batch["slot_candidates"].clamp_min(0))  # (S, W)
    named = batch["slot_kinds"] == SLOT_KINDS.index("types")
    targets = torch.where(named[:, None], (batch["slot_targets"] > 0).float(), batch["slot_targets"])
    if teacher is not None and taught > 0:
        targets = torch.lerp(targets, taught_targets(targets, batch, teacher), taught)
    losses = -(targets * chosen).sum(dim=1)
    if bool(named.any()):
        losses = losses.masked_scatter(named, types_loss(chosen[named], targets[named, : len(DISTORTION_TYPES)]))
    table = torch.tensor([kind_weights.get(kind, 1.0) for kind in SLOT_KINDS], device=losses.device)
    weights = table[batch["slot_kinds"]]
    return _mean((losses * weights).sum(), weights.sum(), least=1e-9)


@torch.no_grad()
def taught_targets(targets: Tensor, batch: Mapping[str, Tensor], teacher: DirectLogits) -> Tensor:
    """Targets of value words as the direct head believes them (distillation: Hinton, Vinyals, Dean 2015).

    A label holds what no token of the region tells. The direct head's belief is a function of the very tokens that the
    language model reads, so the adapters can learn all of it, and do so in fewer steps. Severities keep their labels:
    taught ones, which are spread over neighbours, were answered with the middle ones.

    Args:
        targets: (S, W) of the labels; at slots of kind ``types``, 1 for each type that is there.
        batch: ``slot_kinds`` (S,), ``slot_regions`` (S,).
        teacher: the direct head's logits of the batch's R regions.

    Returns:
        (S, W); rows that are of no single region, severities and judgements stay as they are.
    """
    kinds, regions = batch["slot_kinds"], batch["slot_regions"]
    beliefs = {
        "quality": teacher.quality.float().softmax(dim=1),
        "importance": teacher.importance.float().softmax(dim=1),
        "types": 1.0 - teacher.severity.float().softmax(dim=2)[:, :, 0],
    }
    taught = targets.clone()
    for kind, values in beliefs.items():
        rows = (regions >= 0) & (kinds == SLOT_KINDS.index(kind))
        if bool(rows.any()):
            taught[rows, : values.shape[1]] = values[regions[rows]]
    return taught


def types_loss(log_probabilities: Tensor, there: Tensor) -> Tensor:
    """Loss of each slot of kind ``types``, where several words may be true: one decision per type against "none".

    The types' binary cross-entropies, summed, and the mass that all the words together lack: without it the decisions
    could be learnt among words that the model would never say.

    Args:
        log_probabilities: (S, 9) over the vocabulary, types in their order, then "none".
        there: (S, 8), how surely each type is there, in [0, 1].
    """
    n_types = len(DISTORTION_TYPES)
    margins = log_probabilities[:, :n_types] - log_probabilities[:, n_types : n_types + 1]
    decisions = binary_cross_entropy_with_logits(margins, there, reduction="none").sum(dim=1)
    return decisions - log_probabilities[:, : n_types + 1].logsumexp(dim=1)


def direct_losses(direct: DirectLogits, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses of the region tokens' own head: soft levels for quality and importance, classes for severities.

    Severities below 0 are unknown and count nowhere; a batch without known ones has a loss of 0 there.
    """
    target = batch["severity_target"].flatten()
    logits = direct.severity.float().flatten(0, 1)
    summed = cross_entropy(logits, target, ignore_index=-1, reduction="sum")
    severity = _mean(summed, (target >= 0).sum(), least=1.0)
    return {
        "direct_quality": soft_cross_entropy(direct.quality, batch["quality_target"]),
        "direct_importance": soft_cross_entropy(direct.importance, batch["importance_target"]),
        "direct_severity": severity,
    }


def ranking_loss(direct: DirectLogits, quality_target: Tensor) -> Tensor:
    """How far pairs of regions are from the order of their labels (margin ranking, margin = difference of labels).

    For labels q_i > q_j and predictions p, a pair costs ``max(0, (q_i - q_j) - (p_i - p_j))``; the mean over pairs of
    different labels. A prediction that keeps every distance costs nothing, so it does not stretch the scale.

    The regions of all processes are compared. Gradients flow through this process's own side of each pair, which the
    other one's process has as its own. A process whose batch has no region takes part all the same.

    Args:
        direct: the direct head's logits of this process's R regions.
        quality_target: (R, 5) soft levels.

    Returns:
        0 (with gradient) where no two labels differ.
    """
    scale = torch.linspace(0.0, 1.0, direct.quality.shape[1], device=direct.quality.device)
    predicted = direct.quality.float().softmax(dim=1) @ scale  # (R,)
    label = quality_target.float() @ scale
    others, processes = _of_all_processes(torch.stack([predicted.detach(), label], dim=1))
    margin = label[:, None] - others[:, 1]  # (R, all)
    # Signs make one formula of both orders.
    costs = relu(margin.abs() - margin.sign() * (predicted[:, None] - others[:, 0]))
    pairs = ((others[:, None, 1] - others[:, 1]).abs() > _SAME).sum().clamp_min(1)
    return (costs * (margin.abs() > _SAME)).sum() * processes / pairs


def _processes() -> int:
    """How many processes train together; 1 where no gradient is wanted."""
    together = torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def _mean(total: Tensor, count: Tensor, least: float) -> Tensor:
    """This process's part of a mean over all processes: their mean is the sum of totals over the sum of counts.

    Args:
        total: (), sum over what this process has.
        count: (), of what this process has.
        least: the smallest divisor.
    """
    processes = _processes()
    everything = count.detach().to(torch.float32)
    if processes > 1:
        distributed.all_reduce(everything)
    return total * processes / everything.clamp_min(least)


def _of_all_processes(rows: Tensor) -> tuple[Tensor, int]:
    """(R, K) of this process -> those of all, in the order of the processes, and how many processes there are."""
    processes = _processes()
    if processes == 1:
        return rows, 1
    size = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.zeros_like(size) for _ in range(processes)]
    distributed.all_gather(sizes, size)
    counts = [int(s) for s in sizes]
    # Every process sends as many rows as the largest has: numbers of regions differ.
    padded = rows.new_zeros(max(*counts, 1), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.zeros_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]), processes
