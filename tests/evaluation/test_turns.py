"""Who writes when, and which run stands for all."""

from collections.abc import Iterator

import pytest
import torch

from textdiffusion.evaluation.turns import first_settled, middle, seconds_of, take_turns
from textdiffusion.generation import Frame


def frame(seconds: float, settled: list[bool]) -> Frame:
    row = torch.tensor([settled])
    nothing = torch.full(row.shape, torch.nan)
    return Frame(0, 1, row.long(), row, nothing, row, nfe=0, seconds=seconds, read=torch.tensor([0]))


def test_all_write_in_every_round_and_the_first_is_thrown_away() -> None:
    order: list[str] = []

    def writer(name: str) -> Iterator[Frame]:
        order.append(name)
        yield frame(0.0, [False])
        yield frame(float(len(order)), [True])

    found = take_turns([lambda: writer("a"), lambda: writer("b")], rounds=2)
    assert order == ["a", "b"] * 3
    assert [[seconds_of(run) for run in runs] for runs in found] == [[3.0, 5.0], [4.0, 6.0]]
    assert all(len(run) == 2 for runs in found for run in runs)


@pytest.mark.parametrize(
    ("seconds", "expected"), [([5.0], 5.0), ([9.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 2.0)]
)
def test_the_middle_run_is_one_that_was_run(seconds: list[float], expected: float) -> None:
    assert seconds_of(middle([[frame(each, [True])] for each in seconds])) == expected


def test_the_first_token_is_that_of_the_text_not_of_the_prompt() -> None:
    prompt = [True, False, False]
    run = [frame(0.0, prompt), frame(0.2, prompt), frame(0.3, [True, False, True]), frame(0.4, [True] * 3)]
    assert first_settled(run) == 0.3
    assert first_settled(run[:2]) is None
