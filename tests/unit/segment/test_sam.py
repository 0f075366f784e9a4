"""SAM through the real code path, with a tiny randomly initialised model; and its checkpoints."""

from __future__ import annotations

import pickle
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from skimage import data

from seagull_tune.errors import CheckpointError, ConfigError, MissingDependencyError, RegionError
from seagull_tune.regions.masks import decode, decode_all
from seagull_tune.segment import build_segmenter
from seagull_tune.segment.base import Segmenter
from seagull_tune.segment.sam import SamSegmenter, _without_duplicates

SIDE = 256
OPEN: dict[str, Any] = {
    "points_per_side": 4, "points_per_batch": 8, "pred_iou_thresh": -1e9, "stability_score_thresh": 0.0,
    "box_nms_thresh": 1.0, "min_area_share": 0.0,
}  # fmt: skip


def tiny_sam(seed: int = 0) -> Sam:
    torch.manual_seed(seed)
    width, grid = 32, SIDE // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=2, embed_dim=width, img_size=SIDE, mlp_ratio=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2, patch_size=16, qkv_bias=True, use_rel_pos=True, global_attn_indexes=(1,), window_size=7,
            out_chans=width,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=width, image_embedding_size=(grid, grid), input_image_size=(SIDE, SIDE), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3, transformer_dim=width, iou_head_depth=2, iou_head_hidden_dim=16,
            transformer=TwoWayTransformer(depth=1, embedding_dim=width, mlp_dim=32, num_heads=2),
        ),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(model=tiny_sam(), **OPEN)


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
            assert (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum() <= segmenter.duplicate_iou + 1e-9
    assert segmenter.segment(photo) == regions


def test_large_images_come_back_at_full_size(segmenter: SamSegmenter) -> None:
    image = data.astronaut()  # twice the model's input
    regions = segmenter.segment(image)
    assert {(r.height, r.width) for r in regions} == {(512, 512)}
    for region in (segmenter.at_point(image, 511, 0), segmenter.in_box(image, (100, 50, 400, 500))):
        assert (region.height, region.width) == (512, 512)


def test_thresholds_and_limits(photo: np.ndarray) -> None:
    model = tiny_sam()
    few = SamSegmenter(model=model, **{**OPEN, "max_regions": 1}).segment(photo)
    assert len(few) == 1
    with pytest.raises(RegionError, match=r"SAM found 0 masks.*lower"):
        SamSegmenter(model=model, **{**OPEN, "pred_iou_thresh": 1e9}).segment(photo)


def test_point_prompt_prefers_masks_that_hold_the_point(segmenter: SamSegmenter, photo: np.ndarray) -> None:
    region = segmenter.at_point(photo, 120, 40)
    assert region.name == "point 120,40"
    masks, scores, _ = segmenter._predictor.predict(
        point_coords=np.array([[120.5, 40.5]]), point_labels=np.array([1]), multimask_output=True
    )
    holding = [i for i in range(3) if masks[i, 40, 120]] or [i for i in range(3) if masks[i].any()]
    best = max(holding, key=lambda i: scores[i])
    np.testing.assert_array_equal(decode(region), masks[best])
    with pytest.raises(RegionError, match="outside"):
        segmenter.at_point(photo, 220, 0)


def test_box_prompt_stays_in_the_box(segmenter: SamSegmenter, photo: np.ndarray) -> None:
    region = segmenter.in_box(photo, (30, 20, 130, 90))
    x0, y0, x1, y1 = region.box_xyxy
    assert 30 <= x0 < x1 <= 130
    assert 20 <= y0 < y1 <= 90
    with pytest.raises(RegionError, match="inverted"):
        segmenter.in_box(photo, (130, 20, 30, 90))


def test_image_is_encoded_once_for_many_prompts(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = SamSegmenter(model=tiny_sam(), **OPEN)
    calls: list[int] = []
    encode_image = segmenter._predictor.set_image

    def counted(image: np.ndarray) -> None:
        calls.append(1)
        encode_image(image)

    monkeypatch.setattr(segmenter._predictor, "set_image", counted)
    first = segmenter.at_point(photo, 50, 50)
    segmenter.in_box(photo, (10, 10, 60, 60))
    segmenter.segment(photo)
    assert segmenter.at_point(photo, 50, 50) == first
    assert len(calls) == 1
    segmenter.at_point(np.ascontiguousarray(photo[::-1]), 50, 50)
    assert len(calls) == 2


def test_duplicates_go_and_the_better_stays() -> None:
    from pycocotools import mask as coco

    a, b, c = (np.zeros((20, 20), np.uint8, order="F") for _ in range(3))
    a[:10], b[:10, :19], c[5:20] = 1, 1, 1
    rles = [coco.encode(m) for m in (a, b, c)]
    assert _without_duplicates(rles, 0.8) == [rles[0], rles[2]]
    assert _without_duplicates(rles, 0.96) == rles
    assert _without_duplicates([], 0.5) == []


def test_checkpoint_round_trip(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sam_model_registry, "vit_b", partial(tiny_sam, 5))
    state = tiny_sam(seed=1).state_dict()
    torch.save(state, tmp_path / "sam.pth")
    save_file(state, tmp_path / "sam.safetensors")
    expected = SamSegmenter(model=tiny_sam(seed=1), **OPEN).at_point(photo, 60, 60)
    for suffix in ("pth", "safetensors"):
        loaded = SamSegmenter(tmp_path / f"sam.{suffix}", "vit_b", **OPEN)
        assert loaded.at_point(photo, 60, 60) == expected
    assert build_segmenter("sam", tmp_path / "sam.pth", "vit_b").name == "sam"
    with pytest.raises(CheckpointError, match=r"width 32.*vit_b"):
        SamSegmenter(tmp_path / "sam.pth")
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"part\.pth.*1 tensors differ.*iou_token.*missing"):
        SamSegmenter(tmp_path / "part.pth", "vit_b")


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
            SamSegmenter(tmp_path / name)
    assert not target.exists()


def test_bad_checkpoints_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: no such"):
        SamSegmenter(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"this is no checkpoint")
        with pytest.raises(CheckpointError, match=name):
            SamSegmenter(tmp_path / name)
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="got list"):
        SamSegmenter(tmp_path / "list.pth")
    torch.save(tiny_sam().state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(ConfigError, match="Did you mean 'vit_b'"):
        SamSegmenter(tmp_path / "tiny.pth", "vitb")
    with pytest.raises(ConfigError, match="device 'warp'"):
        SamSegmenter(model=tiny_sam(), device="warp")
    with pytest.raises(ConfigError, match="points_per_side"):
        SamSegmenter(model=tiny_sam(), points_per_side=0)
    with pytest.raises(ConfigError, match="min_area_share"):
        SamSegmenter(model=tiny_sam(), min_area_share=1.5)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(MissingDependencyError, match="pip install segment-anything"):
        SamSegmenter(model=tiny_sam())


@pytest.mark.gpu
def test_device_gives_the_same_masks(photo: np.ndarray) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = tiny_sam()
    here = SamSegmenter(model=model, **OPEN).at_point(photo, 60, 60)
    there = SamSegmenter(model=model, device="cuda", **OPEN)
    other = there.at_point(photo, 60, 60)
    overlap = (decode(here) & decode(other)).sum() / (decode(here) | decode(other)).sum()
    assert overlap > 0.98
    assert len(there.segment(photo)) >= 1
