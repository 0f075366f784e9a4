"""What a training will need of a GPU's memory: arithmetic over the outline of a model; nothing is loaded or run.

Weights, gradients and optimizer states are counted, so they are what a run really holds. Activations are a formula of
the layers of a decoder of transformers (gated feed-forward layers, fused attention), after Korthikanti et al. 2022
("Reducing Activation Recomputation in Large Transformer Models"), with what adapters and mixed precision keep beside.

Legend: B samples of a device and step, L tokens of a sample, D width of the decoder, F width of its feed-forward
layers, Q and K widths of all heads of queries and of keys, e bytes of a computed number (2 in mixed precision, else 4).
All sizes are in bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedConfig

from seagull_tune.model.lora import is_lora_parameter
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.quantize import bytes_in_4_bits, layers_to_quantize
from seagull_tune.training.engines import Engine
from seagull_tune.training.tower_cost import TowerCost

GIB = 2**30
CARDS = (24, 40, 80)
"""Memory of common GPUs, in GiB."""
RESERVE = GIB
"""What the driver, the libraries and the allocator's gaps take beside everything counted here."""
USABLE = 0.94
"""Share of a card's memory that a plan may fill: the allocator needs some room."""
_FULL, _HALF = 4, 2
_MOMENTS = 2 * _FULL  # AdamW's two, float32
_BUCKET = 500_000_000  # numbers that ZeRO reduces together, at most (DeepSpeed's reduce_bucket_size)
_LIVE = 1_000_000_000  # numbers that ZeRO-3 keeps gathered, at most (DeepSpeed's stage3_max_live_parameters)
_LOGIT_BYTES = 16  # per logit: its value, its softmax in float32, the gradients of both


@dataclass(frozen=True)
class Workload:
    """What one device reads in one forward pass.

    Attributes:
        samples: B.
        length: L, image and region tokens included, padded; 0 where no text is read.
        answered: trained tokens of a sample: the only positions where there are logits.
        regions: regions of a sample.
        side: longest side of the picture that the tower sees, in pixels.
        half: mixed precision.
        checkpointing: whether the decoder keeps only what enters each layer.
        cached: whether the frozen front is read from disk.
    """

    samples: int
    length: int
    answered: int
    regions: int
    side: int
    half: bool
    checkpointing: bool = False
    cached: bool = False

    @property
    def number(self) -> int:
        """e."""
        return _HALF if self.half else _FULL


@dataclass(frozen=True)
class ModelSize:
    """Counts of a model whose freezing is decided.

    Attributes:
        by_type: bytes of all weights and constants, as one process holds them, by the names of their types.
        numbers: weights and constants that are not in 4 bits.
        four_bit: bytes of those in 4 bits; four_bit_numbers: how many they are.
        trained: trained weights, float32.
        layer: weights of the largest layer of the decoder.
    """

    by_type: Mapping[str, int]
    numbers: int
    four_bit: int
    four_bit_numbers: int
    trained: int
    layer: int

    @property
    def weight_bytes(self) -> int:
        """All of them together."""
        return sum(self.by_type.values())


def size_of(model: SeagullForConditionalGeneration, four_bit: bool = False) -> ModelSize:
    """Counts a model (its tensors may be on the meta device).

    Args:
        four_bit: count the linear layers of its language model as if they were in 4 bits.
    """
    small = {id(weight) for weight in decoder_matrices(model)} if four_bit else set()
    tensors: dict[int, Tensor] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    plain = [t for t in tensors.values() if id(t) not in small]
    packed = sum(t.numel() for t in tensors.values() if id(t) in small)
    packed_bytes = sum(bytes_in_4_bits(t.numel()) for t in tensors.values() if id(t) in small)
    by_type: Counter[str] = Counter({"4 bits": packed_bytes})
    for held in plain:
        by_type[str(held.dtype).removeprefix("torch.")] += held.numel() * held.element_size()
    return ModelSize(
        by_type=by_type, numbers=sum(t.numel() for t in plain), four_bit=packed_bytes, four_bit_numbers=packed,
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        layer=max((sum(p.numel() for p in layer.parameters()) for layer in model.decoder.layers), default=0),  # type: ignore[union-attr]
    )  # fmt: skip


