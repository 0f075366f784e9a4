#!/usr/bin/env python
"""Stage 2: teach the language model to answer.

``accelerate launch scripts/finetune.py --config configs/embedded/finetune.yaml``.
"""

from seagull_tune.tune.launch import main

if __name__ == "__main__":
    main("finetune")
