"""How large a data set is, split by split."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from seagull_tune.config.data import SPLITS


@dataclass(frozen=True)
class SplitSize:
    """What one split holds: scenes, images (photographs or tiles), their regions, and samples."""

    scenes: int
    images: int
    regions: int
    samples: int


def split_sizes(images: pa.Table, samples: pa.Table) -> dict[str, SplitSize]:
    """Sizes by split, in the order of ``SPLITS``, those that are there.

    Args:
        images, samples: the tables of a data set.
    """
    per_image: dict[str, int] = {
        entry["values"]: entry["counts"] for entry in pc.value_counts(samples["image_id"]).to_pylist()
    }
    regions = pc.list_value_length(images["regions"]).to_pylist()
    names, scenes, ids = (images[column].to_pylist() for column in ("split", "scene_id", "image_id"))
    found: dict[str, SplitSize] = {}
    for split in SPLITS:
        mine = [row for row, name in enumerate(names) if name == split]
        if mine:
            found[split] = SplitSize(
                scenes=len({scenes[row] for row in mine}),
                images=len(mine),
                regions=sum(regions[row] for row in mine),
                samples=sum(per_image.get(ids[row], 0) for row in mine),
            )
    return found
