"""Whole-image quality that listens to its regions: Region-aware Semantic Attention (RSA) and its scorer."""
