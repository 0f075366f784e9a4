"""``python -m seagull_tune.cli``."""

from seagull_tune.cli import main

if __name__ == "__main__":
    main()
