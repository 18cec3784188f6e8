"""Requests that come at once: the engine against batches of the same requests, and against one after another.

python benchmarks/engine.py --clients 32 64 --rounds 3 --save docs/results/engine.md
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import tyro
from timing import machine, table, take_turns

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.evaluation.batches import TOKENS_AT_ONCE, in_batches
from textdiffusion.language_model import DiffusionLM, Generation, Task
from textdiffusion.serving import Engine, Limits, Metrics

PROMPTS = ("Once upon a time", "The little dog", "One day a girl named Lily went to the park and", "Tom")
OFFLINE, ENGINE = "in batches, offline", "engine"


def main(
    model: str = "starter",
    clients: Sequence[int] = (32, 64),
    shortest: int = 16,
    longest: int = 128,
    steps: int = 16,
    sampler: str = "ancestral",
    rounds: int = 3,
    device: str = "cpu",
    save: Path | None = None,
) -> None:
    """Texts of `shortest` to `longest` new tokens, evenly spread, all of them submitted at once.

    Offline they are sorted by length and batched as the evaluations do, which no server can, as it would have
    to know all requests beforehand. Ratios are within a round.
    """
    lm = td.load(model, device=device)
    parts = [
        f"# Requests at once: {model}, {shortest} to {longest} new tokens, {steps} steps, {sampler}",
        f"{machine(lm.model.device)}; {rounds} rounds in turn after a warm-up.",
        f"Command: `python benchmarks/engine.py --model {model} --clients {' '.join(map(str, clients))} "
        f"--shortest {shortest} --longest {longest} --steps {steps} --sampler {sampler} --rounds {rounds} "
        f"--device {device}`",
    ]
    for number in clients:
        span = longest - shortest
        lengths = [shortest + span * (7 * i % number) // max(1, number - 1) for i in range(number)]
        orders = [_task(lm, [i], lengths, steps, sampler) for i in range(number)]
        seen: dict[str, Metrics] = {}
        expected = [text.text for order in orders for text in _written(lm, order)]
        costs = take_turns(
            {
                OFFLINE: lambda lengths=lengths: _offline(lm, lengths, steps, sampler),
                ENGINE: _served(lm, orders, "padded", seen),
                "engine, fixed shapes": _served(lm, orders, "fixed", seen),
                "one after another": lambda orders=orders: [_written(lm, order) for order in orders],
            },
            rounds,
            sum(lengths),
        )
        found = _served(lm, orders, "padded", seen)()
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        shown = seen["padded"]
        parts += [
            f"## {number} clients",
            table(costs, OFFLINE, "tokens"),
            f"{same} of {number} texts of the engine are their solo texts; {shown.passes} passes, "
            f"{shown.padding_share:.0%} padding; half of the requests took {shown.took.p50:.2f} s or less, "
            f"95 of 100 took {shown.took.p95:.2f} s or less.",
        ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


def _task(lm: DiffusionLM, rows: Sequence[int], lengths: Sequence[int], steps: int, sampler: str) -> Task:
    """The requests of these numbers as one task; each has its own seed."""
    prompts = tuple(PROMPTS[row % len(PROMPTS)] for row in rows)
    ids = [lm.format.prompt(prompt) for prompt in prompts]
    canvas = Canvas.from_prompts(ids, [lengths[row] for row in rows], pad_id=lm.format.pad_id)
    decoding = lm.decoding(None, {"steps": steps, "sampler": sampler})
    return Task(canvas, decoding, tuple(rows), prompts, inside=False)


def _written(lm: DiffusionLM, order: Task) -> list[Generation]:
    return lm.results(order, list(lm.stream(order)))


def _offline(lm: DiffusionLM, lengths: Sequence[int], steps: int, sampler: str) -> list[str]:
    def write(rows: Sequence[int]) -> list[str]:
        return [text.text for text in _written(lm, _task(lm, rows, lengths, steps, sampler))]

    return in_batches(write, lengths, TOKENS_AT_ONCE)


def _served(
    lm: DiffusionLM, orders: Sequence[Task], merging: str, seen: dict[str, Metrics]
) -> Callable[[], list[str]]:
    def run() -> list[str]:
        limits = Limits(running=len(orders), tokens_per_pass=TOKENS_AT_ONCE)
        with Engine(lm, limits, merging=merging) as engine:
            handles = [engine.submit(order) for order in orders]
        seen[merging] = engine.metrics()
        return [handle.result()[0].text for handle in handles]

    return run


if __name__ == "__main__":
    tyro.cli(main)
