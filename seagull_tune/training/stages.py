"""Freezing as a table: which parts of the model are trained, shown with parameter counts before training starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from seagull_tune.config.train import LearningRates, Lora, Stage
from seagull_tune.errors import ConfigError, TrainingError
from seagull_tune.model.lora import adapter_settings, add_lora, has_lora, is_lora_parameter, merge_lora
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.quantize import dequantize, is_quantized, quantize

PARTS: dict[str, tuple[str, ...]] = {
    "vision_tower": ("vision_tower.",),
    "mfe": ("mfe.", "region_norm."),
    "direct_head": ("direct_head.",),
    "projector": ("projector.", "image_norm.", "belief_words."),
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
        ConfigError: the model brings adapters that were made otherwise than ``lora`` says.
    """
    if stage.language_model == "lora":
        _adapt(model, lora)
    if stage.language_model == "full" and model.config.quantize is not None:
        model.language_model = merge_lora(model.language_model)
        dequantize(model.language_model)
        model.config.quantize = None
    modes: dict[str, str] = stage.model_dump()
    for name, parameter in model.named_parameters():
        mode = modes[part_of(name)]
        parameter.requires_grad_(mode == "full" or (mode == "lora" and is_lora_parameter(name)))
    model.vision_tower.frozen = stage.vision_tower == "frozen"
    for part in ("language_model", "vision_tower"):
        if modes[part] == "full":
            _leave_base(model, part)
    rows = [PartRow(part, modes[part], *_count(model, part)) for part in PARTS]
    if not any(row.trained for row in rows):
        raise TrainingError("Every part is frozen: set at least one part of `stage` to full or lora.")
    return rows


def _adapt(model: SeagullForConditionalGeneration, lora: Lora) -> None:
    """Adapters on the language model: those that it brings, or new ones (on merged weights, where it brings some)."""
    if has_lora(model.language_model):
        if lora.existing == "continue":
            _check_existing(model, lora)
            return
        model.language_model = merge_lora(model.language_model)
        model.config.quantize = None
        _leave_base(model, "language_model")
    if lora.quantize is not None and not is_quantized(model.language_model):
        # Where the other parts are already: the language model in float32 need not find room there.
        quantize(model.language_model, next(model.direct_head.parameters()).device)
    model.config.quantize = lora.quantize
    model.language_model = add_lora(
        model.language_model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.targets,
        rs_lora=lora.rs_lora, use_dora=lora.use_dora,
    )  # fmt: skip


def _check_existing(model: SeagullForConditionalGeneration, lora: Lora) -> None:
    there = {**adapter_settings(model.language_model), "quantize": model.config.quantize}
    said = lora.model_dump(exclude_unset=True, exclude={"existing", "targets"})
    differing = [
        f"{key} {there[key]!r} (lora.{key} is {value!r})" for key, value in said.items() if there[key] != value
    ]
    if differing:
        raise ConfigError(
            f"The model brings adapters with {', '.join(differing)}. To train them further, set these keys as they "
            "are there; to begin new ones on top, set lora.existing to merge."
        )


def _leave_base(model: SeagullForConditionalGeneration, part: str) -> None:
    """Weights that were changed no longer come from their base, so the checkpoint must hold them."""
    model.config.bases = {name: base for name, base in (model.config.bases or {}).items() if name != part}


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
