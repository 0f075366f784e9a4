"""How long a training takes: arithmetic of one step, over what a GPU does in a second.

A weight that a token meets costs 2 operations forward and 2 for the gradient of its input; 2 more if it is trained
itself (so 4 for frozen weights, 6 for trained ones). Attention costs ``4 L^2 Q`` per layer and sample forward, twice
that backward. Checkpointing adds one forward pass of the decoder. Rendering pictures, optimiser and communication are
not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from seagull_tune.model.lora import is_lora_parameter
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.training.estimate import DecoderShape, Workload, decoder_matrices
from seagull_tune.training.tower_cost import TowerCost

UTILISATION = 0.35
"""Share of a GPU's peak that a training is taken to reach; 0.3 to 0.5 is usual for models of this size."""


@dataclass(frozen=True)
class Gpu:
    """A GPU's peak, in operations per second without sparsity, by its maker's data sheet.

    Attributes:
        half, full: with bfloat16 matrices summed in float32, and with float32 ones.
    """

    name: str
    half: float
    full: float


GPUS = (Gpu("A100-80", 312e12, 19.5e12), Gpu("H100", 989e12, 67e12), Gpu("RTX 4090", 165e12, 82.6e12))


@dataclass(frozen=True)
class StepCost:
    """Operations of one forward and backward pass of one device.

    Attributes:
        decoder, head, tower, small: of the language model's layers, its output head, the vision tower, and what lies
            between them (extractor and projector).
        once: of the tower, per sample of the run, where its results are cached.
    """

    decoder: float
    head: float
    tower: float
    small: float
    once: float = 0.0

    @property
    def total(self) -> float:
        """All of a step."""
        return self.decoder + self.head + self.tower + self.small


def step_cost(
    model: SeagullForConditionalGeneration, shape: DecoderShape, load: Workload, tower: TowerCost
) -> StepCost:
    """Operations of one pass over a batch."""
    tokens = load.samples * load.length
    matrices = decoder_matrices(model)
    adapters = [p for name, p in model.language_model.named_parameters() if is_lora_parameter(name)]
    numbers = sum(p.numel() for p in (*matrices, *adapters))
    trained = sum(p.numel() for p in (*matrices, *adapters) if p.requires_grad)
    attention = 4.0 * load.samples * load.length**2 * shape.query_width * shape.layers
    decoder = 4.0 * numbers * tokens + 2.0 * trained * tokens + 3.0 * attention
    if load.checkpointing:
        decoder += 2.0 * numbers * tokens + attention
    per_answer = 6.0 if model.get_output_embeddings().weight.requires_grad else 4.0
    head = per_answer * shape.words * shape.width * load.answered * load.samples if tokens else 0.0
    seen = tower.flops * (3.0 if tower.trained else 1.0)
    image_tokens = model.config.n_image_tokens if tokens else 0
    small = 6.0 * load.samples * (_numbers(model.mfe) * load.regions + _numbers(model.projector) * image_tokens)
    return StepCost(
        decoder=decoder, head=head, tower=0.0 if load.cached else seen * load.samples,
        small=small, once=seen if load.cached else 0.0,
    )  # fmt: skip


def _numbers(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def hours(cost: StepCost, load: Workload, visits: float, samples: float, gpu: Gpu, processes: int = 1) -> float:
    """Hours on the clock for so many visits of samples.

    Args:
        visits: of all processes together, padding included.
        samples: different ones: each passes the tower once where its results are cached.
    """
    work = cost.total * visits / load.samples + cost.once * samples
    return work / ((gpu.half if load.half else gpu.full) * UTILISATION * processes) / 3600.0