def decoder_matrices(model: SeagullForConditionalGeneration) -> list[Tensor]:
    """The weights of the language model's own linear layers, without its output head and its adapters."""
    named = layers_to_quantize(model.language_model)
    return [layer.weight for name, layer in named if not is_lora_parameter(name)]


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder: layers, D, F, Q, K, heads, words, whether queries and keys are normalised by themselves.

    Attributes:
        trained: whether anything in it is trained, so that the inputs of its linear layers are kept.
        ranks: sum of the adapters' ranks over the linear layers of a layer; dropout: whether each has dropout.
    """

    layers: int
    width: int
    inner: int
    query_width: int
    key_width: int
    heads: int
    words: int
    normed_heads: bool = False
    trained: bool = True
    ranks: int = 0
    dropout: bool = False


def shape_of(model: SeagullForConditionalGeneration) -> DecoderShape:
    """The sizes of a model's decoder."""
    config: PreTrainedConfig = model.config.text_config
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    first: nn.Module = next(model.decoder.layers.children())  # type: ignore[union-attr]
    parts = dict(first.named_modules())
    adapters = [m for name, m in parts.items() if name.endswith("lora_A.default") and isinstance(m, nn.Linear)]
    return DecoderShape(
        layers=config.num_hidden_layers, width=config.hidden_size, inner=config.intermediate_size,
        query_width=heads * head, key_width=keys * head, heads=heads, words=config.vocab_size,
        normed_heads=any(name.endswith("q_norm") for name in parts),
        trained=any(p.requires_grad for p in model.language_model.parameters()),
        ranks=sum(layer.out_features for layer in adapters),
        dropout=any(isinstance(m, nn.Dropout) and m.p > 0 for name, m in parts.items() if "lora_dropout" in name),
    )  # fmt: skip


def layer_bytes(shape: DecoderShape, number: int) -> int:
    """What one decoder layer keeps of one token for the backward pass.

    - two RMS norms, each its input in float32: ``2 * 4 D``
    - attention: queries, keys (each head of queries has its own copy) and values, result: ``e (2 Q + 2 Q)``, its
      log-sum ``4 heads``; ``4 (Q + K)`` where queries and keys are normalised by themselves
    - feed-forward: gate, activated gate, their product's other factor: ``3 e F``
    - where weights or adapters are trained, the inputs of linear layers that are not kept yet: ``e (2 D + F)`` and
      ``e`` per rank; with dropout in the adapters, what it leaves of every input, and what it dropped

    Args:
        number: e.
    """
    kept = 2 * _FULL * shape.width + number * 4 * shape.query_width + _FULL * shape.heads + 3 * number * shape.inner
    if shape.normed_heads:
        kept += _FULL * (shape.query_width + shape.key_width)
    if shape.trained:
        kept += number * (2 * shape.width + shape.inner + shape.ranks)
    if shape.dropout:
        inputs = 5 * shape.width + shape.query_width + shape.inner  # q, k, v; o; gate, up; down
        kept += (number + 1) * inputs
    return kept


def decoder_activations(shape: DecoderShape, load: Workload) -> int:
    """What the decoder keeps of a batch.

    Without checkpointing ``B L layers * layer_bytes``; with it, ``e D`` per token and layer, and one whole layer that
    is computed again. The padding mask, ``e L^2`` per sample, is shared by the layers.
    """
    if not load.length:
        return 0
    tokens, e = load.samples * load.length, load.number
    layer = layer_bytes(shape, e)
    each = shape.layers * e * shape.width + layer if load.checkpointing else shape.layers * layer
    ends = (2 * e + _FULL) * shape.width  # embeddings, the last norm
    return tokens * (each + ends) + load.samples * load.length**2 * e


