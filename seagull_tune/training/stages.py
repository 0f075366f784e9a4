"""Freezing as a table: which parts of the model are trained, shown with parameter counts before training starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from seagull_tune.config.train import LearningRates, Lora, Stage
from seagull_tune.errors import TrainingError
from seagull_tune.model.lora import add_lora, has_lora, is_lora_parameter
from seagull_tune.model.modeling import SeagullForConditionalGeneration

PARTS: dict[str, tuple[str, ...]] = {
    "vision_tower": ("vision_tower.",),
    "mfe": ("mfe.", "region_norm."),
    "direct_head": ("direct_head.",),
    "projector": ("projector.", "image_norm."),
    "language_model": ("language_model.",),
}
"""Part of the stage table -> prefixes of its parameters. Every parameter of the model belongs to exactly one part."""


@dataclass(frozen=True)
class PartRow:
    """One row of the printed table: a part, how it is trained, and its parameters."""

    part: str
    mode: str
    trained: int
    total: int


def part_of(name: str) -> str:
    """The part that a parameter belongs to."""
    for part, prefixes in PARTS.items():
        if name.startswith(prefixes):
            return part
    raise TrainingError(f"Parameter {name!r} belongs to no part of the stage table {sorted(PARTS)}.")


def apply_stage(model: SeagullForConditionalGeneration, stage: Stage, lora: Lora) -> list[PartRow]:
    """Freezes and unfreezes the model's parameters as the stage says; adds adapters where it asks for them.

    Returns:
        The table, in the order of :data:`PARTS`.

    Raises:
        TrainingError: nothing would be trained.
    """
    if stage.language_model == "lora" and not has_lora(model.language_model):
        model.language_model = add_lora(
            model.language_model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.targets,
            rs_lora=lora.rs_lora,
        )  # fmt: skip
    modes: dict[str, str] = stage.model_dump()
    for name, parameter in model.named_parameters():
        mode = modes[part_of(name)]
        parameter.requires_grad_(mode == "full" or (mode == "lora" and is_lora_parameter(name)))
    if stage.language_model == "full":
        # Weights that were trained no longer come from their base, so the checkpoint must hold them.
        model.config.bases = {k: v for k, v in (model.config.bases or {}).items() if k != "language_model"}
    rows = [PartRow(part, modes[part], *_count(model, part)) for part in PARTS]
    if not any(row.trained for row in rows):
        raise TrainingError("Every part is frozen: set at least one part of `stage` to full or lora.")
    return rows


def _count(model: nn.Module, part: str) -> tuple[int, int]:
    parameters = [p for name, p in model.named_parameters() if part_of(name) == part]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def stage_table(rows: list[PartRow]) -> str:
    """The table as text, for the start of a run."""
    lines = [f"{'part':<16}{'mode':<8}{'trained':>14}{'total':>14}"]
    lines += [f"{row.part:<16}{row.mode:<8}{row.trained:>14,}{row.total:>14,}" for row in rows]
    lines.append(f"{'sum':<24}{sum(r.trained for r in rows):>14,}{sum(r.total for r in rows):>14,}")
    return "\n".join(lines)


def parameter_groups(model: nn.Module, rates: LearningRates, weight_decay: float) -> Iterator[dict[str, object]]:
    """Optimiser groups: one learning rate per part; no weight decay on vectors and scalars (norms, biases, gains)."""
    per_part: dict[str, float] = rates.model_dump()
    for part in PARTS:
        trained = [p for name, p in model.named_parameters() if p.requires_grad and part_of(name) == part]
        for parameters, decay in (
            ([p for p in trained if p.ndim >= 2], weight_decay),
            ([p for p in trained if p.ndim < 2], 0.0),
        ):
            if parameters:
                yield {"params": parameters, "lr": per_part[part], "weight_decay": decay, "name": f"{part}/{decay}"}
