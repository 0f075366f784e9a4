"""Labels -> conversations -> token ids with exactly known trained spans and value slots; texts are in ``prompts/``."""
