"""Flags that several benchmarks share."""

import argparse


def parser(claim: str, rounds: int) -> argparse.ArgumentParser:
    """A parser that knows `--rounds`, `--threads`, `--size` and `--json`."""
    made = argparse.ArgumentParser(description=claim, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"timed repetitions; the median counts ({rounds})")
    made.add_argument("--threads", type=int, default=1, help="threads of each piece of work (1)")
    made.add_argument("--size", type=int, default=96, help="edge of a patch in pixels (96)")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def numbers(text: str) -> list[int]:
    """Read `32,64,96`."""
    return [int(part) for part in text.split(",")]
