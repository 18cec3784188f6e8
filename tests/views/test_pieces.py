"""Pieces of a text: whatever the tokenizer, they join to what it decodes."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel

from textdiffusion.views.pieces import split_pieces

WORDS = [
    "the",
    "cat",
    "sat",
    "##ting",
    "un",
    "##der",
    "don",
    "'",
    "t",
    "s",
    ",",
    ".",
    "!",
    "n't",
    "鱼",
    "[CLS]",
]
BYTES = sorted(ByteLevel.alphabet())


def wordpiece() -> Tokenizer:
    vocab = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[CLS]"))
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    tokenizer.add_special_tokens(["[CLS]"])
    return tokenizer


def byte_level() -> Tokenizer:
    """Every token is one byte."""
    tokenizer = Tokenizer(BPE({character: i for i, character in enumerate(BYTES)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


WORDPIECE, BYTE_LEVEL = wordpiece(), byte_level()


def words(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def shown(ids: Sequence[int], hidden: Sequence[int], tokenizer: Tokenizer) -> list[str | None]:
    return split_pieces(ids, [i in hidden for i in range(len(ids))], tokenizer.decode)


def test_wordpiece_gets_its_spaces() -> None:
    assert shown(words("the cat sat ##ting , un ##der"), [], WORDPIECE) == [
        "the",
        " cat",
        " sat",
        "ting",
        ",",
        " un",
        "der",
    ]


def test_wordpiece_keeps_its_spaces_behind_masks() -> None:
    assert shown(words("the cat sat ##ting"), [1], WORDPIECE) == ["the", None, " sat", "ting"]
    assert shown(words("the cat sat ##ting"), [1, 2], WORDPIECE) == ["the", None, None, "ting"]
    assert shown(words("the cat sat"), [0], WORDPIECE) == [None, " cat", " sat"]
    assert shown(words("[CLS] the cat sat"), [1], WORDPIECE) == ["", None, " cat", " sat"]


def test_character_of_several_bytes_belongs_to_the_last() -> None:
    ids = BYTE_LEVEL.encode("a月b").ids
    assert shown(ids, [], BYTE_LEVEL) == ["a", "", "", "月", "b"]


def test_bytes_never_join_across_a_mask() -> None:
    first, second, third = BYTE_LEVEL.encode("月").ids
    pieces = split_pieces([first, second, 0, third], [False, False, True, False], BYTE_LEVEL.decode)
    assert pieces[2] is None
    assert "月" not in "".join(piece or "" for piece in pieces)
    assert set("".join(piece or "" for piece in pieces)) == {"\ufffd"}


@given(st.lists(st.integers(0, len(WORDS) - 1), max_size=80))
def test_wordpieces_join_to_the_decoded_text(ids: list[int]) -> None:
    # Clean-up joins "don ' t" only when the t is there: earlier pieces change with what follows.
    assert "".join(piece or "" for piece in shown(ids, [], WORDPIECE)) == WORDPIECE.decode(ids)


@given(st.text(max_size=60))
def test_bytes_join_to_the_decoded_text(text: str) -> None:
    ids = BYTE_LEVEL.encode(text).ids
    assert "".join(piece or "" for piece in shown(ids, [], BYTE_LEVEL)) == BYTE_LEVEL.decode(ids)


@given(st.lists(st.integers(0, 255), max_size=80))
def test_broken_bytes_join_to_the_decoded_text(ids: list[int]) -> None:
    assert "".join(piece or "" for piece in shown(ids, [], BYTE_LEVEL)) == BYTE_LEVEL.decode(ids)


@given(st.lists(st.tuples(st.integers(0, len(WORDS) - 1), st.booleans()), max_size=60))
def test_one_piece_per_id_and_none_at_masks(places: list[tuple[int, bool]]) -> None:
    masked = [is_masked for _, is_masked in places]
    pieces = split_pieces([i for i, _ in places], masked, WORDPIECE.decode)
    assert [piece is None for piece in pieces] == masked


@pytest.mark.parametrize("length", [200, 400])
def test_work_grows_with_the_length_alone(length: int) -> None:
    seen = 0

    def decode(ids: list[int]) -> str:
        nonlocal seen
        seen += len(ids)
        return WORDPIECE.decode(ids)

    split_pieces(words("the cat sat ,") * (length // 4), [False] * length, decode)
    assert seen < 60 * length