def logit_bytes(shape: DecoderShape, load: Workload) -> int:
    """Logits, their softmax and the gradients of both, at the trained positions only."""
    return load.samples * load.answered * shape.words * _LOGIT_BYTES if load.length else 0


def front_bytes(load: Workload, tower: TowerCost, patch_numbers: int) -> int:
    """Pictures, patches, and what the tower holds: its maps and widest layer if it is frozen, else all it computes.

    Args:
        patch_numbers: values of the patches (or the crop) of one region.
    """
    if load.cached:
        return 0
    inputs = 3 * load.side**2 * _FULL + load.regions * patch_numbers * 3 * _FULL
    held = tower.all_numbers if tower.trained else tower.widest_numbers
    return load.samples * (inputs + (held + 2 * tower.map_numbers) * _FULL)


@dataclass(frozen=True)
class Memory:
    """What one process needs of its GPU, in bytes.

    Attributes:
        weights, gradients, optimizer: of the model, as the engine spreads them.
        activations, logits: of a batch.
        working: what the engine and mixed precision hold beside: buckets, gathered weights, copies in bfloat16.
        starting: the most that is there before the engine has spread the model.
        host: of the machine's memory, for what is kept there by this process.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    working: int
    starting: int
    host: int

    @property
    def peak(self) -> int:
        """The most that is needed at once."""
        running = self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.working
        return max(running, self.starting) + RESERVE

    def fits(self, gib: int) -> bool:
        """Whether it fits a card of so many GiB."""
        return self.peak <= USABLE * gib * GIB


def can_drive(engine: Engine, size: ModelSize) -> bool:
    """Whether an engine can train a model: those that spread the weights cannot spread packed 4-bit ones."""
    return not (size.four_bit and engine.shards_weights)


def memory(size: ModelSize, activations: int, logits: int, engine: Engine, half: bool) -> Memory:
    """The memory of one process of an engine.

    - one process, DDP: weights as they are; gradients and AdamW's moments in float32 (4 and 8 bytes per trained
      weight), DDP's buckets 4 more; in mixed precision copies of the trained weights in bfloat16 (2)
    - ZeRO over n: weights in the computed type (over n in stage 3), gradients in it (over n from stage 2 on), moments
      and weights in float32 (12 over n); buckets of 5e8 numbers; stage 3 keeps 1e9 gathered at most
    - FSDP2 over n: everything as it is, over n; two layers gathered
    - what is offloaded is in the machine's memory: the share of one process

    Args:
        activations, logits: of a batch.
        half: mixed precision.
    """
    n, e, trained = engine.processes, _HALF if half else _FULL, size.trained
    bucket = min(_BUCKET, trained) * e
    if engine.kind == "zero":
        whole = size.numbers * e + size.four_bit
        weights = whole // n if engine.stage == 3 else whole
        gradients = trained * e // (n if engine.stage >= 2 else 1)
        optimizer = trained * (_MOMENTS + _FULL) // n
        gathered = min(_LIVE, size.numbers) * e if engine.stage == 3 and (n > 1 or engine.offload_weights) else 0
        working, starting = bucket + gathered, whole
    elif engine.kind == "fsdp":
        weights, gradients, optimizer = size.weight_bytes // n, trained * _FULL // n, trained * _MOMENTS // n
        working, starting = 2 * size.layer * e, 0
    else:
        weights, gradients, optimizer = size.weight_bytes, trained * _FULL, trained * _MOMENTS
        working = (trained * _FULL if engine.kind == "ddp" else 0) + (trained * _HALF if half else 0)
        starting = 0
    host = 0
    if engine.offload_optimizer:
        host += optimizer + trained * _FULL // n
        gradients = optimizer = 0
    if engine.offload_weights:
        host += weights
        weights = 0
    return Memory(weights, gradients, optimizer, activations, logits, working, starting, host)
