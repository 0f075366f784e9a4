"""The ROI model: vision tower, mask-based feature extractor, projector, splice, language model with LoRA."""
