"""Builds ROI data sets: photographs -> regions -> distortion recipes -> labels -> shards."""
