"""Who fills blanks: known answers, brute force, and expected accuracies."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.denoisers import as_denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.evaluation.completion import SOLVERS
from textdiffusion.evaluation.completion.contest import Asking, Entrant, hold
from textdiffusion.evaluation.completion.lineup import Lineup
from textdiffusion.evaluation.completion.ngrams import NGrams
from textdiffusion.evaluation.completion.protocols import PROTOCOLS, Blanking, Chosen, Round
from textdiffusion.evaluation.completion.puzzles import Cloze, Puzzle, Reader
from textdiffusion.evaluation.completion.solvers import Effort, Solver
from textdiffusion.evaluation.completion.units import UNITS
from textdiffusion.language_model import DiffusionLM

from .poetry import LINES, causal, masked, own_causal, reciter

CORRECTED, PUBLISHED = PROTOCOLS["corrected"], PROTOCOLS["published"]
BLANKING = Blanking((0.3,), separators=("/",))


def solver(name: str, lm: DiffusionLM, effort: Effort | None = None, protocol: str = "corrected") -> Solver:
    """One solver with settings as a contest gives them."""
    lineup = Lineup([lm], [name], LINES, ["/"], {}, effort or Effort())
    (entrant,) = lineup.entrants(PROTOCOLS[protocol])
    return entrant.solver


def puzzles(lm: DiffusionLM, ratio: float = 0.6) -> list[Puzzle]:
    """Blanks in all poems."""
    chosen = CORRECTED.choose(LINES, Blanking((ratio,), separators=("/",)), [Reader.of(lm)], 5)
    return list(chosen.rounds[0].sets[0])


# -- networks --------------------------------------------------------------------------------------------


def test_who_knows_the_poems_gets_all() -> None:
    lm = reciter()
    some = puzzles(lm, 0.3)
    knows = solver("diffusion", lm)
    for puzzle, answer in zip(some, knows.best(some), strict=True):
        assert answer.ids == puzzle.truth and set(answer.ranks) == {0}
    for seed in (0, 1):
        assert knows.draw(some, seed) == [puzzle.truth for puzzle in some]
    for protocol in ("published", "corrected"):
        lineup = Lineup([lm], ["diffusion"], [], [], {}, Effort())
        rules = PROTOCOLS[protocol]
        chosen = rules.choose(LINES, Blanking((0.2,), separators=("/",)), [Reader.of(lm)], 1)
        (result,) = hold(protocol, rules, chosen, lineup.entrants(rules), Asking(), 0)
        assert result.row["sampled"] == 1.0 and result.row["character_f1"] == 1.0
        assert [sample.completed for sample in result.samples] == LINES


@torch.no_grad()
def logs(lm: DiffusionLM, ids: list[int]) -> torch.Tensor:
    """log p of the token behind each place, by one plain call."""
    found: torch.Tensor = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return found


def test_from_left_to_right_is_teacher_forcing_with_own_fillings() -> None:
    lm = causal()
    never = [*lm.format.banned(lm.vocab_size, learns_end=False), lm.format.prompt("/")[1]]
    for puzzle, answer in zip(puzzles(lm), solver("autoregressive", lm).best(puzzles(lm)), strict=True):
        ids, ranks = list(puzzle.ids), []
        for place in (at for at, hole in enumerate(puzzle.holes) if hole):
            next_ = logs(lm, ids[:place])[-1]
            next_[never] = -torch.inf
            ranks.append(int((next_ > next_[puzzle.ids[place]]).sum()))
            ids[place] = int(next_.argmax())
        assert answer.ids == [token for token, hole in zip(ids, puzzle.holes, strict=True) if hole]
        assert answer.ranks == ranks


@pytest.mark.parametrize(("make", "reach"), [(causal, 4), (causal, 1000), (own_causal, 1), (own_causal, 4)])
def test_both_sides_is_the_likelihood_of_all_that_is_in_reach(
    make: Callable[[], DiffusionLM], reach: int
) -> None:
    lm, effort = make(), Effort(candidates=6, reach=reach)
    never = [*lm.format.banned(lm.vocab_size, learns_end=False), lm.format.prompt("/")[1]]
    left = solver("autoregressive", lm).best(puzzles(lm))
    found = solver("autoregressive-both", lm, effort).best(puzzles(lm))
    changed = 0
    for puzzle, start, answer in zip(puzzles(lm), left, found, strict=True):
        inside = iter(start.ids)
        ids = [next(inside) if hole else token for token, hole in zip(puzzle.ids, puzzle.holes, strict=True)]
        chosen = []
        for place in (at for at, hole in enumerate(puzzle.holes) if hole):
            plain = logs(lm, ids[:place])[-1]
            plain[never] = -torch.inf
            tried = plain.topk(6).indices.tolist()
            worth = []
            for token in tried:
                row = [*ids[:place], token, *ids[place + 1 :]]
                said = logs(lm, row)
                after = range(place + 1, min(len(row), place + 1 + reach))
                scores = plain.log_softmax(-1)[token] + sum(said[at - 1, row[at]] for at in after)
                worth.append(float(scores))
            ids[place] = tried[int(np.argmax(worth))]
            chosen.append(ids[place])
            order = [tried[at] for at in np.argsort(-np.array(worth), kind="stable")]
            true = puzzle.ids[place]
            rank = order.index(true) if true in order else int((plain > plain[true]).sum())
            assert answer.ranks[len(chosen) - 1] == rank
        assert answer.ids == chosen
        changed += answer.ids != start.ids
    assert changed


def test_each_network_has_its_ways() -> None:
    for lm, names in ((masked(), ["diffusion"]), (causal(), ["autoregressive", "autoregressive-both"])):
        lineup = Lineup([lm], list(SOLVERS), [], [], {}, Effort())
        assert [entrant.solver_name for entrant in lineup.entrants(CORRECTED)] == names
    with pytest.raises(SettingsError, match="--train-data"):
        Lineup([causal()], ["diffusion", "unigram"], [], [], {}, Effort()).entrants(CORRECTED)


def test_what_is_never_hidden_is_not_written() -> None:
    """As published nobody told networks so, and those who count know."""
    lm = masked()
    stroke = lm.format.prompt("/")[1]

    def strokes(xt: torch.Tensor) -> torch.Tensor:
        return 9.0 * torch.nn.functional.one_hot(torch.full_like(xt, stroke), lm.vocab_size).float()

    lm.denoiser = as_denoiser(strokes)
    for protocol, told in (("corrected", True), ("published", False)):
        (ids,) = solver("diffusion", lm, protocol=protocol).draw(puzzles(lm)[:1], 0)
        assert (stroke not in ids) is told
        (ids,) = solver("unigram", lm, protocol=protocol).draw(puzzles(lm)[:1], 0)
        assert stroke not in ids


def test_how_they_write_is_the_protocols_matter() -> None:
    lineup = Lineup([], [], [], [], {"steps": 3, "temperature": 0.5, "sampler": "random"}, Effort())
    drawn, best = lineup.decodings(masked(), CORRECTED)
    assert (drawn.sampler, drawn.steps, drawn.temperature, best.temperature) == ("random", 3, 0.5, 0.0)
    drawn, best = lineup.decodings(causal(), CORRECTED)
    assert (drawn.sampler, drawn.steps, drawn.temperature) == ("autoregressive", None, 0.5)
    drawn, _ = lineup.decodings(masked(), PUBLISHED)
    full = drawn.filled()
    assert (full.sampler, full.steps, full.temperature) == ("full-remask", 10, 1.0)
    assert (full.top_k, full.top_p) == (50, 0.95)
    drawn, _ = lineup.decodings(causal(), PUBLISHED)
    assert (drawn.temperature, drawn.top_k, drawn.top_p) == (1.0, 50, 0.95)
    plain, best = Lineup([], [], [], [], {}, Effort()).decodings(masked(), CORRECTED)
    assert (plain.sampler, plain.tokens_per_step, best.sampler) == ("ancestral", 1, "confidence")


def test_a_model_that_saw_no_mask_is_refused() -> None:
    lm = masked()
    object.__setattr__(lm, "corruption", type("Maskless", (), {"mask_id": None})())
    with pytest.raises(IncompatibleError, match="no masks"):
        solver("diffusion", lm)


@pytest.mark.parametrize("make", [masked, causal])
def test_draws_hang_on_the_text_and_the_seed_alone(make: Callable[[], DiffusionLM]) -> None:
    lm = make()
    for name in ("diffusion", "autoregressive", "autoregressive-both", "n-gram-both"):
        if SOLVERS[name].of_network and lm.denoiser.next_token is (name == "diffusion"):
            continue
        fills, some = solver(name, lm, Effort(reach=1)), puzzles(lm, 0.2)
        together = fills.draw(some, 3)
        assert together == [fills.draw([puzzle], 3)[0] for puzzle in some]
        assert together != fills.draw(some, 4)


# -- counting --------------------------------------------------------------------------------------------


def test_n_grams_by_hand() -> None:
    grams = NGrams.of([[1, 2, 1, 2], [1, 3]], 5, 2)
    alone = (np.array([0, 3, 2, 1, 0]) + 3 / 5) / (6 + 3)
    np.testing.assert_allclose(grams.after([]), alone)
    np.testing.assert_allclose(grams.after([4, 1]), (np.array([0, 0, 2, 1, 0]) + 2 * alone) / (3 + 2))
    np.testing.assert_allclose(grams.after([3]), alone)  # nothing ever followed it
    behind = NGrams.of([[1, 2, 1, 2], [1, 3]], 5, 2, backwards=True)
    np.testing.assert_allclose(behind.after([3]), (np.array([0, 1, 0, 0, 0]) + alone) / 2)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=5),
    st.lists(st.integers(0, 6), max_size=5),
    st.integers(1, 4),
)
def test_n_grams_are_distributions(texts: list[list[int]], context: list[int], order: int) -> None:
    found = NGrams.of(texts, 7, order).after(context)
    assert found.sum() == pytest.approx(1.0) and (found > 0).all()
    if order > 1 and context:
        np.testing.assert_array_equal(found, NGrams.of(texts, 7, order).after(context[-(order - 1) :]))


def test_a_constant_is_the_most_frequent_that_may_be_hidden() -> None:
    lm = masked()
    common = Counter("".join(LINES).replace("/", "")).most_common(1)[0][0]
    (token,) = lm.format.prompt(common)[1:]
    some = puzzles(lm)
    for name in ("constant", "unigram"):
        assert {id for answer in solver(name, lm).best(some) for id in answer.ids} == {token}
    assert {id for ids in solver("constant", lm).draw(some, 1) for id in ids} == {token}


def test_unigrams_are_right_as_often_as_computed() -> None:
    lm = masked()
    counts = Counter(token for row in lm.format.document(LINES) for token in row)
    barred = {*lm.format.banned(lm.vocab_size, learns_end=False), lm.format.prompt("/")[1]}
    seen, kinds, vocab = sum(counts.values()), len(counts), lm.vocab_size
    chance = [0.0 if id in barred else (counts[id] + kinds / vocab) / (seen + kinds) for id in range(vocab)]
    some = puzzles(lm)
    p = np.array([chance[token] / sum(chance) for puzzle in some for token in puzzle.truth])
    draws, fills = 60, solver("unigram", lm)
    right = [fills.draw(some, seed) for seed in range(draws)]
    hits = sum(
        said == true
        for drawn in right
        for ids, puzzle in zip(drawn, some, strict=True)
        for said, true in zip(ids, puzzle.truth, strict=True)
    )
    spread = (draws * (p * (1 - p)).sum()) ** 0.5
    assert abs(hits - draws * p.sum()) < 4 * spread


def test_both_sides_see_what_one_does_not() -> None:
    """Behind 死 comes 水 for sure; before 水 stands 死 for sure."""
    lm = masked()
    reader, text = Reader.of(lm), LINES[2]
    spans = UNITS["word"].cut(text, [])
    at = text.index("死")
    for hidden, alone in (((at, at + 1), False), ((at + 1, at + 2), True)):
        assert hidden in spans
        puzzle = reader.lay(Cloze(text, (hidden,)))
        (one,), (both,) = (solver(name, lm).best([puzzle]) for name in ("n-gram", "n-gram-both"))
        assert both.ids == puzzle.truth
        assert (one.ids == puzzle.truth) is alone or one.ranks[0] >= both.ranks[0]


# -- the contest -----------------------------------------------------------------------------------------


def test_measures_have_intervals_and_differences() -> None:
    lm = reciter()
    lineup = Lineup([lm, causal()], list(SOLVERS), LINES, ["/"], {"tokens_per_step": 8}, Effort(reach=2))
    readers = [Reader.of(model) for model in lineup.models]
    chosen = CORRECTED.choose(LINES, BLANKING, readers, 5)
    rows = [
        result.row
        for result in hold("corrected", CORRECTED, chosen, lineup.entrants(CORRECTED), Asking(draws=1), 5)
    ]
    names = [row["name"] for row in rows]
    assert names == ["diffusion", "gpt2", "gpt2, both sides", "constant", "unigram", "n-gram", "n-gram-both"]
    for row in rows:
        assert row["blanks"] == row["words_blanks"] + row["punctuation_blanks"] == row["tokens"]
        assert row["top_1"] <= row["top_5"] <= row["top_10"] <= 1.0
        for name in ("argmax", "sampled", "top_5", "words_argmax", "punctuation_argmax", "character_f1"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        mixed = (
            row["words_argmax"] * row["words_blanks"] + row["punctuation_argmax"] * row["punctuation_blanks"]
        )
        assert mixed == pytest.approx(row["argmax"] * row["blanks"])
        if row["solver"] not in ("diffusion", "autoregressive-both"):
            assert row["argmax"] == row["top_1"]  # one look tells both
    first, *others = rows
    assert "difference" not in first
    for row in others:
        assert row["difference"] == pytest.approx(row["argmax"] - first["argmax"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_characters_count_wherever_they_stand() -> None:
    """Two right characters in each other's place: no blank is right, all characters are."""
    lm = masked()
    puzzle = Reader.of(lm).lay(Cloze("轻轻的我走了", ((3, 4), (4, 5))))
    swapped = [puzzle.truth[::-1]]

    class Swaps(Solver):
        def best(self, puzzles):  # type: ignore[no-untyped-def]
            raise AssertionError("a published protocol asks for a drawn one alone")

        def draw(self, puzzles, seed):  # type: ignore[no-untyped-def]
            return swapped

    entrant = Entrant("swaps", "", "", Swaps(), 0, lm.format.decode)
    (result,) = hold("published", PUBLISHED, Chosen([Round(0.3, [[puzzle]], [])]), [entrant], Asking(), 0)
    assert (result.row["sampled"], result.row["character_f1"]) == (0.0, 1.0)
    assert result.samples[0].completed == "轻轻的走我了" and result.samples[0].accuracy == 0.0
    assert "argmax" not in result.row
