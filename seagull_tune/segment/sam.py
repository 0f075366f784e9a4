"""SAM (Kirillov et al. 2023) over the segment-anything package: automatic masks, point prompts, box prompts.

Needs a checkpoint that the user gives (``vit_b``, ``vit_l`` or ``vit_h``). An image is encoded once; the grid of points
and every prompt are decoded from that. SAM sees every image at its own input size (1024 pixels for the released ones),
and masks are made at that size at most and brought back one by one: the logits of one batch for a photograph of 24
megapixels would else take nine gigabytes.

Legend: H, W height and width of the image; h, w of the copy that masks are made for (the image, shrunk to SAM's input
size where it is larger); B points or boxes decoded together; M masks for each; C, g channels and side of the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from seagull_tune.config.regions import SamSettings
from seagull_tune.errors import MissingDependencyError, RegionError
from seagull_tune.images import image_hash
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, validate_box, validate_point
from seagull_tune.regions.masks import decode, encode, resize_mask
from seagull_tune.segment.base import by_area, check_image, check_limits
from seagull_tune.segment.mask_cleaning import MaskFilter, without_box_overlaps, without_duplicates
from seagull_tune.segment.sam_checkpoint import device_of, load_sam

MASKS_VERSION = 1
"""Raise it when other masks come out of the same image, weights and settings: kept regions are found anew then."""

STABILITY_OFFSET = 1.0
"""How far the cutoff is moved, up and down, to see whether a mask is stable (in logits; the paper's value)."""

_UPSCALED_AT_ONCE = 8  # masks; at SAM's input size one takes four megabytes as logits


@dataclass(frozen=True)
class _Embedding:
    """One encoded image.

    Attributes:
        key: hash of the image.
        features: float32 (1, C, g, g), on the model's device.
        seen: height and width of what the encoder saw, before padding.
        size: h, w.
    """

    key: str
    features: torch.Tensor
    seen: tuple[int, int]
    size: tuple[int, int]


class SamSegmenter:
    """Finds regions with SAM. Regions may overlap and need not cover the image."""

    name = "sam"

    def __init__(
        self,
        settings: SamSettings | None = None,
        min_area_share: float = 0.02,
        max_regions: int = 16,
        *,
        model: torch.nn.Module | None = None,
    ) -> None:
        """Load SAM, or take one that is loaded.

        Args:
            settings: weights, device, thresholds.
            min_area_share: smallest automatic region, as a share of the image.
            max_regions: most automatic regions of an image; the largest are kept.
            model: a ready ``segment_anything.modeling.Sam``, instead of ``settings.checkpoint``; moved to the device
                and type that the settings name.

        Raises:
            MissingDependencyError: the segment-anything package is not installed.
            CheckpointError: no checkpoint, or one that is missing, damaged, unsafe or not SAM's.
            ConfigError: a limit out of range, or a device that is not there.
        """
        self.settings = settings or SamSettings()
        check_limits(min_area_share, max_regions)
        library = _segment_anything()
        device = device_of(self.settings.device)
        if model is None:
            model = load_sam(library, self.settings.checkpoint, self.settings.model_type)
        self.model: Any = model.to(device).eval()
        self.model.image_encoder.to(getattr(torch, self.settings.dtype))
        self.min_area_share = min_area_share
        self.max_regions = max_regions
        self._filter = MaskFilter(
            self.settings.min_island_share, self.settings.fill_holes_share, self.settings.max_hole_share
        )
        self._last: _Embedding | None = None  # several prompts on one image encode it once

    def segment(self, image: np.ndarray) -> list[Region]:
        """Automatic masks, cleaned and without duplicates, largest first.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            At least one region, each of at least ``min_area_share``.

        Raises:
            DataError: not such an image.
            RegionError: SAM found none that passes the thresholds, or has no memory for the image.
        """
        height, width = check_image(image)
        found = sorted(self._grid_masks(self._embed(image)), key=lambda pair: (-pair[0], pair[1].box_xyxy))
        apart = without_box_overlaps([region for _, region in found], self.settings.box_nms_thresh)
        cleaned = self._cleaned(apart)
        # On the copy a share may be off by the pixels of the border; what is clearly too small costs nothing more.
        likely = [r for r in cleaned if r.area >= 0.9 * self.min_area_share * r.height * r.width]
        large: list[Region] = []
        for region in by_area(without_duplicates(likely, self.settings.duplicate_iou)):
            if len(large) == self.max_regions:
                break
            full = _at_full_size(region, height, width)
            if full.area >= self.min_area_share * height * width:
                large.append(full)
        if not large:
            raise RegionError(
                f"SAM found {len(found)} masks, of which {len(cleaned)} were left after cleaning, none of them with at "
                f"least {self.min_area_share:.1%} of the image; lower sam.pred_iou_thresh, sam.stability_score_thresh "
                "or min_area_share, or use the segmenter 'graph'."
            )
        return by_area(large)

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """The mask that SAM trusts most among those that hold pixel (x, y).

        Args:
            image: uint8 RGB (H, W, 3).
            x, y: the pixel.

        Raises:
            DataError: not such an image.
            RegionError: the point is outside, every mask is empty, or there is no memory for the image.
        """
        height, width = check_image(image)
        x, y = validate_point(x, y, height, width)
        embedding = self._embed(image)
        at = ((x + 0.5) / width, (y + 0.5) / height)  # the pixel's centre, as shares of the image
        low, scores = self._decode(embedding, np.array([at]))
        masks = self._masks(embedding, low[0])  # (M, h, w)
        h, w = embedding.size
        row, column = min(int(at[1] * h), h - 1), min(int(at[0] * w), w - 1)
        order = sorted(range(len(masks)), key=lambda i: (not masks[i, row, column], -float(scores[0, i]), i))
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
            RegionError: the box is inverted, outside or partly outside, or there is no memory for the image.
        """
        height, width = check_image(image)
        x0, y0, x1, y1 = box = validate_box(box_xyxy, height, width)
        embedding = self._embed(image)
        low, _ = self._decode(embedding, np.array([[x0 / width, y0 / height, x1 / width, y1 / height]]))
        mask = self._masks(embedding, low[0])[0]  # (h, w)
        name = f"box {x0},{y0},{x1},{y1}"
        if not mask.any():
            return box_region(box, height, width, name)
        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = resize_mask(mask, height, width)[y0:y1, x0:x1]
        return encode(inside, name) if inside.any() else box_region(box, height, width, name)

    def _cleaned(self, regions: Sequence[Region]) -> list[Region]:
        """The regions without islands and small holes; those that are mostly holes go. One mask in memory at a time."""
        masks = (self._filter.clean(decode(region)) for region in regions)
        return [encode(mask) for mask in masks if mask is not None]

    @torch.inference_mode()
    def _embed(self, image: np.ndarray) -> _Embedding:
        """Encode an image, once.

        Raises:
            RegionError: no memory for it, or values that are not finite.
        """
        key = image_hash(image)
        if self._last is not None and self._last.key == key:
            return self._last
        self._last = None  # frees its memory before the next one is made
        height, width = image.shape[:2]
        side = int(self.model.image_encoder.img_size)
        scale = side / max(height, width)
        seen = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        if seen != (height, width):
            image = cv2.resize(image, seen[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pixels = torch.as_tensor(image, device=self.model.device).permute(2, 0, 1)[None]  # (1, 3, h, w)
        dtype = getattr(torch, self.settings.dtype)
        with self._memory_named():
            features = self.model.image_encoder(self.model.preprocess(pixels).to(dtype)).float()
        if not bool(torch.isfinite(features).all()):
            raise RegionError(
                f"SAM's encoder gave values that are not finite in {self.settings.dtype}; set sam.dtype to bfloat16 or "
                "float32 (in float32 too, the checkpoint is damaged)."
            )
        self._last = _Embedding(key, features, seen, seen if scale < 1 else (height, width))
        return self._last

    @torch.inference_mode()
    def _decode(self, embedding: _Embedding, prompts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks for prompts, each by itself.

        Args:
            embedding: the image.
            prompts: points, float (B, 2), as x, y, or boxes, float (B, 4), as x0, y0, x1, y1; as shares of the image.

        Returns:
            Logits at the decoder's size, float32 (B, M, 4g, 4g), and how good SAM takes them to be, float32 (B, M). M
            is 3 for points (part, whole, all of it) and 1 for boxes.

        Raises:
            RegionError: no memory for them.
        """
        are_points = prompts.shape[1] == 2
        across = np.tile(embedding.seen[::-1], prompts.shape[1] // 2)
        coordinates = torch.as_tensor(prompts * across, dtype=torch.float32, device=self.model.device)
        inside = torch.ones((len(prompts), 1), dtype=torch.int, device=self.model.device)
        with self._memory_named():
            sparse, dense = self.model.prompt_encoder(
                points=(coordinates[:, None], inside) if are_points else None,
                boxes=None if are_points else coordinates,
                masks=None,
            )
            return self.model.mask_decoder(
                image_embeddings=embedding.features,
                image_pe=self.model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=are_points,
            )

    def _grid_masks(self, embedding: _Embedding) -> Iterator[tuple[float, Region]]:
        """(Predicted quality times stability, mask at h, w) of all masks of the grid that pass the thresholds."""
        n, at_once = self.settings.points_per_side, self.settings.points_per_batch
        along = (np.arange(n) + 0.5) / n
        grid = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)  # (n * n, 2), x first
        for start in range(0, len(grid), at_once):
            low, scores = (values.flatten(0, 1) for values in self._decode(embedding, grid[start : start + at_once]))
            if self.settings.pred_iou_thresh > 0.0:
                good = scores > self.settings.pred_iou_thresh
                low, scores = low[good], scores[good]
            for i in range(0, len(low), _UPSCALED_AT_ONCE):
                logits = self._upscaled(embedding, low[i : i + _UPSCALED_AT_ONCE])
                steady = self._stability(logits)
                values = (scores[i : i + _UPSCALED_AT_ONCE] * steady).tolist()
                masks = (logits > self.model.mask_threshold).cpu().numpy()
                for value, stability, mask in zip(values, steady.tolist(), masks, strict=True):
                    if mask.any() and stability >= self.settings.stability_score_thresh:
                        yield value, encode(mask)

    @torch.inference_mode()
    def _upscaled(self, embedding: _Embedding, low: torch.Tensor) -> torch.Tensor:
        """Logits float32 (M, 4g, 4g) -> (M, h, w)."""
        with self._memory_named():
            return self.model.postprocess_masks(low[None], embedding.seen, embedding.size)[0]

    def _masks(self, embedding: _Embedding, low: torch.Tensor) -> np.ndarray:
        """Logits float32 (M, 4g, 4g) -> bool (M, h, w)."""
        return (self._upscaled(embedding, low) > self.model.mask_threshold).cpu().numpy()

    def _stability(self, logits: torch.Tensor) -> torch.Tensor:
        """How little masks change with the cutoff: float32 (M,), IoU of a strict and a generous one; 0 for none."""
        cutoff = self.model.mask_threshold
        strict = (logits > cutoff + STABILITY_OFFSET).sum((-1, -2))
        generous = (logits > cutoff - STABILITY_OFFSET).sum((-1, -2))
        return strict / generous.clamp(min=1)

    @contextmanager
    def _memory_named(self) -> Iterator[None]:
        """A full device is an error of the image, so that a build goes on with the next one."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise RegionError(
                f"SAM has no memory for this image on {self.settings.device!r} ({str(error).splitlines()[0]}); lower "
                "sam.points_per_batch, set sam.dtype to bfloat16, or use another device."
            ) from error


def _at_full_size(region: Region, height: int, width: int) -> Region:
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
