"""What a vision tower computes and holds for one picture, measured on its outline: shapes only, no arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seagull_tune.model.vision_tower import VisionTower


@dataclass(frozen=True)
class TowerCost:
    """Of one square picture.

    Attributes:
        flops: of a forward pass.
        map_numbers: values of all its maps.
        widest_numbers: values that its widest layer reads and gives.
        all_numbers: values that all layers give.
        trained: whether it is trained.
    """

    flops: int
    map_numbers: int
    widest_numbers: int
    all_numbers: int
    trained: bool


def tower_cost(tower: VisionTower, side: int) -> TowerCost:
    """Measures a tower on the meta device.

    Args:
        side: of the picture, in pixels.
    """
    widest = everything = 0

    def look(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal widest, everything
        given = output.numel() if isinstance(output, Tensor) else 0
        widest = max(widest, given + sum(value.numel() for value in inputs if isinstance(value, Tensor)))
        everything += given

    leaves = [module for module in tower.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(look) for module in leaves]
    try:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            maps = tower([torch.zeros(3, side, side)])[0]
    finally:
        for hook in hooks:
            hook.remove()
    trained = any(parameter.requires_grad for parameter in tower.parameters())
    return TowerCost(counter.get_total_flops(), sum(m.numel() for m in maps), widest, everything, trained)
