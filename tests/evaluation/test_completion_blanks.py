"""What is hidden: units, blanks alike for all, tokens at their edges, and the published positions."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.errors import DataError, SettingsError, UnknownNameError
from textdiffusion.evaluation.completion.blanks import read_blanks, written_blanks
from textdiffusion.evaluation.completion.protocols import PROTOCOLS, RATIOS, Blanking
from textdiffusion.evaluation.completion.puzzles import Cloze, Reader
from textdiffusion.evaluation.completion.units import UNITS, is_punctuation
from textdiffusion.evaluation.documents import shuffled
from textdiffusion.language_model import DiffusionLM
from textdiffusion.training.tokenizer import train_tokenizer

from .poetry import LINES, POEMS, causal, characters, masked, of

CORRECTED, PUBLISHED = PROTOCOLS["corrected"], PROTOCOLS["published"]
POETRY = Blanking(clean=("poem-lines", "slash-lines"), separators=("/",))


@pytest.fixture(scope="module")
def plain() -> DiffusionLM:
    """A token for each character."""
    return masked()


@pytest.fixture(scope="module")
def pairs() -> DiffusionLM:
    """Some tokens of several characters."""
    return causal(characters("轻轻", "的我走", "死水"))


# -- units -----------------------------------------------------------------------------------------------


def test_units_are_words_characters_and_marks() -> None:
    text = "Don't  go, 我的fox2！"
    found = [text[slice(*span)] for span in UNITS["word"].cut(text, [])]
    assert found == ["Don't", "go", ",", "我", "的", "fox2", "！"]


def test_units_of_tokens_are_whole_tokens_of_all(plain: DiffusionLM, pairs: DiffusionLM) -> None:
    text = "轻轻的我走了，"
    cut = UNITS["token"].cut
    assert [text[slice(*s)] for s in cut(text, [plain.format])] == list(text)
    both = [text[slice(*s)] for s in cut(text, [plain.format, pairs.format])]
    assert both == ["轻轻", "的我走", "了", "，"]


def test_what_is_punctuation() -> None:
    assert all(map(is_punctuation, ["，", "……", "$", "/"]))
    assert not any(map(is_punctuation, ["a", "我", "3", "don't", ""]))


# -- a cloze as tokens -----------------------------------------------------------------------------------


def test_tokens_inside_a_blank_are_hidden(plain: DiffusionLM) -> None:
    puzzle = Reader.of(plain).lay(Cloze("轻轻的我走了", ((1, 2), (3, 4))))
    assert puzzle.ids == plain.format.document(["轻轻的我走了"])[0]
    assert [place for place, hole in enumerate(puzzle.holes) if hole] == [2, 4]
    assert (puzzle.said, puzzle.torn) == (["轻", "我"], 0)
    assert puzzle.masked == "轻____的____走了"
    assert puzzle.completed(plain.format.prompt("来手")[1:], plain.format.decode) == "轻来的手走了"
    assert puzzle.right(plain.format.prompt("轻手")[1:]) == [True, False]


def test_a_token_over_an_edge_is_cut_there(pairs: DiffusionLM) -> None:
    """轻轻 is one token: showing it would tell, hiding it would hide too much."""
    puzzle = Reader.of(pairs).lay(Cloze("轻轻的我走了", ((1, 2), (3, 4))))
    assert puzzle.original == "轻轻的我走了"
    assert [part.text for part in puzzle.parts] == ["轻", "轻", "的", "我", "走", "了"]
    assert (puzzle.said, puzzle.torn) == (["轻", "我"], 2)
    assert puzzle.truth == [pairs.format.prompt(char)[1] for char in "轻我"]


def test_neighbours_are_holes_of_their_own(pairs: DiffusionLM) -> None:
    puzzle = Reader.of(pairs).lay(Cloze("轻轻的", ((0, 1), (1, 2))))
    assert puzzle.masked == "________的" and puzzle.said == ["轻", "轻"]
    assert puzzle.by_blank(puzzle.truth) == [[puzzle.truth[0]], [puzzle.truth[1]]]


def test_a_space_before_a_word_is_no_part_of_the_blank() -> None:
    text = "the cat sat on the mat"
    lm = masked(train_tokenizer([text] * 20, 290, longest=64))  # type: ignore[arg-type]
    puzzle = Reader.of(lm).lay(Cloze(text, ((4, 7), (19, 22))))
    assert puzzle.ids == lm.format.document([text])[0]  # nothing was torn apart
    assert puzzle.said == ["cat", "mat"] and puzzle.torn == 0
    assert puzzle.masked == "the ____ sat on the ____"
    assert puzzle.completed(puzzle.truth, lm.format.decode) == text


@given(st.text("轻的我走了，/ 龍ab", min_size=2, max_size=24), st.integers(0, 2**20))
def test_any_cloze_can_be_laid_and_solved(text: str, mask: int) -> None:
    """Characters that have no token among them, and whatever is hidden."""
    lm = _spelling()
    units = UNITS["word"].cut(text, [])
    blanks = tuple(span for place, span in enumerate(units) if mask >> place & 1)
    puzzle = Reader.of(lm).lay(Cloze(text, blanks))
    assert puzzle.original == text
    assert puzzle.said == [text[slice(*span)] for span in blanks]
    assert all(puzzle.right(puzzle.truth))
    assert puzzle.completed(puzzle.truth, lm.format.decode) == text


_KEPT: list[DiffusionLM] = []


def _spelling() -> DiffusionLM:
    """A model whose tokenizer has tokens of several characters, and spells others in bytes."""
    if not _KEPT:
        tokenizer = train_tokenizer(["轻轻的我走了，", "我走了"] * 20, 275, longest=64)
        _KEPT.append(of(masked().model, tokenizer, "spelling"))  # type: ignore[arg-type]
    return _KEPT[0]


# -- corrected -------------------------------------------------------------------------------------------


def test_all_get_the_same_blanks(plain: DiffusionLM, pairs: DiffusionLM) -> None:
    both = CORRECTED.choose(POEMS, POETRY, [Reader.of(plain), Reader.of(pairs)], 7)
    alone = CORRECTED.choose(POEMS, POETRY, [Reader.of(plain)], 7)
    for round_, other in zip(both.rounds, alone.rounds, strict=True):
        one, two = round_.sets
        assert [puzzle.masked for puzzle in one] == [puzzle.masked for puzzle in two]
        assert [puzzle.masked for puzzle in one] == [puzzle.masked for puzzle in other.sets[0]]
        assert [puzzle.said for puzzle in one] == [puzzle.said for puzzle in two]
        assert [puzzle.original for puzzle in one] == LINES
    assert sum(puzzle.torn for puzzle in both.rounds[0].sets[1]) > 0
    assert written_blanks([both]) == written_blanks([alone])
    again = CORRECTED.choose(POEMS, POETRY, [Reader.of(plain)], 8)
    assert written_blanks([again])[1] != written_blanks([alone])[1]


def test_shares_are_kept_and_grow_into_each_other(plain: DiffusionLM) -> None:
    chosen = CORRECTED.choose(POEMS, POETRY, [Reader.of(plain)], 0)
    assert [round_.ratio for round_ in chosen.rounds] == list(RATIOS)
    for text, *rows in zip(LINES, *(round_.rows for round_ in chosen.rounds), strict=True):
        free = len(text) - text.count("/")
        hidden = [{tuple(span) for span in row["blanks"]} for row in rows]
        assert [len(each) for each in hidden] == [round(ratio * free) for ratio in RATIOS]
        assert all(less < more for less, more in pairwise(hidden))
        assert all(text[start:end] != "/" for start, end in hidden[-1])


def test_the_first_units_can_be_spared(plain: DiffusionLM) -> None:
    blanking = Blanking(spared=16, ratios=(0.6,), clean=POETRY.clean, separators=("/",))
    (round_,) = CORRECTED.choose(POEMS, blanking, [Reader.of(plain)], 0).rounds
    assert all(start >= 16 for row in round_.rows for start, _ in row["blanks"])


def test_texts_are_cut_to_the_smallest_model(plain: DiffusionLM) -> None:
    small = Reader(plain.format, 12)
    chosen = CORRECTED.choose(POEMS, POETRY, [Reader.of(plain), small], 0)
    assert chosen.cut == 3
    for puzzles in chosen.rounds[-1].sets:
        assert [puzzle.original for puzzle in puzzles] == [text[:10] for text in LINES]


def test_texts_of_one_unit_are_left_out(plain: DiffusionLM) -> None:
    chosen = CORRECTED.choose(["我", "，/", *POEMS], POETRY, [Reader.of(plain)], 0)
    assert chosen.left_out == 1 and len(chosen.rounds[0].sets[0]) == 4
    with pytest.raises(DataError, match="at least two words"):
        CORRECTED.choose(["我", " "], POETRY, [Reader.of(plain)], 0)


def test_blanks_are_read_back(plain: DiffusionLM, pairs: DiffusionLM, tmp_path: Path) -> None:
    readers = [Reader.of(plain)]
    chosen = [protocol.choose(POEMS, POETRY, readers, 3) for protocol in (PUBLISHED, CORRECTED)]
    content, digest = written_blanks(chosen[1:])
    (tmp_path / "blanks.jsonl").write_bytes(written_blanks(chosen)[0])
    clozes = read_blanks(tmp_path / "blanks.jsonl")
    again = CORRECTED.choose([], POETRY, [Reader.of(pairs)], 99, clozes)
    assert written_blanks([again]) == (content, digest)


@pytest.mark.parametrize(
    "row",
    [
        {"blanks": [[0, 3]], "text": "ab", "ratio": 0.1},
        {"blanks": [[0, 2], [1, 3]], "text": "abc", "ratio": 0.1},
        {"blanks": [[1, 1]], "text": "abc", "ratio": 0.1},
        {"blanks": [], "text": "abc", "ratio": 0.1},
        {"blanks": [[0, 1]], "ratio": 0.1},
        {"blanks": [3], "text": "abc", "ratio": 0.1},
    ],
)
def test_broken_blanks_are_refused(row: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "blanks.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        read_blanks(tmp_path / "blanks.jsonl")
    (tmp_path / "other.jsonl").write_text('{"text": "abc"}', encoding="utf-8")
    with pytest.raises(DataError, match="no blanks"):
        read_blanks(tmp_path / "other.jsonl")


def test_wrong_blankings_are_refused() -> None:
    for wrong in (
        {"ratios": (0.0,)},
        {"ratios": (1.0,)},
        {"ratios": ()},
        {"spared": -1},
        {"num_samples": -1},
    ):
        with pytest.raises(SettingsError):
            Blanking(**wrong)  # type: ignore[arg-type]
    for unknown in ({"unit": "wrd"}, {"clean": ("poem-line",)}):
        with pytest.raises(UnknownNameError, match="Did you mean"):
            Blanking(**unknown)  # type: ignore[arg-type]


# -- published -------------------------------------------------------------------------------------------


def by_hand(lm: DiffusionLM, texts: list[str], ratio: float, seed: int) -> list[list[int]]:
    """The positions in the encoded texts, as the benchmark is described."""
    generator, found = random.Random(seed), []
    for text in texts:
        ids = [2, *(lm.format.tokenizer.convert_tokens_to_ids(char) for char in text), 3][:256]
        tokens = lm.format.tokenizer.convert_ids_to_tokens(ids)
        special = lm.format.tokenizer.all_special_ids
        kept = [at for at, token in enumerate(tokens) if ids[at] not in special and token != "/"]
        found.append(sorted(generator.sample(kept, round(ratio * len(kept)))))
    return found


@pytest.mark.parametrize("seed", [42, 7])
def test_published_positions_by_hand(plain: DiffusionLM, seed: int) -> None:
    chosen = PUBLISHED.choose(POEMS, POETRY, [Reader.of(plain)], seed)
    for round_ in chosen.rounds:
        places = [[at for at, hole in enumerate(p.holes) if hole] for p in round_.sets[0]]
        assert places == by_hand(plain, LINES, round_.ratio, seed)


def test_published_order_and_number_of_texts(plain: DiffusionLM) -> None:
    """The seed shuffles as the package datasets does, and the first 100 are taken."""
    numbers = list(range(364))
    assert list(shuffled(numbers, 42)) == Dataset.from_dict({"n": numbers}).shuffle(seed=42)["n"]
    many = [f"{text}/{number}" for number in range(50) for text in LINES]
    taken = [
        len(PUBLISHED.choose(many, Blanking((0.5,), num_samples=n), [Reader.of(plain)], 42).rounds[0].sets[0])
        for n in (100, 7, 0)
    ]
    assert taken == [100, 7, 150]


def test_published_texts_end_at_256_tokens(plain: DiffusionLM) -> None:
    reader, long = Reader(plain.format, 512), LINES[2] * 10
    (puzzle,) = PUBLISHED.choose([long], Blanking((0.5,)), [reader], 42).rounds[0].sets[0]
    assert len(puzzle.ids) == 256 and puzzle.original == long[:254]


def test_published_start_of_an_autoregressive_model(pairs: DiffusionLM) -> None:
    """It was given padding before all else, where the tokenizer has neither begin nor end of that name."""
    reader = Reader.of(pairs)
    published = PUBLISHED.choose(POEMS, POETRY, [reader], 42).rounds[0].sets[0][0]
    corrected = CORRECTED.choose(POEMS, POETRY, [reader], 42).rounds[0].sets[0][0]
    assert published.ids[:2] == [0, 2] and corrected.ids[:1] == [2] and corrected.ids[1] != 2
