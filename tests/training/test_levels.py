"""Losses by noise level and what they say."""

import pytest
import torch

from textdiffusion.objectives import Scores
from textdiffusion.training.levels import LevelMeter, diagnose


def scores(rate: list[float]) -> Scores:
    """Two tokens a row of 1 and 3 nats; the first one asked and right, the second asked in even rows."""
    rows = len(rate)
    asked = torch.tensor([[True, number % 2 == 0] for number in range(rows)])
    nats = torch.tensor([[1.0, 3.0]]).expand(rows, 2) * asked
    correct = torch.tensor([[True, False]]).expand(rows, 2)
    return Scores(2 * nats, nats, asked, correct, torch.tensor(rate))


def meter(rate: list[float]) -> LevelMeter:
    found = LevelMeter()
    found.add(LevelMeter.rows(scores(rate), torch.ones(len(rate), 4, dtype=torch.bool)))
    return found


def test_sums_go_to_the_nearest_level_and_bucket() -> None:
    found = meter([0.1, 0.14, 0.52, 1.0, 0.0])
    assert found.losses() == {10: (4 + 1 + 4) / 5, 50: 2.0, 100: 1.0}
    report = found.report()
    assert report["loss_at_50"] == 2.0
    assert report["accuracy_to_25"] == pytest.approx(3 / 5)
    assert report["accuracy_to_75"] == 0.5
    assert report["accuracy_to_100"] == 1.0
    assert "accuracy_to_50" not in report
    assert report["accuracy"] == pytest.approx(5 / 8)
    assert report["masked_share"] == pytest.approx(8 / 20)
    assert found.mean_loss == pytest.approx(2 * (4 + 1 + 4 + 1 + 4) / 20)


def test_numbers_add_up_and_come_back_to_the_last_bit() -> None:
    one, two = meter([0.3, 0.9]), meter([0.7])
    both = LevelMeter.of_numbers((one.numbers() + two.numbers()).tolist())
    one.add(LevelMeter.rows(scores([0.7]), torch.ones(1, 4, dtype=torch.bool)))
    assert both.losses() == one.losses()
    assert both.report() == one.report()
    assert torch.equal(LevelMeter.of_numbers(one.numbers().tolist()).numbers(), one.numbers())
    assert LevelMeter().losses() == LevelMeter().report() == {}


def test_each_block_counts_at_its_own_level() -> None:
    """Two blocks of a row, the first masked to a fifth and the second whole."""
    both = torch.tensor([[True, True]])
    nats = torch.tensor([[1.0, 3.0]])
    found = LevelMeter()
    found.add(LevelMeter.rows(Scores(nats, nats, both, both, torch.tensor([[0.2, 1.0]])), both))
    assert found.losses() == {20: 1.0, 100: 3.0}
    assert found.mean_loss == 2.0


def curve(start: float, end: float, level: int, at: int, of: int) -> float:
    top = start + (end - start) * at / (of - 1)
    return top * (0.4 + 0.6 * level / 100)


HEALTHY = [{level: curve(6.0, 4.0, level, at, 9) for level in range(10, 101, 10)} for at in range(9)]


def changed(**at: dict[int, float]) -> list[dict[int, float]]:
    return [{**reading, **at.get(f"n{number}", {})} for number, reading in enumerate(HEALTHY)]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (
            [{level: 5.0 * (0.4 + level / 200) for level in (10, 50, 100)}] * 6,
            "does not fall at 10 %, 50 %, 100 %",
        ),
        (changed(**{f"n{n}": {30: 9.0 - n / 4} for n in range(9)}), "30 % masked is harder than 100 %"),
        (changed(n5={50: 9.0}), "jumps from"),
        (
            [{level: 6.0 - at / 4 for level in (10, 50, 100)} for at in range(6)],
            "learnt token frequencies only",
        ),
        (HEALTHY[:2], "too few reports"),
        ([{}] * 9, "too few reports"),
    ],
)
def test_each_sickness_has_its_sentence(history: list[dict[int, float]], said: str) -> None:
    (sentence,) = diagnose(history)
    assert said in sentence


def test_a_healthy_run_is_let_be() -> None:
    assert diagnose(HEALTHY) == []
    assert diagnose([{}, *HEALTHY, {}]) == []
