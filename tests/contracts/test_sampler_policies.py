"""The rules by which positions are chosen, against their plainest restatement."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.errors import SettingsError
from textdiffusion.predictions import Filters
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS, State
from textdiffusion.samplers.answer import Answer, falling, top
from textdiffusion.samplers.commit import Commit, EntropyBounded, SureTogether
from textdiffusion.samplers.moment import Moment

VOCAB, MASK = 6, 5
opinions = st.lists(st.lists(st.floats(-4, 4), min_size=VOCAB, max_size=VOCAB), min_size=1, max_size=9)


def state_of(settled: list[bool]) -> State:
    """One text of zeros and masks, all of it in the window."""
    known = torch.tensor([settled])
    tokens = torch.where(known, 0, MASK)
    return State(tokens, torch.ones_like(known), known, torch.where(known, 0.5, torch.nan))


def answered(state: State, asked: Tensor, logits: list[list[float]], temperature: float = 0.0) -> Answer:
    """What a network with these logits answers."""
    found = torch.tensor(logits)[: asked.shape[1]].index_fill(-1, torch.tensor(MASK), -torch.inf)
    drawn = RowGenerator.for_rows([3]).uniform(asked.shape[1])[asked]
    return Answer.of(state, asked, Filters(temperature=temperature)(found[asked[0]]), drawn)


def moment(due: int, after: float = 0.5) -> Moment:
    """In the middle of a run."""
    rate = torch.ones(1, 1, dtype=torch.float64)
    return Moment(rate, after * rate, after * rate, torch.tensor([due]))


def written(commit: Commit, logits: list[list[float]], due: int) -> tuple[int, Answer]:
    """How many of all positions a rule writes, and the answer that it saw."""
    state = state_of([False] * len(logits))
    answer = answered(state, state.open, logits)
    return int(commit.settle(state.open, answer, moment(due)).sum()), answer


@given(logits=opinions, factor=st.floats(0.0, 4.0), due=st.integers(0, 9))
def test_factor_is_the_longest_run_that_it_allows(logits: list[list[float]], factor: float, due: int) -> None:
    count, answer = written(SureTogether(factor), logits, due)
    confidences = sorted(answer.confidence[0].tolist(), reverse=True)
    fits = [n for n, c in enumerate(confidences, 1) if (n + 1) * (1.0 - c) < factor]
    longest = max(fits, default=0)
    assert fits == list(range(1, longest + 1))
    assert count == min(max(longest, due, 1), len(logits))


@given(logits=opinions, gamma=st.floats(0.0, 5.0), due=st.integers(0, 9))
def test_entropy_bound_is_the_longest_run_that_it_allows(
    logits: list[list[float]], gamma: float, due: int
) -> None:
    count, answer = written(EntropyBounded(gamma), logits, due)
    entropies = sorted(answer.entropy()[0].double().tolist())
    spent = [sum(entropies[:n]) - max(entropies[:n]) for n in range(1, len(logits) + 1)]
    least, most = (sum(cost <= gamma + slack for cost in spent) for slack in (-1e-3, 1e-3))
    assert max(least, due, 1) <= count or count == len(logits)
    assert count <= max(most, due, 1)


@given(
    scores=st.lists(st.integers(-4, 4), min_size=1, max_size=9),
    among=st.integers(0, 511),
    count=st.integers(-1, 10),
    seed=st.integers(0, 9),
)
def test_top_takes_the_highest_and_of_equals_the_first(
    scores: list[int], among: int, count: int, seed: int
) -> None:
    """Also where equals differ in their last digits."""
    allowed = torch.tensor([[bool(among >> i & 1) for i in range(len(scores))]])
    errors = RowGenerator.for_rows([seed]).uniform(len(scores)).float() * 1e-7
    score = torch.tensor([scores]) / 8 + errors
    found = top(allowed, score, torch.tensor([count]))[0].nonzero()[:, 0].tolist()
    places = allowed[0].nonzero()[:, 0].tolist()
    assert found == sorted(sorted(places, key=lambda i: (-scores[i], i))[: max(count, 0)])
    ordered = sorted((score[0, i].item() for i in places), reverse=True)
    assert falling(allowed, score)[0].tolist() == ordered + [-torch.inf] * (len(scores) - len(places))


@pytest.mark.parametrize(
    ("sampler", "setting", "wrong"),
    [
        ("threshold", "threshold", (-0.1, 1.1, float("nan"))),
        ("adaptive", "threshold", (-0.1, 1.1)),
        ("factor", "factor", (-0.1, float("nan"), float("inf"))),
        ("entropy-bounded", "gamma", (-0.1, float("inf"))),
        ("edit", "threshold", (-0.1, 1.1)),
        ("edit", "edit_threshold", (-0.1, 1.1)),
        ("confidence-remask", "remask_threshold", (-0.1, 1.1)),
        ("remdm-cap", "eta", (-0.1, 1.1)),
        ("remdm-rescale", "eta", (-0.1, 1.1)),
        ("remdm-loop", "eta", (-0.1, 1.1)),
        ("remdm-loop", "t_on", (1.1, -0.1)),
        ("remdm-loop", "t_off", (-0.1, 0.6)),
        ("remdm-loop", "alpha_on", (-0.1, 1.1)),
        ("left-first", "slope", (-0.1, float("inf"), float("nan"))),
    ],
)
def test_senseless_settings_are_refused_in_one_line(
    sampler: str, setting: str, wrong: tuple[float, ...]
) -> None:
    for value in wrong:
        with pytest.raises(SettingsError, match=f"^{setting} ") as caught:
            SAMPLERS[sampler].with_settings({setting: value})
        assert "\n" not in str(caught.value)
