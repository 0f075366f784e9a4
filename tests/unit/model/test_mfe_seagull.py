"""The released extractor: equal to the release in names and numbers, and built at any size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seagull_tune.errors import DataError, RegionError
from seagull_tune.model.mfe_seagull import LEVELS, SeagullMaskExtractor, masked_mean
from tests.released import recipe_inputs, recipe_weight, reference, relative_error

TOLERANCE = 1e-4
CASES = ("one_region", "three_regions")
Tokens = dict[str, tuple[torch.Tensor, torch.Tensor]]


def fixture_file() -> Path:
    """The full reference outputs, in a folder ``fixtures`` of, or beside, the outside data."""
    root = os.environ.get("SEAGULL_TUNE_TEST_DATA")
    if not root:
        pytest.skip("SEAGULL_TUNE_TEST_DATA is not set: no outside fixtures")
    for folder in (Path(root) / "fixtures", Path(root).parent / "fixtures"):
        file = folder / "seagull_mfe_reference.safetensors"
        if file.is_file():
            return file
    pytest.skip(f"no fixtures/seagull_mfe_reference.safetensors in or beside {root}")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    """Global and local tokens of both cases at the released sizes (about 0.5 GB of weights, 10 s)."""
    spec = reference()
    extractor = SeagullMaskExtractor().eval()
    weights = {name: recipe_weight(name, shape, spec["salt"]) for name, shape in spec["state_dict"].items()}
    extractor.load_state_dict(weights, strict=True, assign=True)
    found = {}
    with torch.inference_mode():
        for name in CASES:
            maps, masks, crops = recipe_inputs(spec["cases"][name], spec["features"])
            (overall,), (local,) = extractor(maps, [masks], [crops])
            found[name] = (overall.clone(), local.clone())
    return found


def test_names_and_shapes_are_the_released_ones() -> None:
    with torch.device("meta"):
        extractor = SeagullMaskExtractor()
    seen = {name: list(tensor.shape) for name, tensor in extractor.state_dict().items()}
    assert seen == reference()["state_dict"]
    # What the release stores and never reads is not trained.
    assert not any(name.startswith("mask_linear") for name, _ in extractor.named_parameters())


@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_the_released_ones(tokens: Tokens, case: str) -> None:
    for kind, seen in zip(("global", "local"), tokens[case], strict=True):
        expected = reference()["cases"][case][kind]
        assert list(seen.shape) == expected["shape"]
        assert relative_error(seen.flatten()[expected["at"]], torch.tensor(expected["values"])) <= TOLERANCE
        assert float(seen.norm()) == pytest.approx(expected["norm"], rel=TOLERANCE)


def test_outputs_equal_all_of_the_full_fixture(tokens: Tokens) -> None:
    full = load_file(fixture_file())
    for case in CASES:
        for kind, seen in zip(("global", "local"), tokens[case], strict=True):
            assert relative_error(seen, full[f"{case}.{kind}"]) <= TOLERANCE, (case, kind)


def tiny() -> SeagullMaskExtractor:
    torch.manual_seed(0)
    return SeagullMaskExtractor(
        channels=(4, 6, 8, 10), map_sides=(16, 8, 4, 2), width=16, text_width=24, heads=4, crop_side=64, local_width=8,
        kept_inputs=4,
    )  # fmt: skip


def tiny_inputs(images: int = 1, regions: int = 2) -> tuple[dict[str, torch.Tensor], list[torch.Tensor], list]:
    torch.manual_seed(1)
    maps = {name: torch.randn(images, c, s, s) for name, c, s in zip(LEVELS, (4, 6, 8, 10), (16, 8, 4, 2), strict=True)}
    masks = torch.zeros(images, regions, 64, 64)
    for region in range(regions):
        masks[:, region, 8 * region : 30, 5 : 40 + region] = 1
    return maps, list(masks), list(torch.randn(images, regions, 3, 64, 64))


def test_other_sizes_and_images_alone_equal_a_batch() -> None:
    extractor = tiny()
    maps, masks, crops = tiny_inputs(images=2)
    overall, local = extractor(maps, masks, crops)
    assert [tuple(t.shape) for t in (*overall, *local)] == [(2, 24)] * 4
    second = {name: level[1:] for name, level in maps.items()}
    alone = extractor(second, masks[1:], crops[1:])
    torch.testing.assert_close(alone[0][0], overall[1])
    torch.testing.assert_close(alone[1][0], local[1])


def test_every_parameter_takes_part_in_training() -> None:
    extractor = tiny()
    overall, local = extractor(*tiny_inputs())
    (overall[0].square().sum() + local[0].square().sum()).backward()
    assert [name for name, parameter in extractor.named_parameters() if parameter.grad is None] == []


def test_a_cell_counts_wherever_the_resized_mask_is_above_zero() -> None:
    level = torch.arange(16.0).view(1, 4, 4)
    mask = torch.zeros(1, 8, 8)
    mask[0, 0, 3] = 1  # one pixel, in the reach of cell (0, 1) alone
    assert masked_mean(level, mask).item() == pytest.approx(1.0)
    mask[0, 7, 7] = 1
    assert masked_mean(level, mask).item() == pytest.approx((1 + 15) / 2)
    # Shrunk by four, a bilinear sample reads two of four pixels: as in the release, others see nothing.
    unseen = torch.zeros(1, 16, 16)
    unseen[0, 0, 0] = 1
    assert masked_mean(level, unseen).item() == 0.0


def test_an_empty_mask_is_refused_by_name() -> None:
    maps, masks, crops = tiny_inputs(images=2)
    masks[1][0] = 0
    with pytest.raises(RegionError, match="Region 1 of image 2 is empty"):
        tiny()(maps, masks, crops)


def test_sizes_that_do_not_fit_are_named() -> None:
    maps, masks, crops = tiny_inputs()
    with pytest.raises(DataError, match=r"map res3 is 8x5.*8x8"):
        tiny()({**maps, "res3": maps["res3"][..., :5]}, masks, crops)
    with pytest.raises(DataError, match=r"crops of image 1 are \(3, 32, 64\)"):
        tiny()(maps, masks, [crops[0][:, :, :32]])
    with pytest.raises(RegionError, match="2 masks and 1 crops"):
        tiny()(maps, masks, [crops[0][:1]])
