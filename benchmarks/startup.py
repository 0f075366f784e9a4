"""Start-up times, best of several runs: ``import seagull_tune`` and ``seagull-tune --help``.

    python benchmarks/startup.py [--runs 7]

Prints a table of milliseconds, beside what the interpreter itself takes. The targets are 100 ms and 500 ms.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

CASES = {
    "python (nothing)": ["-c", ""],
    "import seagull_tune": ["-c", "import seagull_tune"],
    "import seagull_tune.config": ["-c", "import seagull_tune.config"],
    "seagull-tune --help": ["-m", "seagull_tune.cli", "--help"],
    "seagull-tune assess --help": ["-m", "seagull_tune.cli", "assess", "--help"],
}


def best_ms(arguments: list[str], runs: int) -> float:
    """Shortest wall time of a fresh interpreter, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    bare = best_ms(CASES["python (nothing)"], runs)
    print(f"{'what':32s} {'ms':>7s} {'above python':>13s}")
    for name, arguments in CASES.items():
        ms = best_ms(arguments, runs)
        print(f"{name:32s} {ms:7.0f} {ms - bare:13.0f}")


if __name__ == "__main__":
    main()
