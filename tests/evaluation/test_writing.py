"""Texts that are written by turns: the same whatever the batch, counted call by call, halved where needed."""

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lengths.known import BEGIN, END, A, known_model, small_model

from textdiffusion.canvas import Canvas
from textdiffusion.errors import SettingsError
from textdiffusion.evaluation.quality.study import desk_of, room_behind
from textdiffusion.evaluation.quality.writing import Desk, Piece, even_parts, write_by_turns
from textdiffusion.generation import Decoding

WAYS = {"random": Decoding("random", 3), "sure": Decoding("threshold", settings={"threshold": 0.3})}
SEEDS = list(range(7))


def canvas(rows: int = 7, length: int = 8) -> Canvas:
    return room_behind(small_model(), [[BEGIN, A]] * rows, length)


def test_texts_do_not_hang_on_the_batch() -> None:
    desk = desk_of(small_model(), ends=False)
    whole, parts = (write_by_turns(desk, canvas(), WAYS, seeds=SEEDS, batch=batch) for batch in (7, 3))
    for name in WAYS:
        assert whole[name].ids == parts[name].ids and whole[name].calls == parts[name].calls
        assert len(whole[name].ids) == 7 and {len(ids) for ids in whole[name].ids} == {8}
        assert (len(whole[name].seconds), len(parts[name].seconds)) == (1, 3)
        assert all(seconds > 0.0 for seconds in parts[name].seconds)
    assert whole["random"].nfe == 3.0
    assert 1.0 <= whole["sure"].nfe <= 8.0


def test_calls_are_those_that_a_text_is_in() -> None:
    """Alone each text takes as many calls as it is counted in together with others."""
    desk = desk_of(small_model(), ends=False)
    together = desk.write(canvas(), WAYS["sure"], SEEDS)
    alone = [desk.write(canvas(1), WAYS["sure"], [seed]).calls[0] for seed in SEEDS]
    assert together.calls == alone


def test_ends_are_barred_or_cut_at() -> None:
    lm = known_model()
    rows = room_behind(lm, [lm.format.prompt("aa=")] * 3, 10)
    whole = desk_of(lm, ends=False).write(rows, Decoding("random"), [0, 1, 2])
    assert all(len(ids) == 10 and END not in ids for ids in whole.ids)
    ended = desk_of(lm, ends=True).write(rows, Decoding("random"), [0, 1, 2])
    assert all(END not in ids for ids in ended.ids) and min(map(len, ended.ids)) < 10


def test_batches_halve_themselves(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    desk, sizes = desk_of(small_model(), ends=False), list[int]()
    plain = write_by_turns(desk, canvas(8), WAYS, seeds=range(8), batch=8)
    write = Desk.write

    def small(self: Desk, room: Canvas, decoding: Decoding, seeds: list[int]) -> Piece:
        sizes.append(len(seeds))
        if len(seeds) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return write(self, room, decoding, seeds)

    monkeypatch.setattr(Desk, "write", small)
    with caplog.at_level(logging.WARNING):
        found = write_by_turns(desk, canvas(8), {"random": WAYS["random"]}, seeds=range(8), batch=4)
    assert found["random"].ids == plain["random"].ids
    assert "out of memory with 4 texts at once; going on with 2" in caplog.text
    assert sizes == [1, 4, 2, 2, 2, 2]  # one to warm up; the second batch of four is not tried again
    assert len(found["random"].seconds) == 2


@given(st.integers(1, 40), st.integers(1, 12))
def test_even_parts(count: int, size: int) -> None:
    parts = list(even_parts(count, size))
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) <= size and max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts) == -(-count // size)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="have 32 tokens, but small holds 24"):
        canvas(1, 30)
    lm = small_model()
    lm.model.config.shift = True
    lm.format = replace(lm.format, begin_id=None)
    with pytest.raises(SettingsError, match="--given 1 or more"):
        room_behind(lm, [[]], 4)
