"""The masked full-reference measure: one similarity map per image pair, pooled under every mask in one pass."""

from seagull_tune.fullref.measure import (
    MEASURE_VERSION,
    Reference,
    RegionMeasures,
    SimilarityMap,
    label_regions,
    similarity_map,
)

__all__ = [
    "MEASURE_VERSION",
    "Reference",
    "RegionMeasures",
    "SimilarityMap",
    "label_regions",
    "similarity_map",
]
