"""SAM through the real code path, with a tiny randomly initialised model; and its checkpoints."""

from __future__ import annotations

import pickle
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from skimage import data

from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.regions import SamSettings
from seagull_tune.errors import CheckpointError, ConfigError, MissingDependencyError, RegionError
from seagull_tune.records import Region
from seagull_tune.regions.masks import decode, decode_all
from seagull_tune.segment import build_segmenter
from seagull_tune.segment.base import Segmenter
from seagull_tune.segment.mask_cleaning import MaskFilter
from seagull_tune.segment.sam import SamSegmenter
from tests.tiny_sam import tiny_sam

OPEN: dict[str, Any] = {
    "points_per_side": 4, "points_per_batch": 8, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0,
    "box_nms_thresh": 1.0, "min_island_share": 0.0, "fill_holes_share": 0.0, "max_hole_share": 1.0,
}  # fmt: skip


def make(seed: int = 0, max_regions: int = 16, min_area_share: float = 0.0, **settings: Any) -> SamSegmenter:
    """A segmenter with random weights and open thresholds."""
    return SamSegmenter(SamSettings(**{**OPEN, **settings}), min_area_share, max_regions, model=tiny_sam(seed))


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return make()


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.chelsea()[:150, :220])


def test_automatic_masks(segmenter: SamSegmenter, photo: np.ndarray) -> None:
    regions = segmenter.segment(photo)
    assert isinstance(segmenter, Segmenter)
    assert 1 <= len(regions) <= 16
    assert [r.area for r in regions] == sorted((r.area for r in regions), reverse=True)
    assert {(r.height, r.width) for r in regions} == {photo.shape[:2]}
    masks = decode_all(regions)
    for i in range(len(masks)):
        for j in range(i):
            assert (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum() <= segmenter.settings.duplicate_iou + 1e-9
    assert segmenter.segment(photo) == regions


def test_large_images_come_back_at_full_size(segmenter: SamSegmenter) -> None:
    image = data.astronaut()  # twice the model's input
    regions = segmenter.segment(image)
    assert {(r.height, r.width) for r in regions} == {(512, 512)}
    for region in (segmenter.at_point(image, 511, 0), segmenter.in_box(image, (100, 50, 400, 500))):
        assert (region.height, region.width) == (512, 512)


def test_automatic_masks_are_those_of_the_package() -> None:
    image = np.ascontiguousarray(data.chelsea()[:150, :256])  # as long as the model's input: nobody resizes
    model = tiny_sam()
    with torch.no_grad():  # random weights give logits near 0, where no mask is stable
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight *= 300
            mlp.layers[-1].bias *= 300
    thresholds: dict[str, Any] = {"points_per_side": 5, "pred_iou_thresh": 0.05, "stability_score_thresh": 0.5}
    thresholds |= {"points_per_batch": 7, "box_nms_thresh": 1.0}
    reference = SamAutomaticMaskGenerator(model, output_mode="coco_rle", **thresholds)
    expected = {mask["segmentation"]["counts"] for mask in reference.generate(image)}
    settings = SamSettings(**{**OPEN, **thresholds, "duplicate_iou": 1.0})
    found = SamSegmenter(settings, 0.0, 1000, model=model).segment(image)
    assert {region.counts for region in found} == expected
    assert 5 < len(expected) < 40


def test_batches_bound_memory_and_change_nothing(
    segmenter: SamSegmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    upscaled: list[int] = []

    def counted(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        batches.append(len(kwargs["sparse_prompt_embeddings"]))

    other = make(points_per_batch=3)
    other.model.mask_decoder.register_forward_pre_hook(counted, with_kwargs=True)
    upscale = other.model.postprocess_masks

    def counted_upscale(low: torch.Tensor, *sizes: Any) -> torch.Tensor:
        upscaled.append(low.shape[1])
        return upscale(low, *sizes)

    monkeypatch.setattr(other.model, "postprocess_masks", counted_upscale)
    regions, expected = other.segment(photo), segmenter.segment(photo)
    assert batches == [3, 3, 3, 3, 3, 1]
    assert sum(upscaled) == 3 * 16 and max(upscaled) == 8
    assert [region.area for region in regions] == pytest.approx([region.area for region in expected], rel=1e-3)


def test_thresholds_and_limits(photo: np.ndarray) -> None:
    assert len(make(max_regions=1).segment(photo)) == 1
    with pytest.raises(RegionError, match=r"SAM found 0 masks.*lower sam\.pred_iou_thresh"):
        make(pred_iou_thresh=1.0).segment(photo)
    with pytest.raises(RegionError, match=r"none of them with at least 99\.9%"):
        make(min_area_share=0.999).segment(photo)
    every = make(max_regions=1000, duplicate_iou=1.0).segment(photo)
    apart = make(max_regions=1000, duplicate_iou=1.0, box_nms_thresh=0.3).segment(photo)
    assert 0 < len(apart) < len(every) and {r.counts for r in apart} < {r.counts for r in every}


def test_masks_are_cleaned(photo: np.ndarray) -> None:
    def pieces(regions: list[Region]) -> int:
        return sum(cv2.connectedComponents(decode(region).view(np.uint8))[0] - 1 for region in regions)

    rough = make(max_regions=1000, duplicate_iou=1.0).segment(photo)
    smooth = make(max_regions=1000, duplicate_iou=1.0, min_island_share=1.0).segment(photo)
    assert len(smooth) <= pieces(smooth) == len(smooth) < pieces(rough)
    whole = make(max_regions=1000, duplicate_iou=1.0, max_hole_share=0.0).segment(photo)
    holes = [MaskFilter(0.0, 0.0, 0.0).clean(decode(region)) is None for region in rough]
    assert 0 < len(whole) == holes.count(False) < len(rough)


def test_point_prompt_prefers_masks_that_hold_the_point(segmenter: SamSegmenter) -> None:
    photo = np.ascontiguousarray(data.chelsea()[:150, :256])
    region = segmenter.at_point(photo, 120, 40)
    assert region.name == "point 120,40"
    predictor = SamPredictor(tiny_sam())
    predictor.set_image(photo)
    masks, scores, _ = predictor.predict(
        point_coords=np.array([[120.5, 40.5]]), point_labels=np.array([1]), multimask_output=True
    )
    holding = [i for i in range(3) if masks[i, 40, 120]] or [i for i in range(3) if masks[i].any()]
    best = max(holding, key=lambda i: scores[i])
    np.testing.assert_array_equal(decode(region), masks[best])
    with pytest.raises(RegionError, match="outside"):
        segmenter.at_point(photo, 256, 0)


def test_box_prompt_stays_in_the_box(segmenter: SamSegmenter, photo: np.ndarray) -> None:
    region = segmenter.in_box(photo, (30, 20, 130, 90))
    x0, y0, x1, y1 = region.box_xyxy
    assert 30 <= x0 < x1 <= 130
    assert 20 <= y0 < y1 <= 90
    with pytest.raises(RegionError, match="inverted"):
        segmenter.in_box(photo, (130, 20, 30, 90))


def test_an_image_is_encoded_once(photo: np.ndarray) -> None:
    segmenter = make()
    calls: list[int] = []
    segmenter.model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    first = segmenter.at_point(photo, 50, 50)
    segmenter.in_box(photo, (10, 10, 60, 60))
    segmenter.segment(photo)
    assert segmenter.at_point(photo, 50, 50) == first
    assert len(calls) == 1
    segmenter.at_point(np.ascontiguousarray(photo[::-1]), 50, 50)
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_lower_precision_of_the_encoder_finds_nearly_the_same(
    segmenter: SamSegmenter, photo: np.ndarray, dtype: str
) -> None:
    low = make(dtype=dtype)
    assert next(low.model.image_encoder.parameters()).dtype == getattr(torch, dtype)
    assert next(low.model.mask_decoder.parameters()).dtype == torch.float32
    here, there = decode(segmenter.at_point(photo, 60, 60)), decode(low.at_point(photo, 60, 60))
    assert (here & there).sum() / (here | there).sum() > 0.95
    assert low.segment(photo)


def test_values_that_are_not_finite_and_a_full_device_are_errors_of_the_image(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = make(dtype="float16")
    with torch.no_grad():
        next(segmenter.model.image_encoder.neck.parameters()).fill_(60_000)
    with pytest.raises(RegionError, match=r"not finite in float16; set sam\.dtype to bfloat16"):
        segmenter.segment(photo)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    segmenter = make()
    monkeypatch.setattr(segmenter.model.image_encoder, "forward", full)
    with pytest.raises(RegionError, match=r"no memory for this image on 'cpu' \(CUDA out.*lower sam\.points_per_batch"):
        segmenter.segment(photo)


def test_checkpoint_round_trip(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sam_model_registry, "vit_b", partial(tiny_sam, 5))
    state = tiny_sam(seed=1).state_dict()
    torch.save(state, tmp_path / "sam.pth")
    save_file(state, tmp_path / "sam.safetensors")
    expected = make(seed=1).at_point(photo, 60, 60)
    for suffix in ("pth", "safetensors"):
        settings = SamSettings(checkpoint=tmp_path / f"sam.{suffix}", model_type="vit_b", cache=False)
        assert SamSegmenter(settings).at_point(photo, 60, 60) == expected
        built = build_segmenter("sam", sam=settings)
        assert isinstance(built, SamSegmenter) and built.settings is settings
    with pytest.raises(CheckpointError, match=r"width 32.*vit_b"):
        SamSegmenter(SamSettings(checkpoint=tmp_path / "sam.pth"))
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"part\.pth.*1 tensors differ.*iou_token.*missing"):
        SamSegmenter(SamSettings(checkpoint=tmp_path / "part.pth", model_type="vit_b"))


class Payload:
    """What a hostile checkpoint does when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.target, "w"))


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    torch.save({"image_encoder.pos_embed": Payload(str(target))}, tmp_path / "hostile.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload(str(target))))
    for name in ("hostile.pth", "plain.pth"):
        with pytest.raises(CheckpointError, match=f"{name}.*not loaded"):
            SamSegmenter(SamSettings(checkpoint=tmp_path / name))
    assert not target.exists()


def test_bad_checkpoints_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="none was given"):
        build_segmenter("sam")
    with pytest.raises(CheckpointError, match=r"none\.pth: no such"):
        SamSegmenter(SamSettings(checkpoint=tmp_path / "none.pth"))
    for name in ("text.pth", "text.safetensors", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"this is no checkpoint")
        with pytest.raises(CheckpointError, match=name):
            SamSegmenter(SamSettings(checkpoint=tmp_path / name))
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="got list"):
        SamSegmenter(SamSettings(checkpoint=tmp_path / "list.pth"))
    with pytest.raises(ConfigError, match="device 'warp'"):
        make(device="warp")
    with pytest.raises(ConfigError, match="min_area_share"):
        make(min_area_share=1.5)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(MissingDependencyError, match="pip install segment-anything"):
        SamSegmenter(model=torch.nn.Module())


def test_all_settings_come_from_the_build_configuration(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(
        "regions: {method: sam, sam: {checkpoint: sam.pth, dtype: bfloat16, points_per_side: 16, max_hole_share: 1}}"
    )
    sam = load_config(BuildConfig, tmp_path / "build.yaml", ["regions.sam.duplicate_iou=0.9"]).regions.sam
    assert (sam.dtype, sam.points_per_side, sam.max_hole_share, sam.duplicate_iou) == ("bfloat16", 16, 1.0, 0.9)
    wrong = ["regions.sam.point_per_side=8", "regions.sam.dtype=float15", "regions.sam.box_nms_thresh=2"]
    with pytest.raises(ConfigError) as caught:
        load_config(BuildConfig, tmp_path / "build.yaml", wrong)
    for hint in ("Did you mean 'points_per_side'", "Did you mean 'float16'", "regions.sam.box_nms_thresh: is 2"):
        assert hint in str(caught.value)


@pytest.mark.gpu
def test_device_gives_the_same_masks(photo: np.ndarray) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    here = decode(make().at_point(photo, 60, 60))
    for dtype in ("float32", "bfloat16", "float16"):
        there = make(device="cuda", dtype=dtype)
        other = decode(there.at_point(photo, 60, 60))
        assert (here & other).sum() / (here | other).sum() > (0.98 if dtype == "float32" else 0.95)
        assert len(there.segment(photo)) >= 1
