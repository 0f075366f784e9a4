"""Tuning the ROI model: its losses, its training samples, and the recipes of both stages."""
