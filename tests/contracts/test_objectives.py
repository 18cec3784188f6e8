"""What every objective of the table owes to the trainer."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Corruption
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.mask_rates import StepRates, UniformRates
from textdiffusion.objectives import (
    OBJECTIVES,
    BlockNelbo,
    CountNelbo,
    CrossEntropy,
    Distilling,
    Duo,
    EndPosition,
    Nelbo,
    Objective,
    Scores,
)
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import SCHEDULES, Linear
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where
from textdiffusion.soft_tokens import SoftTokens

VOCAB, MASK = 12, 11


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

    def soft(self, xt: SoftTokens, t: Times, *, where: Where | None = None, **told: Any) -> Logits:
        assert where is not None
        self.asked.append((xt.largest, t, where))
        return (self.weights[xt.ids] * xt.weights[..., None]).sum(2)[where]


def table(seed: int = 0) -> Table:
    weights = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed))
    return Table(weights.requires_grad_(), [])


def ready(objective: Objective) -> Objective:
    """An objective that was told all that it has to be told."""
    taught = objective.taught(table(1), 0) if isinstance(objective, Distilling) else objective
    return taught.told((3, 4))


KINDS: dict[str, Objective] = {
    **{name: ready(kind()) for name, kind in OBJECTIVES.items()},
    "short-blocks": BlockNelbo(block_size=4),
    "duo": Duo(flip_high=0.8),
    "duo-warm": Duo(flip_low=0.3, flip_high=0.6, temperature=1.0, top=VOCAB),
}
every_objective = pytest.mark.parametrize("objective", KINDS.values(), ids=KINDS)


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


def noise_for(objective: Objective) -> Corruption:
    """Masks, or what the objective is for."""
    one, other = Absorbing(MASK), CORRUPTIONS["uniform"](MASK, VOCAB, Linear())
    return one if fits(objective, one) else other


CASES = [
    pytest.param(
        objective,
        CORRUPTIONS[noise](MASK, VOCAB, SCHEDULES[schedule]()).told(torch.arange(VOCAB)),
        id=f"{name}-{noise}-{schedule}",
    )
    for name, objective in KINDS.items()
    for noise in CORRUPTIONS
    for schedule in ("linear", "cosine", "geometric")
    if fits(objective, CORRUPTIONS[noise](MASK, VOCAB, Linear()))
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
    assert scores.rate[-1].max() == 0.0
    assert not scores.cross_entropy.requires_grad
    (xt, t, _), *more = net.asked
    assert not more
    xt = xt[:, :10]  # behind it a clean text may stand
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
def test_the_step_decides_the_noise(objective: Objective) -> None:
    net, texts = table(), canvas()
    noise = noise_for(objective)
    one, again, other = (objective(net, noise, texts, draws(6, step=step)) for step in (1, 1, 2))
    assert torch.equal(one.nats, again.nats)
    noised = [xt[:, :10] for xt, _, _ in net.asked]
    assert torch.equal(noised[0], noised[1])
    same = isinstance(objective, EndPosition) or bool((noised[0] == texts.tokens).all())
    assert torch.equal(noised[0], noised[2]) == same
    if noise.masks_only:
        assert torch.equal(one.asked, other.asked) == same


@every_objective
def test_correct_counts_the_best_guess(objective: Objective) -> None:
    net, texts = table(), canvas()
    scores = objective(net, noise_for(objective), texts, draws(6))
    if isinstance(objective, EndPosition | Duo):
        return  # the one guesses ends (tests/lengths), the other sees more than x_t (tests/exact)
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


# -- block by block --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seer(Denoiser):
    """Logits that hang on all that a query may see, and where; no two sights give the same."""

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert positions is not None
        attend = torch.ones_like(xt, dtype=torch.bool) if attend is None else attend
        sight = attend if attend.ndim == 3 else attend[:, None].expand(-1, xt.shape[1], -1)
        sign = torch.sin(1.0 + 1.7 * xt + 0.3 * xt * positions)
        found = (sight * sign[:, None]).sum(2) + 0.1 * positions
        logits = torch.sin(found[..., None] * torch.arange(1, VOCAB + 1))
        return logits if where is None else logits[where]


@given(rows=st.integers(1, 8), length=st.integers(1, 12), more=st.integers(0, 4), step=st.integers(0, 9))
def test_one_block_is_the_whole_text(rows: int, length: int, more: int, step: int) -> None:
    texts, source = even(rows, length), draws(rows, step=step)
    one, other = (
        rule(Seer(), Absorbing(MASK), texts, source) for rule in (BlockNelbo(length + more), CountNelbo())
    )
    assert torch.equal(one.asked, other.asked)
    torch.testing.assert_close(one.nats, other.nats, atol=1e-4, rtol=1e-4)


def test_blocks_of_one_token_are_the_likelihood_from_left_to_right() -> None:
    """Against one call for each position, everything behind it hidden; and without any variance."""
    texts = canvas()
    rows, length = texts.tokens.shape
    expected = torch.zeros(rows, length)
    for place in range(length):
        shown = texts.tokens.clone()
        shown[:, place] = MASK
        cut = Canvas(shown, texts.editable, texts.valid & (torch.arange(length) <= place))
        logits = Seer()(shown, torch.ones(rows, 1), attend=cut.valid, positions=texts.positions)[:, place]
        expected[:, place] = Absorbing(MASK).nll(logits, texts.tokens[:, place])[0]
    for step in range(3):
        scores = BlockNelbo(1)(Seer(), Absorbing(MASK), texts, draws(6, step=step))
        torch.testing.assert_close(scores.nats, expected * texts.editable, atol=1e-5, rtol=1e-5)
        assert torch.equal(scores.asked, texts.editable)


@given(block=st.integers(1, 6), changed=st.integers(0, 9))
def test_a_block_is_read_with_the_clean_past_and_nothing_behind_it(block: int, changed: int) -> None:
    texts = even(2, 10)
    other = replace(texts, tokens=texts.tokens.clone())
    other.tokens[:, changed] = 2
    one, two = (BlockNelbo(block)(Seer(), Absorbing(MASK), text, draws(2)) for text in (texts, other))
    assert torch.equal(one.asked, two.asked)
    moved = ((one.nats - two.nats).abs() > 1e-5).any(0)
    first = changed // block * block
    assert not bool(moved[:first].any())
    # A token behind the changed one's block sees it, though its noisy copy may be masked.
    assert bool(moved[first + block :].any()) or first + block >= 10


@given(
    block=st.integers(1, 7),
    rows=st.integers(1, 12),
    edges=st.tuples(st.integers(0, 19), st.integers(1, 20)).filter(lambda edges: edges[0] < edges[1]),
)
def test_rates_stay_inside_the_clip(block: int, rows: int, edges: tuple[int, int]) -> None:
    low, high = edges[0] / 20, edges[1] / 20
    texts = canvas(rows)
    scores = BlockNelbo(block, low, high)(table(), Absorbing(MASK), texts, draws(rows))
    for first in range(0, 10, block):
        part = slice(first, first + block)
        total, count = texts.editable[:, part].sum(1), scores.asked[:, part].sum(1)
        for n, most in zip(count.tolist(), total.tolist(), strict=True):
            allowed = [
                k for k in range(1, most + 1) if 20 * k > edges[0] * most and 20 * k <= edges[1] * most
            ]
            lowest = next((k for k in range(1, most + 1) if 20 * k > edges[0] * most), 0)
            assert n in (allowed or [lowest])
        weights = (scores.nats / scores.cross_entropy)[:, part]
        expected = (total / count.clamp(min=1))[:, None].expand_as(weights)
        asked = scores.asked[:, part]
        torch.testing.assert_close(weights[asked], expected[asked])


def test_every_count_comes_alike_in_every_block() -> None:
    """16 rows of 5 blocks of 4: each number of masks in a quarter of all, and of each block."""
    found = BlockNelbo(4)(table(), Absorbing(MASK), even(16, 20), draws(16)).asked.view(16, 5, 4).sum(2)
    assert found.flatten().bincount(minlength=5).tolist() == [0, 20, 20, 20, 20]
    for block in range(5):
        assert found[:, block].bincount(minlength=5).tolist() == [0, 4, 4, 4, 4]
    assert all(len(row.unique()) >= 3 for row in found)


@pytest.mark.parametrize("bad", [{"block_size": 0}, {"low": 0.5, "high": 0.5}, {"low": -0.1}, {"high": 1.1}])
def test_clips_and_blocks_that_cannot_be_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"block_size is 0|mask rates above"):
        BlockNelbo(**bad)  # type: ignore[arg-type]
