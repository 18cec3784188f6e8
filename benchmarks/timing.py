"""Fair timing: the contestants take turns, and only ratios within one run are told."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from textdiffusion.evaluation.speed import CPU, Cost, Work, race


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int, work: int) -> dict[str, Cost]:
    """What each contestant needs for `work` units; one round before the others warms up and is not counted.

    A contestant made by `counting` tells its network calls too.
    """

    def told(run: Callable[[], object]) -> Callable[[], Work]:
        def write() -> Work:
            found = run()
            return Work(work, found.calls if isinstance(found, Counted) else 0)

        return write

    return race({name: told(run) for name, run in contestants.items()}, rounds)


@dataclass(frozen=True)
class Counted:
    """What a contestant wrote, and how often its network was called for it."""

    result: Any
    calls: int


def counting(network: nn.Module, run: Callable[[], object]) -> Callable[[], Counted]:
    """The same contestant with the calls of the network's body counted."""

    def write() -> Counted:
        calls: list[int] = []
        handle = network.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
        try:
            result = run()
            wait_for(next(network.parameters()).device)
            return Counted(result, len(calls))
        finally:
            handle.remove()

    return write


def table(costs: Mapping[str, Cost], against: str, unit: str) -> str:
    """A Markdown table: median seconds, spread, rate in `unit` per second, calls, memory, speed.

    The ratio is the median over rounds of the ratio within the round, so that a slow spell hits both sides.
    """
    lines = [
        f"| | median s | min-max s | {unit}/s | calls | peak MB | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        spread = f"{min(cost.seconds):.2f}-{max(cost.seconds):.2f}"
        memory = "" if cost.megabytes is None else f"{cost.megabytes:.0f}"
        lines.append(
            f"| {name} | {cost.median:.2f} | {spread} | {cost.tokens_per_second:,.0f} | {cost.nfe or ''} "
            f"| {memory} | {cost.speed_against(costs[against]):.2f} |"
        )
    return "\n".join(lines)


def wait_for(device: torch.device) -> None:
    """Until what a GPU was told to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device = CPU) -> str:
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
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{name}, {torch.get_num_threads()} threads, {versions}"
