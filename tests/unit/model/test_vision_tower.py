"""Towers of several families, images of any size."""

from __future__ import annotations

import pytest
import torch

from seagull_tune.errors import ConfigError
from seagull_tune.model.vision_tower import VisionTower

TOWERS = ["test_efficientnet", "test_convnext", "test_resnet", "test_vit"]


def _images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, h, w, generator=generator) for h, w in ((96, 64), (50, 77), (96, 64), (33, 40))]


@pytest.mark.parametrize("name", TOWERS)
def test_a_ragged_batch_equals_single_images(name: str) -> None:
    torch.manual_seed(0)
    tower, images = VisionTower(name), _images()
    together = tower(images)
    for image, maps in zip(images, together, strict=True):
        (alone,) = tower([image])
        assert [tuple(level.shape) for level in maps] == [tuple(level.shape) for level in alone]
        for level, single in zip(maps, alone, strict=True):
            torch.testing.assert_close(level, single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TOWERS)
def test_channels_are_known_without_weights(name: str) -> None:
    tower = VisionTower(name)
    assert VisionTower.channels_of(name) == tower.channels
    assert tuple(level.shape[0] for level in tower(_images()[:1])[0]) == tower.channels


def test_windowed_transformers_give_channels_first() -> None:
    tower = VisionTower("swin_tiny_patch4_window7_224")
    maps = tower([torch.randn(3, 70, 100)])[0]
    assert [level.shape[0] for level in maps] == list(tower.channels)
    assert maps[-1].shape[1:] == (2, 3), "scaled to whole patches of 32"


def test_a_frozen_tower_never_trains() -> None:
    tower = VisionTower("test_efficientnet")
    tower.train()
    assert not tower.training and not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    maps = tower(_images()[:2])
    assert not any(level.requires_grad for image in maps for level in image)
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items()), "batch statistics moved"


def test_an_open_tower_trains() -> None:
    tower = VisionTower("test_efficientnet", frozen=False)
    tower.train()
    maps = tower(_images()[:1])[0]
    maps[-1].sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in tower.parameters())


@pytest.mark.parametrize(
    ("name", "hint"),
    [("test_efficientnett", "Did you mean 'test_efficientnet'"), ("qqqqqqqqqqqq", "timm has no model")],
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        VisionTower(name)
