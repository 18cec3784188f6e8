"""Fair timing: the contestants take turns, and only ratios within one run are told."""

import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from textdiffusion.evaluation.speed import race


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each contestant in each round; one round before them warms up and is not counted."""

    def untold(run: Callable[[], object]) -> Callable[[], tuple[int, int]]:
        def write() -> tuple[int, int]:
            run()
            return 0, 0

        return write

    costs = race({name: untold(run) for name, run in contestants.items()}, rounds)
    return {name: list(cost.seconds) for name, cost in costs.items()}


def table(seconds: Mapping[str, list[float]], against: str, work: float, unit: str) -> str:
    """A Markdown table: median seconds, spread, rate in `unit` per second, and speed relative to `against`.

    The ratio is the median over rounds of the ratio within the round, so that a slow spell hits both sides.
    """
    lines = [f"| | median s | min-max s | {unit}/s | speed |", "|---|---|---|---|---|"]
    for name, runs in seconds.items():
        ratio = statistics.median(base / own for base, own in zip(seconds[against], runs, strict=True))
        middle = statistics.median(runs)
        spread = f"{min(runs):.2f}-{max(runs):.2f}"
        lines.append(f"| {name} | {middle:.2f} | {spread} | {work / middle:,.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def machine() -> str:
    """The hardware and versions in one line."""
    name = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        found = [
            line.split(":")[1].strip() for line in listing.read_text().splitlines() if "model name" in line
        ]
        name = found[0] if found else name
    import transformers

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{name}, {torch.get_num_threads()} threads, {versions}"
