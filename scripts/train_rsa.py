#!/usr/bin/env python
"""Train a scorer of whole images on opinion scores.

``accelerate launch scripts/train_rsa.py --config configs/rsa/agiqa3k.yaml --set data.file=mos.csv``.
"""

from seagull_tune.rsa.launch import main

if __name__ == "__main__":
    main()
