"""The tokenizer of one's own: nothing is lost, frequent characters stay whole."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from textdiffusion.tokens import TextFormat
from textdiffusion.training.tokenizer import BYTES, SPECIAL, train_tokenizer
from textdiffusion.views.pieces import split_pieces

COMMON = "床前明月光，疑是地上霜。"
RARE = "龘靐齉爩麤灪龖厵"
TEXTS = [COMMON * 9, "the cat sat on the mat\n" * 30, RARE]
TOKENS = len(SPECIAL) + len(BYTES)
OFTEN = set(COMMON + "the cat sat on the mat\n")
TOKENIZER = train_tokenizer(TEXTS, TOKENS + len(OFTEN) * 3 // 2, longest=512)  # none is left for the rare
FORMAT = TextFormat.of(TOKENIZER)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """The tokenizer after a way through its files."""
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save_pretrained(folder)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return loaded


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \t\r\n\u2028\u2581月龘t<>0x4_1")))
@example("  two  leading, three trailing   ")
@example("\r\n\tend\u2028of\u2029lines \n\n ")
@example("👩‍👩‍👧 e\u0301 \u212b \ufffd \x00 ▁ \u200b")
@example("<0x41><0x0A> [MASK][EOS] <0xE6><0x9C><0x88>")
def test_any_text_comes_back_exactly(reloaded: PreTrainedTokenizerBase, text: str) -> None:
    (ids,) = FORMAT._plain([text])
    assert FORMAT.decode(ids) == text
    assert not set(ids) & FORMAT.special_ids
    assert "".join(piece or "" for piece in split_pieces(ids, [False] * len(ids), FORMAT.decode)) == text
    saved = TextFormat.of(reloaded)
    assert saved._plain([text]) == [ids]
    assert saved.decode(ids) == text


def test_frequent_characters_stay_whole_and_rare_ones_are_bytes() -> None:
    tokens = [TOKENIZER.convert_ids_to_tokens(ids) for ids in FORMAT._plain([COMMON, RARE])]
    assert "".join(tokens[0]) == COMMON
    assert tokens[1] == [f"<0x{byte:02X}>" for byte in RARE.encode()]


def test_single_characters_leave_room_for_merges() -> None:
    vocabulary = train_tokenizer(["".join(map(chr, range(0x4E00, 0x5200)))] * 2, 500, longest=8).get_vocab()
    own = [token for token in vocabulary if token not in BYTES and token not in SPECIAL.values()]
    assert len(own) == 500 - TOKENS
    assert sum(len(token) == 1 for token in own) == 160 == (500 - TOKENS) * 2 / 3


def test_the_same_text_gives_the_same_tokenizer_whatever_comes_first() -> None:
    texts = [chr(code) * 3 for code in range(0x4E00, 0x4F00)]
    one, other = (train_tokenizer(order, 300, longest=8) for order in (texts, texts[::-1]))
    assert one.get_vocab() == other.get_vocab()


def test_a_vocabulary_smaller_than_the_bytes_spells_everything() -> None:
    tiny = train_tokenizer(["the cat"], 8, longest=8)
    assert len(tiny) == TOKENS
    assert TextFormat.of(tiny).decode(TextFormat.of(tiny).prompt("the 月")) == "the 月"


def test_single_tokens_are_shown_with_their_spaces_and_bytes_at_the_last() -> None:
    (ids,) = FORMAT._plain(["the cat  龘月"])
    pieces = split_pieces(ids, [False] * len(ids), FORMAT.decode)
    assert pieces[:2] == ["the", " cat"]
    assert pieces[-4:] == ["", "", "龘", "月"]
    hidden = [False] * (len(ids) - 3) + [True, False, False]
    torn = split_pieces(ids, hidden, FORMAT.decode)
    assert "".join(piece or "" for piece in torn[-4:-2]) == "\ufffd"


def test_special_tokens_take_the_first_ids() -> None:
    ids = [TOKENIZER.pad_token_id, TOKENIZER.mask_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id]
    assert ids == [0, 1, 2, 3]
