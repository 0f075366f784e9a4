"""SAM (Kirillov et al. 2023) over the segment-anything package: automatic masks, point prompts, box prompts.

Needs a checkpoint that the user gives (``vit_b``, ``vit_l`` or ``vit_h``), read without pickled code. SAM sees every
image at its own input size (1024 pixels for the released ones), so larger images are scaled to that size first and the
masks are brought back: the logits of one batch for a photograph of 24 megapixels would else take nine gigabytes.

Legend: H, W height and width of the image; h, w of the copy that SAM sees.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco

from seagull_tune.errors import CheckpointError, ConfigError, MissingDependencyError, RegionError, did_you_mean
from seagull_tune.images import image_hash
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, validate_box, validate_point
from seagull_tune.regions.masks import decode, encode, from_rle, resize_mask
from seagull_tune.segment.base import by_area, check_image, check_limits

_WIDTH_TO_TYPE = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


class SamSegmenter:
    """Finds regions with SAM. Regions may overlap and need not cover the image."""

    name = "sam"

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        model_type: str | None = None,
        device: str = "cpu",
        *,
        model: torch.nn.Module | None = None,
        points_per_side: int = 32,
        points_per_batch: int = 32,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        box_nms_thresh: float = 0.7,
        duplicate_iou: float = 0.8,
        min_area_share: float = 0.02,
        max_regions: int = 16,
    ) -> None:
        """Load SAM, or take one that is loaded.

        Args:
            checkpoint: ``.pth`` or ``.safetensors`` file with SAM's weights.
            model_type: ``vit_b``, ``vit_l`` or ``vit_h``; None reads it from the weights.
            device: where it runs, for example ``cpu`` or ``cuda``.
            model: a ready ``segment_anything.modeling.Sam``, instead of ``checkpoint``.
            points_per_side: the automatic masks come from a grid of this many points squared.
            points_per_batch: points that are decoded at once (memory).
            pred_iou_thresh, stability_score_thresh: in [0, 1]; masks below are dropped.
            box_nms_thresh: masks whose boxes overlap more than this (IoU) are dropped, but for the best.
            duplicate_iou: masks that overlap more than this (IoU) are dropped, but for the best.
            min_area_share: smallest automatic region, as a share of the image.
            max_regions: most automatic regions of an image; the largest are kept.

        Raises:
            MissingDependencyError: the segment-anything package is not installed.
            CheckpointError: no checkpoint, or one that is missing, damaged, unsafe or not SAM's.
            ConfigError: a value out of range, or a device that is not there.
        """
        for key, value in (("points_per_side", points_per_side), ("points_per_batch", points_per_batch)):
            if value < 1:
                raise ConfigError(f"{key} is {value!r}; allowed: at least 1.")
        check_limits(min_area_share, max_regions)
        library = _segment_anything()
        where = _device(device)
        if model is None:
            model = _load_sam(library, checkpoint, model_type)
        self.model = model.to(where).eval()
        self.min_area_share = min_area_share
        self.max_regions = max_regions
        self.duplicate_iou = duplicate_iou
        self._predictor = library.SamPredictor(self.model)
        self._generator = library.SamAutomaticMaskGenerator(
            self.model,
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            box_nms_thresh=box_nms_thresh,
            output_mode="coco_rle",  # masks leave the device, and full-size masks are never held together
        )
        self._prompted: str | None = None  # hash of the image whose embedding the predictor holds

    def segment(self, image: np.ndarray) -> list[Region]:
        """Automatic masks without duplicates, largest first.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            At least one region, each of at least ``min_area_share``.

        Raises:
            DataError: not such an image.
            RegionError: SAM found none that passes the thresholds.
        """
        height, width = check_image(image)
        found = self._generator.generate(self._scaled(image))
        found.sort(key=lambda mask: (-mask["predicted_iou"] * mask["stability_score"], mask["bbox"]))
        kept = _without_duplicates([mask["segmentation"] for mask in found if mask["area"] > 0], self.duplicate_iou)
        regions = [self._full_size(from_rle(rle), height, width) for rle in kept]
        large = [region for region in regions if region.area >= self.min_area_share * height * width]
        if not large:
            raise RegionError(
                f"SAM found {len(found)} masks, none of them with at least {self.min_area_share:.1%} of the image; "
                "lower pred_iou_thresh, stability_score_thresh or min_area_share, or use the segmenter 'graph'."
            )
        return by_area(large)[: self.max_regions]

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """The mask that SAM trusts most among those that hold pixel (x, y).

        Args:
            image: uint8 RGB (H, W, 3).
            x, y: the pixel.

        Raises:
            DataError: not such an image.
            RegionError: the point is outside, or every mask is empty.
        """
        height, width = check_image(image)
        x, y = validate_point(x, y, height, width)
        h, w = self._embed(image)
        # Pixel centres, in the copy's pixels.
        point = np.array([[(x + 0.5) * w / width, (y + 0.5) * h / height]])
        masks, scores, _ = self._predictor.predict(
            point_coords=point, point_labels=np.array([1]), multimask_output=True
        )
        row, column = min(int(point[0, 1]), h - 1), min(int(point[0, 0]), w - 1)
        order = sorted(range(len(masks)), key=lambda i: (not masks[i, row, column], -float(scores[i]), i))
        best = next((masks[i] for i in order if masks[i].any()), None)
        if best is None:
            raise RegionError(f"SAM found nothing at the point {x},{y}; try another point, or a box.")
        return encode(resize_mask(best, height, width), f"point {x},{y}")

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        """The object that SAM sees in a box, clipped to it; where it sees nothing, the box itself.

        Args:
            image: uint8 RGB (H, W, 3).
            box_xyxy: (x0, y0, x1, y1), ends exclusive.

        Raises:
            DataError: not such an image.
            RegionError: the box is inverted, outside or partly outside.
        """
        height, width = check_image(image)
        x0, y0, x1, y1 = box = validate_box(box_xyxy, height, width)
        h, w = self._embed(image)
        prompt = np.array([x0 * w / width, y0 * h / height, x1 * w / width, y1 * h / height])
        masks, _, _ = self._predictor.predict(box=prompt, multimask_output=False)
        name = f"box {x0},{y0},{x1},{y1}"
        if not masks[0].any():
            return box_region(box, height, width, name)
        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = resize_mask(masks[0], height, width)[y0:y1, x0:x1]
        return encode(inside, name) if inside.any() else box_region(box, height, width, name)

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        """The copy of at most SAM's input size: uint8 (h, w, 3)."""
        height, width = image.shape[:2]
        side = int(self._predictor.transform.target_length)
        if max(height, width) <= side:
            return image
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _embed(self, image: np.ndarray) -> tuple[int, int]:
        """Encode an image for prompts, once. Returns h, w."""
        key = image_hash(image)
        if self._prompted != key:
            self._prompted = None
            self._predictor.set_image(self._scaled(image))
            self._prompted = key
        return self._predictor.original_size

    @staticmethod
    def _full_size(region: Region, height: int, width: int) -> Region:
        if (region.height, region.width) == (height, width):
            return region
        return encode(resize_mask(decode(region), height, width))


