#!/usr/bin/env python
"""Stage 1: shape the region tokens.

``accelerate launch scripts/pretrain.py --config configs/embedded/pretrain.yaml``.
"""

from seagull_tune.tune.launch import main

if __name__ == "__main__":
    main("pretrain")
