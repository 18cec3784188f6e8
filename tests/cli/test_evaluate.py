"""`textdiffusion evaluate speed`: who took how long, and what an approximate cache got wrong."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from textdiffusion.cli.main import main
from textdiffusion.evaluation.memory import weighed
from textdiffusion.evaluation.speed import Cost, Work, race


def test_speed_of_the_bundled_model(capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--prompt Once --length 8 --steps 8 --rounds 2 --block-size 4 --samplers random threshold "
        "--caches none dual"
    )
    assert main(["evaluate", "speed", *flags.split(), "--baseline", "starter", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(rows) == ["random", "threshold", "cache none", "cache dual", "starter"]
    assert rows["random"]["nfe"] == 8
    assert rows["random"]["speed"] == 1.0
    assert rows["threshold"]["nfe"] <= 8
    assert abs(rows["cache none"]["cache_error"]) < 1e-4
    assert abs(rows["cache dual"]["cache_error"]) > 1e-3
    assert rows["starter"]["cache_error"] is None
    for row in rows.values():
        assert row["fastest"] <= row["seconds"] <= row["slowest"]
        assert row["peak_megabytes"] is None or 0 <= row["peak_megabytes"] < 1000
        assert 0.0 < row["first_token_seconds"] <= row["slowest"]
        assert row["seconds_per_1000_tokens"] == pytest.approx(1000 / row["tokens_per_second"], rel=0.05)


def test_table_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = f"--length 4 --rounds 1 --samplers random entropy --save {tmp_path / 'speed.png'}"
    assert main(["evaluate", "speed", *flags.split()]) == 0
    with Image.open(tmp_path / "speed.png") as picture:
        assert picture.width > 1000
    shown = capsys.readouterr().out
    assert "random" in shown and "tokens/s" in shown and "1 rounds" in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--rounds 0", "rounds is 0"),
        ("--samplers randm", "Did you mean random"),
        ("--caches dul", "Did you mean dual"),
        ("--caches exact --rounds 1", "trained block by block"),
        ("--steps 0", "steps is 0"),
        ("--threads 0", "threads is 0"),
        ("--save speed.txt", "must end in .png"),
    ],
)
def test_wrong_races(flags: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "speed", *flags.split()]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_contestants_take_turns_and_the_warm_up_is_not_counted() -> None:
    order: list[str] = []

    def named(name: str) -> Work:
        order.append(name)
        return Work(10, 3, len(order) / 10 if name == "a" else None)

    found = race({"a": lambda: named("a"), "b": lambda: named("b")}, rounds=2)
    assert found["a"].first_settled == pytest.approx(0.4)  # the middle of .3 and .5
    assert found["b"].first_settled is None
    assert order == ["a", "b"] * 3
    assert all(len(cost.seconds) == 2 and cost.nfe == 3 for cost in found.values())
    slow, fast = Cost([2.0, 3.0, 40.0], 10, 3, None), Cost([1.0, 1.0, 10.0], 10, 3, None)
    assert fast.speed_against(slow) == 3.0
    assert slow.tokens_per_second == 10 / 3.0


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process"
)
def test_memory_is_that_of_the_work_alone() -> None:
    big, small = (
        lambda: float(torch.ones(25_000_000).sum()),  # 100 MB
        lambda: float(torch.ones(2_500_000).sum()),
    )
    cpu = torch.device("cpu")
    assert weighed(big, cpu)[0] == 25e6
    for work, megabytes in ((big, 100), (small, 10), (big, 100)):
        found = weighed(work, cpu)[1]
        assert found is not None and 0.7 * megabytes < found < 1.6 * megabytes + 5


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    flags = "--threads 1 --length 2 --rounds 1 --samplers random --json"
    assert main(["evaluate", "speed", *flags.split()]) == 0
    assert asked == [1]
