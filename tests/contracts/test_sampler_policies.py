"""The rules by which positions are chosen, against their plainest restatement."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.corruptions import Absorbing
from textdiffusion.errors import SettingsError
from textdiffusion.generation import Decoding
from textdiffusion.predictions import Filters, Prediction
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS, State
from textdiffusion.samplers.answer import Answer, falling, top
from textdiffusion.samplers.commit import Commit, EntropyBounded, SureTogether
from textdiffusion.samplers.moment import Moment
from textdiffusion.samplers.pace import LeftFirst, Pace
from textdiffusion.samplers.remdm import Capped, Loop, Rescaled
from textdiffusion.schedules import SCHEDULES, Linear

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
            Decoding().changed({"sampler": sampler, setting: value})
        assert "\n" not in str(caught.value)
        assert "Did you mean" not in str(caught.value)


# -- paces and remasking on schedule ---------------------------------------------------------------------

shares = st.floats(0.0, 1.0)
loops = st.tuples(shares, shares, shares).map(lambda n: Loop(max(n[:2]), min(n[:2]), n[2]))
paces = loops | st.builds(LeftFirst, slope=st.floats(0.0, 1e6))


@given(pace=paces, schedule=st.sampled_from(list(SCHEDULES)), holes=st.lists(st.booleans(), max_size=6))
def test_every_pace_falls_from_noise_to_text(pace: Pace, schedule: str, holes: list[bool]) -> None:
    alpha = SCHEDULES[schedule]()
    window = torch.tensor([[True, *holes], [False, *holes]])
    times = [torch.full((2, 1), step / 20, dtype=torch.float64) for step in range(20, -1, -1)]
    paced = torch.stack([pace(time, window, alpha).expand(window.shape)[window] for time in times])
    assert bool((paced[0] == 1.0).all())
    assert bool((paced[-1] == 0.0).all())
    assert bool((paced.diff(dim=0) <= 1e-9).all())


@given(slope=st.floats(0.0, 50.0), time=shares)
def test_left_first_leaves_no_position_behind_its_left(slope: float, time: float) -> None:
    window = torch.tensor([[False, True, True, False, True, True]])
    now = torch.full((1, 1), time, dtype=torch.float64)
    paced = LeftFirst(slope)(now, window, Linear())[window]
    assert bool((paced.diff() >= -1e-12).all())
    expected = [min(max((1 + slope) * time - slope * (1 - i / 3), 0.0), 1.0) for i in range(4)]
    assert paced.tolist() == pytest.approx(expected, abs=1e-9)


def test_the_network_is_told_the_time_of_each_position() -> None:
    told: list[Tensor] = []

    def predict(xt: Tensor, t: Tensor, where: Tensor) -> Prediction:
        told.append(t)
        return Filters()(torch.zeros(int(where.sum()), VOCAB))

    state, end, now = state_of([False] * 5), torch.tensor([[0.0]]), torch.tensor([[0.5]])
    for name, settings in (("left-first", {"slope": 0.5}), ("remdm-loop", {}), ("ancestral", {})):
        sampler = SAMPLERS[name].with_settings(settings).sampler
        sampler.step(predict, state, end, now, Absorbing(MASK), RowGenerator.for_rows([0]))
    expected = [[0.25, 0.375, 0.5, 0.625, 0.75], [0.1], [0.5]]
    for found, times in zip(told, expected, strict=True):
        torch.testing.assert_close(found, torch.tensor([times]))


@given(eta=shares, rates=st.tuples(st.floats(0.01, 1.0), shares))
@pytest.mark.parametrize("rule", [Capped, Rescaled])
def test_writing_makes_up_for_what_is_taken_back(
    rule: type[Capped | Rescaled], eta: float, rates: tuple[float, float]
) -> None:
    """The chance of a mask to be written is that of ReMDM, and sigma is never above its bound."""
    before, after = (torch.full((1, 1), rate, dtype=torch.float64) for rate in (max(rates), min(rates)))
    sigma = rule(eta).chance(before, after)
    alpha_t, alpha_s = 1.0 - before, 1.0 - after
    assert float(sigma) <= min(1.0, float((1.0 - alpha_s) / alpha_t) if float(alpha_t) else 1.0) + 1e-9
    now = Moment.of(state_of([False] * 4), before, after, sigma)
    published = (alpha_s - (1.0 - sigma) * alpha_t) / (1.0 - alpha_t)
    torch.testing.assert_close(1.0 - now.goal / now.before, published, atol=1e-7, rtol=0)
