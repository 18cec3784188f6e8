"""What every objective of the table owes to the trainer."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Corruption
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.mask_rates import StepRates, UniformRates
from textdiffusion.objectives import OBJECTIVES, CountNelbo, CrossEntropy, Nelbo, Objective, Scores
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import SCHEDULES, Linear
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

VOCAB, MASK = 12, 11
every_objective = pytest.mark.parametrize("name", list(OBJECTIVES))


@dataclass(frozen=True)
class Table(Denoiser):
    """Logits that hang on the token alone, with a gradient; it writes down what it was asked."""

    weights: torch.Tensor
    asked: list[tuple[Tokens, Times, Where]]

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert where is not None
        self.asked.append((xt, t, where))
        return self.weights[xt[where]]


def table() -> Table:
    weights = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))
    return Table(weights.requires_grad_(), [])


def canvas(rows: int = 6, length: int = 10) -> Canvas:
    """Texts of unequal length; the first three tokens are a prompt; the last row has nothing to score."""
    tokens = torch.randint(0, VOCAB - 1, (rows, length), generator=torch.Generator().manual_seed(1))
    ends = torch.arange(length, length - rows, -1)
    valid = torch.arange(length)[None] < ends[:, None]
    editable = valid & (torch.arange(length)[None] >= 3)
    editable[-1] = False
    return Canvas(tokens, editable, valid)


def draws(rows: int, first: int = 0, total: int | None = None, step: int = 0) -> RowGenerator:
    return RowGenerator.for_batch(0, step, first=first, rows=rows, total=rows if total is None else total)


def fits(objective: Objective, corruption: Corruption) -> bool:
    try:
        objective.check(corruption)
    except IncompatibleError:
        return False
    return True


CASES = [
    pytest.param(
        OBJECTIVES[name](),
        CORRUPTIONS[noise](MASK, VOCAB, SCHEDULES[schedule]()),
        id=f"{name}-{noise}-{schedule}",
    )
    for name in OBJECTIVES
    for noise in CORRUPTIONS
    for schedule in ("linear", "cosine", "geometric")
    if fits(OBJECTIVES[name](), CORRUPTIONS[noise](MASK, VOCAB, Linear()))
]


# -- every objective -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "corruption"), CASES)
def test_scores_are_whole_and_in_place(objective: Objective, corruption: Corruption) -> None:
    texts, net = canvas(), table()
    scores: Scores = objective(net, corruption, texts, draws(6))
    assert scores.nats.shape == scores.asked.shape == texts.tokens.shape
    assert not bool((scores.asked & ~texts.editable).any())
    for part in (scores.nats, scores.cross_entropy):
        assert bool((part[~scores.asked] == 0.0).all())
        assert bool(part.isfinite().all())
        assert bool((part >= -1e-6).all())
    assert not bool((scores.correct & ~scores.asked).any())
    assert bool(((scores.rate >= 0.0) & (scores.rate <= 1.0)).all())
    assert scores.rate[-1] == 0.0
    assert not scores.cross_entropy.requires_grad
    (xt, t, _), *more = net.asked
    assert not more
    assert torch.equal(xt[~texts.editable], texts.tokens[~texts.editable])
    assert bool(((t >= 0.0) & (t <= 1.0)).all())
    scores.nats.sum().backward()
    assert net.weights.grad is not None
    assert bool(net.weights.grad.isfinite().all())
    assert bool(net.weights.grad.abs().sum() > 0.0)


@pytest.mark.parametrize(("objective", "corruption"), CASES)
def test_micro_batches_add_up_to_the_batch(objective: Objective, corruption: Corruption) -> None:
    texts, net = canvas(), table()
    whole = objective(net, corruption, texts, draws(6))
    parts = [
        objective(
            net,
            corruption,
            Canvas(*(part[low : low + 2] for part in (texts.tokens, texts.editable, texts.valid))),
            draws(2, first=low, total=6),
        )
        for low in (0, 2, 4)
    ]
    torch.testing.assert_close(torch.cat([part.nats for part in parts]), whole.nats)
    assert torch.equal(torch.cat([part.asked for part in parts]), whole.asked)


@pytest.mark.parametrize(("objective", "corruption"), CASES)
def test_nothing_to_score_costs_nothing(objective: Objective, corruption: Corruption) -> None:
    texts = replace(canvas(), editable=torch.zeros(6, 10, dtype=torch.bool))
    scores = objective(table(), corruption, texts, draws(6))
    assert scores.nats.sum() == 0.0
    scores.nats.sum().backward()


@every_objective
def test_the_step_decides_the_noise(name: str) -> None:
    net, texts = table(), canvas()
    one, again, other = (
        OBJECTIVES[name]()(net, Absorbing(MASK), texts, draws(6, step=step)) for step in (1, 1, 2)
    )
    assert torch.equal(one.nats, again.nats)
    noised = [xt for xt, _, _ in net.asked]
    assert torch.equal(noised[0], noised[1])
    assert torch.equal(one.asked, other.asked) == bool((noised[0] == texts.tokens).all())


@every_objective
def test_correct_counts_the_best_guess(name: str) -> None:
    net, texts = table(), canvas()
    scores = OBJECTIVES[name]()(net, Absorbing(MASK), texts, draws(6))
    xt, _, where = net.asked[0]
    best = Absorbing(MASK).clean_logits(net.weights.detach())[xt[where]].argmax(-1)
    assert torch.equal(scores.correct[scores.asked], best == texts.tokens[scores.asked])


# -- one by one ------------------------------------------------------------------------------------------


def even(rows: int, length: int) -> Canvas:
    return Canvas(torch.ones(rows, length, dtype=torch.int64), *torch.ones(2, rows, length, dtype=torch.bool))


@given(rows=st.integers(1, 24), length=st.integers(1, 9))
def test_count_form_masks_every_number_of_tokens_alike(rows: int, length: int) -> None:
    scores = CountNelbo()(table(), Absorbing(MASK), even(rows, length), draws(rows))
    counts = scores.asked.sum(1)
    assert bool(((counts >= 1) & (counts <= length)).all())
    if rows % length == 0:
        assert counts.bincount(minlength=length + 1)[1:].tolist() == [rows // length] * length
    weights = scores.nats / scores.cross_entropy
    expected = (length / counts[:, None]).expand_as(weights)
    torch.testing.assert_close(weights[scores.asked], expected[scores.asked])


def test_time_form_weighs_by_the_rate_and_spreads_the_times() -> None:
    net = table()
    scores = Nelbo(time_floor=0.01)(net, Absorbing(MASK), even(64, 50), draws(64))
    t = net.asked[0][1]
    assert t.min() > 0.01
    assert bool((((t[:, 0].double() - 0.01) / 0.99 * 64).ceil().long().bincount(minlength=65)[1:] == 1).all())
    weights = (scores.nats / scores.cross_entropy)[scores.asked]
    torch.testing.assert_close(weights, (0.99 / t).expand_as(scores.asked)[scores.asked])
    assert scores.rate.mean().item() == pytest.approx(0.505, abs=0.02)
    assert bool(((scores.rate - t[:, 0]).abs() < 0.35).all())


def test_cross_entropy_masks_by_its_rates() -> None:
    net = table()
    objective = CrossEntropy(UniformRates(0.2, 0.6))
    scores = objective(net, Absorbing(MASK), even(64, 200), draws(64))
    assert scores.rate.mean().item() == pytest.approx(0.4, abs=0.02)
    assert 0.1 < scores.rate.min() < scores.rate.max() < 0.7
    weights = (scores.nats / scores.cross_entropy)[scores.asked]
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 0.4))
    assert bool(((net.asked[0][1][:, 0] - scores.rate).abs() < 0.15).all())


def test_one_rate_for_the_batch() -> None:
    net = table()
    objective = CrossEntropy(StepRates(10), one_rate_per_batch=True)
    for step in range(5):
        scores = objective(net, Absorbing(MASK), even(8, 4), draws(8, step=step))
        t = net.asked[-1][1]
        assert len(t.unique()) == 1
        weights = (scores.nats / scores.cross_entropy)[scores.asked]
        torch.testing.assert_close(weights, (1 / t).expand_as(scores.asked)[scores.asked])
    assert len(torch.cat([t for _, t, _ in net.asked]).unique()) > 1


def test_kept_tokens_are_scored_too() -> None:
    """BERT's kept tenth: the struck positions are asked about, whatever stands there."""
    texts = even(40, 50)
    scores = CrossEntropy(UniformRates(1.0, 1.0))(
        table(), CORRUPTIONS["bert"](MASK, VOCAB, Linear()), texts, draws(40)
    )
    assert bool(scores.asked.all())


def test_counting_masks_needs_masks() -> None:
    with pytest.raises(
        IncompatibleError, match=r"CountNelbo counts masked tokens, but Mixture .* use the objective"
    ):
        CountNelbo().check(CORRUPTIONS["bert"](MASK, VOCAB, Linear()))


@pytest.mark.parametrize("floor", [0.0, 1.0, -1.0])
def test_time_floor_lies_inside(floor: float) -> None:
    with pytest.raises(SettingsError, match="time_floor"):
        Nelbo(floor)
