"""Rows hold every token once and in order; shards hold every document once."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from textdiffusion.data import streaming
from textdiffusion.data.packing import ARRANGEMENTS, TokenRows, pack_blocks, truncated_rows, window_rows
from textdiffusion.data.streaming import StreamedRows, shuffled
from textdiffusion.errors import DataError, SettingsError

streams = st.lists(st.lists(st.integers(0, 99), max_size=12), max_size=8)
lengths = st.integers(1, 15)


def encode(texts: list[str]) -> list[list[int]]:
    """Begin, the characters, end."""
    return [[1, *map(ord, text), 2] for text in texts]


def flat(rows: Sequence[Sequence[int]]) -> list[int]:
    return [token for row in rows for token in row]


@given(streams, lengths)
def test_blocks(documents: list[list[int]], length: int) -> None:
    rows = list(pack_blocks(iter(documents), length))
    assert flat(rows) == flat(documents)
    assert all(len(row) == length for row in rows[:-1]) and all(0 < len(row) <= length for row in rows)


@given(streams, lengths)
def test_windows(documents: list[list[int]], length: int) -> None:
    rows = list(window_rows(iter(documents), length))
    assert flat(rows) == flat(documents)
    assert len(rows) == sum(-(-len(document) // length) for document in documents)


@given(streams, lengths)
def test_truncated(documents: list[list[int]], length: int) -> None:
    assert list(truncated_rows(iter(documents), length)) == [row[:length] for row in documents if row]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_length_must_be_positive(name: str) -> None:
    with pytest.raises(SettingsError, match="1 or more"):
        next(ARRANGEMENTS[name]([[1]], 0))


def test_blocks_come_as_soon_as_they_are_full() -> None:
    def endless() -> Iterator[list[int]]:
        while True:
            yield [1, 2, 3]

    rows = pack_blocks(endless(), 4)
    assert [next(rows), next(rows)] == [[1, 2, 3, 1], [2, 3, 1, 2]]


@given(st.lists(st.text("abc", max_size=9), min_size=1, max_size=150), lengths)
def test_token_rows(texts: list[str], length: int) -> None:
    told: list[tuple[int, int]] = []

    def progress(documents: int, tokens: int) -> None:
        told.append((documents, tokens))

    rows = TokenRows.build(texts, encode, arrange=pack_blocks, length=length, progress=progress)
    tokens = flat(encode(texts))
    assert [list(rows[index]["input_ids"]) for index in range(len(rows))] == list(
        pack_blocks(encode(texts), length)
    )
    assert rows.tokens.dtype == np.int32 and told[-1] == (len(texts), len(tokens))
    assert rows[-1] == rows[len(rows) - 1] and type(rows[0]["input_ids"][0]) is int
    for index in (len(rows), -len(rows) - 1):
        with pytest.raises(IndexError):
            rows[index]


def test_no_tokens() -> None:
    with pytest.raises(DataError, match="no tokens"):
        TokenRows.build([""], lambda texts: [[] for _ in texts], arrange=window_rows, length=4)


TEXTS = [chr(97 + number) * (number % 7 + 1) for number in range(26)]


def streamed(**options: int) -> StreamedRows:
    return StreamedRows(TEXTS, encode, window_rows, **{"length": 99, "seed": 3, **options})


def ids(rows: StreamedRows) -> list[list[int]]:
    return [row["input_ids"] for row in rows]


@given(st.integers(1, 5), st.integers(1, 40))
def test_every_rank_has_its_own_documents(ranks: int, shuffle_buffer: int) -> None:
    dealt = [ids(streamed(rank=rank, ranks=ranks, shuffle_buffer=shuffle_buffer)) for rank in range(ranks)]
    assert sorted(row for rows in dealt for row in rows) == sorted(encode(TEXTS))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_loader_workers_share_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    dealt = []
    for worker in range(2):
        place = SimpleNamespace(id=worker, num_workers=2)
        monkeypatch.setattr(streaming, "get_worker_info", lambda place=place: place)
        dealt += ids(streamed(rank=1, ranks=2))
    assert sorted(dealt) == sorted(encode(TEXTS[2::4] + TEXTS[3::4]))


def test_a_loader_reads_the_rows() -> None:
    loader = DataLoader(streamed(shuffle_buffer=1), batch_size=None)
    assert [row["input_ids"] for row in loader] == encode(TEXTS)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    rows = streamed(shuffle_buffer=9)
    first = ids(rows)
    assert first == ids(rows) == ids(streamed(shuffle_buffer=9)) != ids(streamed(shuffle_buffer=9, seed=4))
    rows.set_epoch(1)
    assert sorted(ids(rows)) == sorted(first) and ids(rows) != first
    assert ids(streamed(shuffle_buffer=1)) == encode(TEXTS)


@given(st.integers(0, 30), st.integers(1, 30))
def test_resumed(skip: int, shuffle_buffer: int) -> None:
    rows = streamed(shuffle_buffer=shuffle_buffer)
    rows.set_epoch(2)
    assert ids(rows.resumed(skip)) == ids(rows)[skip:]


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 9))
def test_shuffled_keeps_every_row_once(count: int, size: int, seed: int) -> None:
    rows = [[number] for number in range(count)]
    assert sorted(shuffled(rows, size, np.random.default_rng(seed))) == rows


def test_shuffled_is_even() -> None:
    generator = np.random.default_rng(0)
    firsts = [next(shuffled([[0], [1], [2], [3]], 3, generator))[0] for _ in range(3000)]
    assert np.bincount(firsts, minlength=4) == pytest.approx([1000, 1000, 1000, 0], abs=100)


@pytest.mark.parametrize("options", [{"rank": 1}, {"rank": -1}, {"shuffle_buffer": 0}, {"skip": -1}])
def test_settings_that_cannot_work(options: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        streamed(**options)
