"""Seagull-Tune: teach a vision-language model to judge the image quality of regions of interest."""

__version__ = "0.1.0"