def _segment_anything() -> Any:
    try:
        import segment_anything
    except ImportError as error:
        raise MissingDependencyError(
            f"The segmenter 'sam' needs the package segment-anything ({error}); pip install segment-anything, "
            "or use the segmenter 'graph'."
        ) from error
    return segment_anything


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"SAM cannot run on the device {name!r}: {str(error).splitlines()[0]} Use 'cpu'.") from error
    return device


def _load_sam(library: Any, checkpoint: str | Path | None, model_type: str | None) -> torch.nn.Module:
    if checkpoint is None:
        raise CheckpointError(
            "The segmenter 'sam' needs a checkpoint (sam_vit_b, sam_vit_l or sam_vit_h, as .pth or .safetensors), and "
            "none was given; name one, or use the segmenter 'graph', which needs no weights."
        )
    state = _read_state(Path(checkpoint))
    if model_type is None:
        embedding = state.get("image_encoder.pos_embed")
        width = int(embedding.shape[-1]) if embedding is not None else 0
        if width not in _WIDTH_TO_TYPE:
            raise CheckpointError(
                f"{checkpoint}: not a SAM checkpoint: image_encoder.pos_embed has width {width or 'none'}; "
                f"allowed: {', '.join(f'{k} ({v})' for k, v in _WIDTH_TO_TYPE.items())}."
            )
        model_type = _WIDTH_TO_TYPE[width]
    if model_type not in library.sam_model_registry:
        raise ConfigError(f"Unknown SAM type {model_type!r}.{did_you_mean(model_type, _WIDTH_TO_TYPE.values())}")
    model = library.sam_model_registry[model_type]()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    seen = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted(key for key in expected.keys() | seen.keys() if expected.get(key) != seen.get(key))
    if wrong:
        key = wrong[0]
        raise CheckpointError(
            f"{checkpoint}: not a SAM {model_type} checkpoint: {len(wrong)} tensors differ, first {key!r} "
            f"(file: {seen.get(key, 'missing')}, model: {expected.get(key, 'missing')})."
        )
    model.load_state_dict(state)
    return model


def _read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """Tensors of a ``.pth`` or ``.safetensors`` file; never runs pickled code."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such SAM checkpoint. Check the path, or use the segmenter 'graph'.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: the file is damaged or holds more than tensors, and is not loaded: pickled code could run "
            f"({str(error).splitlines()[0]}). Use the released checkpoint, or one in safetensors."
        ) from error
    except Exception as error:
        # torch and safetensors raise many types for damaged files; nothing goes on from here.
        raise CheckpointError(f"{path}: damaged SAM checkpoint ({error}). Download it again.") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path}: not a SAM checkpoint: a table of tensors is needed, got {type(state).__name__}."
        )
    return state


def _without_duplicates(rles: list[Any], max_iou: float) -> list[Any]:
    """Keep a mask where no better one (earlier in the list) overlaps it by more than ``max_iou``."""
    if not rles:
        return []
    overlap = coco.iou(rles, rles, [0] * len(rles))  # (n, n)
    kept: list[int] = []
    for index in range(len(rles)):
        if not kept or overlap[index, kept].max() <= max_iou:
            kept.append(index)
    return [rles[index] for index in kept]
