"""Noise that strikes again and again, against the chain written out and a joint that is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Interpolating, corruption_of
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.objectives import Nelbo
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import Cosine, Linear, LogLinear

from .noisy import Joint, fit, frames, noisy_oracle

SHARES = [0.0, 0.3, 1.0]
every_share = pytest.mark.parametrize("share", SHARES)
WIDE = torch.float64


def pi_of(corruption: Interpolating) -> Tensor:
    pi = torch.full((corruption.vocab_size,), corruption.word_share, dtype=WIDE)
    pi[corruption.mask_id] = corruption.mask_share
    return pi


def log_probabilities(corruption: Interpolating, rows: int, spread: float, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, corruption.vocab_size, generator=draws, dtype=WIDE)
    logits[:, corruption.mask_id] = -torch.inf
    return logits.log_softmax(-1)


def by_jumps(corruption: Interpolating, log_p: Tensor, x0: Tensor, xt: Tensor, alpha: float) -> Tensor:
    """The divergence of the two jump processes per unit of alpha, jump by jump."""
    pi, here = pi_of(corruption), xt[:, None]
    a = alpha * one_hot(x0, corruption.vocab_size).to(WIDE) + (1 - alpha) * pi
    b = alpha * log_p.exp() + (1 - alpha) * pi
    true, said = (q / q.gather(-1, here) for q in (a, b))
    cost = said - true + torch.where(true > 0.0, true * (true.log() - said.log()), 0.0)
    return pi[xt] / alpha * cost.scatter(-1, here, 0.0).sum(-1)


# -- the closed form -------------------------------------------------------------------------------------


@given(
    vocab=st.integers(2, 40),
    share=st.sampled_from([0.0, 1.0]) | st.floats(1e-6, 1.0 - 1e-6),
    alpha=st.floats(1e-3, 1.0 - 1e-9),
    spread=st.floats(0.0, 8.0),
    seed=st.integers(0, 10**6),
)
def test_closed_form_is_the_sum_over_jumps(
    vocab: int, share: float, alpha: float, spread: float, seed: int
) -> None:
    mask = seed % vocab
    corruption = Interpolating(mask, vocab, share)
    log_p = log_probabilities(corruption, vocab, spread, seed)
    x0 = torch.full((vocab,), (mask + 1 + seed % (vocab - 1)) % vocab)
    xt = torch.arange(vocab)  # every token that noise may have left
    found = corruption.divergence(log_p, x0, xt, torch.full((vocab,), alpha, dtype=WIDE))
    expected = by_jumps(corruption, log_p, x0, xt, alpha)
    possible = pi_of(corruption)[xt] > 0.0
    torch.testing.assert_close(found[possible], expected[possible], rtol=1e-10, atol=1e-10)
    assert bool(found.isfinite().all() and (found > -1e-9).all())


@every_share
@pytest.mark.parametrize("alpha", [0.0, 1e-30, 1e-9, 1.0 - 1e-9, 1.0])
def test_the_ends_of_time_are_numbers_and_so_are_their_gradients(share: float, alpha: float) -> None:
    corruption = Interpolating(2, 50, share)
    logits = (9.0 * torch.randn(50, 50, generator=torch.Generator().manual_seed(0))).requires_grad_()
    log_p = corruption.clean_logits(logits).log_softmax(-1)
    found = corruption.divergence(log_p, torch.full((50,), 7), torch.arange(50), torch.full((50,), alpha))
    usual = (torch.arange(50) == 7) | (torch.arange(50) == 2) if alpha == 1.0 else torch.ones(50).bool()
    (gradient,) = torch.autograd.grad(found[usual].sum(), logits)
    assert bool(found[usual].isfinite().all() and gradient.isfinite().all())
    if alpha <= 1e-9:
        assert float(found[usual].detach().abs().max()) < 1e-4 or share == 1.0


def test_float32_is_enough_for_many_tokens() -> None:
    corruption = Interpolating(0, 50_000, 0.0)
    log_p = log_probabilities(corruption, 6, 3.0, 0)
    x0 = torch.tensor([5, 5, 5, 9, 9, 9])
    xt = torch.tensor([5, 6, 7, 9, 8, 4])
    for alpha in (1e-3, 0.5, 0.999):
        at = torch.full((6,), alpha, dtype=WIDE)
        wide = corruption.divergence(log_p, x0, xt, at)
        narrow = corruption.divergence(log_p.float(), x0, xt, at)
        torch.testing.assert_close(narrow, wide, rtol=1e-5, atol=1e-5)


def test_logits_of_other_tokens_are_refused() -> None:
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(IncompatibleError, match="logits for 5 tokens, but the noise is made of 4"):
        Interpolating(3, 4, 0.0).bound(torch.zeros(1, 5), one, one, torch.full((1,), 0.5))


# -- the chain -------------------------------------------------------------------------------------------


def step_kernel(corruption: Interpolating, alpha_s: float, alpha_t: float) -> Tensor:
    """q(x_t | x_s), [vocab, vocab]."""
    kept = alpha_t / alpha_s
    return kept * torch.eye(corruption.vocab_size, dtype=WIDE) + (1 - kept) * pi_of(corruption)


@every_share
def test_many_strikes_give_the_marginal(share: float) -> None:
    corruption = Interpolating(2, 5, share)
    alphas = torch.linspace(1.0, 0.2, 40, dtype=WIDE).tolist()
    chain = torch.eye(5, dtype=WIDE)
    for before, after in pairwise(alphas):
        chain = chain @ step_kernel(corruption, before, after)
    at = torch.full((5, 1), 0.8, dtype=WIDE)
    torch.testing.assert_close(chain, corruption.marginal(torch.arange(5)[:, None], at, 5)[:, 0])


@given(
    share=st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0),
    times=st.tuples(st.floats(0.0, 1.0), st.floats(0.01, 1.0)),
    seed=st.integers(0, 10**6),
)
def test_posterior_is_bayes_on_the_chain(share: float, times: tuple[float, float], seed: int) -> None:
    vocab, mask = 5, 2
    corruption = Interpolating(mask, vocab, share)
    s, t = times[0] * times[1] * 0.999, times[1]
    p = log_probabilities(corruption, 1, 2.0, seed).exp().expand(vocab, -1)
    at_s, at_t = (torch.full((vocab,), time, dtype=WIDE) for time in (s, t))
    pi = pi_of(corruption)
    before = (1 - s) * p[0] + s * pi
    both = before[:, None] * step_kernel(corruption, 1 - s, 1 - t)
    reached = both.sum(0)
    found = corruption.posterior(p, torch.arange(vocab), at_s, at_t)
    torch.testing.assert_close(found.sum(-1), torch.ones(vocab, dtype=WIDE))
    seen = reached > 1e-12
    torch.testing.assert_close(found[seen], (both / reached).T[seen], rtol=1e-9, atol=1e-9)
    clean = p[0][:, None] * step_kernel(corruption, 1.0, 1 - t)
    origin = corruption.origin(p, torch.arange(vocab), at_t)
    seen = clean.sum(0) > 1e-12
    torch.testing.assert_close(origin[seen], (clean / clean.sum(0)).T[seen], rtol=1e-9, atol=1e-9)
    assert bool((origin[:, mask] == 0.0).all() or share == 1.0)


def test_masks_alone_are_the_absorbing_process() -> None:
    one, other = Interpolating(5, 6, 1.0, Cosine()), Absorbing(5, Cosine())
    assert one.masks_only and one.mask_share == other.mask_share == 1.0
    draws = RowGenerator.for_rows(range(8))
    x0 = torch.arange(40).view(8, 5) % 5
    s, t = (torch.full((8, 1), time, dtype=WIDE) for time in (0.3, 0.7))
    xt = other.corrupt(x0, t, draws).tokens
    assert torch.equal(one.corrupt(x0, t, draws).tokens, xt)
    assert torch.equal(one.prior(x0, draws), other.prior(x0, draws))
    assert torch.equal(one.may_be_noise(xt), other.may_be_noise(xt))
    logits = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(0))
    p = one.clean_logits(logits).double().softmax(-1)
    torch.testing.assert_close(one.marginal(x0, t, 6), other.marginal(x0, t, 6))
    torch.testing.assert_close(one.posterior(p, xt, s, t), other.posterior(p, xt, s, t))
    found, expected = (noise.bound(logits, x0, xt, t).double() for noise in (one, other))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


# -- the bound of a joint that is known ------------------------------------------------------------------


def integral(joint: Joint, corruption: Interpolating, told: object, low: float = 0.0) -> Tensor:
    """E of the bound over time from `low` to 1 and over all x_t, for each text in nats."""
    points, weights = np.polynomial.legendre.leggauss(80)
    u, w = (points + 1) / 2, weights / 2
    states, length = joint.states, joint.texts.shape[1]
    total = torch.zeros(len(joint.texts), dtype=WIDE)
    for share, weight in zip(u.tolist(), w.tolist(), strict=True):
        t = low + (1 - low) * share**4  # close together where the logarithm is
        scale = (1 - low) * 4 * share**3 * weight
        assert callable(told)
        log_p = told(t).log()
        alpha = corruption.schedule.alpha(torch.full((len(states),), t, dtype=WIDE))
        slope = -corruption.schedule.alpha_prime(torch.full((), t, dtype=WIDE))
        reach = joint.reach(corruption, t)
        for i in range(length):
            cost = torch.stack(
                [
                    corruption.divergence(log_p[:, i], torch.full((len(states),), v), states[:, i], alpha)
                    for v in range(joint.words)
                ]
            )
            total += scale * slope * (reach * cost[joint.texts[:, i]]).sum(1)
    return total


@every_share
@pytest.mark.parametrize("schedule", [Linear(), LogLinear(0.2)], ids=repr)
def test_bound_of_the_oracle_is_the_likelihood(share: float, schedule: Linear | LogLinear) -> None:
    """Up to what x_1 still tells of x_0, which is nothing where alpha ends at 0."""
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, share, schedule)
    found = integral(joint, corruption, lambda t: joint.told(corruption, t))
    reach, law = joint.reach(corruption, 1.0), joint.law(corruption, 1.0)
    left = torch.where(reach > 0.0, reach * (reach.log() - law.log()), 0.0).sum(1)
    torch.testing.assert_close(found + left, -joint.chance.log(), atol=2e-4, rtol=0)
    assert schedule != Linear() or float(left.abs().max()) < 1e-9


def wrong(joint: Joint, t: float) -> Tensor:
    """A denoiser that is no oracle of anything: [states, length, vocab]."""
    draws = torch.Generator().manual_seed(1)
    shape = (len(joint.states), joint.texts.shape[1], joint.vocab)
    one, other = (torch.randn(shape, generator=draws, dtype=WIDE) for _ in range(2))
    logits = one + t * other
    logits[..., joint.words] = -torch.inf
    return logits.softmax(-1)


def chain(joint: Joint, corruption: Interpolating, told: object, steps: int) -> Tensor:
    """Probabilities of the texts that so many steps of the posterior make of noise."""
    assert callable(told)
    states, length = joint.states, joint.texts.shape[1]
    pi = pi_of(corruption)
    law = torch.stack([pi[states[:, i]] for i in range(length)]).prod(0)
    for step in range(steps, 0, -1):
        s, t = (torch.full((len(states),), at / steps, dtype=WIDE) for at in (step - 1, step))
        p = told(step / steps)
        each = [
            corruption.posterior(p[:, i], states[:, i], s, t)
            if step > 1
            else corruption.origin(p[:, i], states[:, i], t)
            for i in range(length)
        ]
        moves = torch.stack([each[i][:, states[:, i]] for i in range(length)]).prod(0)
        law = law @ moves
    return law[joint.place(joint.texts)]


@every_share
def test_the_oracles_chain_tends_to_the_joint(share: float) -> None:
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, share)
    far, near = (
        float((chain(joint, corruption, lambda t: joint.told(corruption, t), n) - joint.chance).abs().sum())
        for n in (10, 80)
    )
    assert near < 0.25 * far and near < 0.03


@every_share
def test_bound_lies_above_the_likelihood_of_the_chain(share: float) -> None:
    """For a denoiser that is wrong, too; what it makes is another law than the data's."""
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, share)
    bound = integral(joint, corruption, lambda t: wrong(joint, t))
    gaps = [bound + chain(joint, corruption, lambda t: wrong(joint, t), steps).log() for steps in (100, 300)]
    assert bool((gaps[1] > 0.0).all()), gaps[1]
    assert float((gaps[1] - gaps[0]).abs().max()) < 0.05
    assert float(gaps[1].max()) > 0.01


def canvas(tokens: Tensor) -> Canvas:
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Canvas(tokens, everywhere, everywhere)


@every_share
def test_the_objective_estimates_the_integral(share: float) -> None:
    joint, floor, rows = Joint.random(), 0.05, 4000
    corruption = Interpolating(joint.words, joint.vocab, share, Cosine())
    expected = integral(joint, corruption, lambda t: joint.told(corruption, t), floor)[1]

    texts = canvas(joint.texts[1].expand(rows, -1))
    oracle = noisy_oracle(joint, corruption)
    scores = Nelbo(floor)(
        oracle, corruption, texts, RowGenerator.for_batch(0, 0, first=0, rows=rows, total=rows)
    )
    nats = scores.nats.sum(1).double()
    error = float(nats.std() / math.sqrt(rows))
    assert abs(float(nats.mean() - expected)) < 4.0 * error
    assert error < 0.1


# -- sampling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "sampler", "settings"),
    [(0.0, "posterior", {}), (0.0, "psi", {"kappa": 0.98}), (0.3, "psi", {"kappa": 0.95})],
)
def test_the_law_of_x_t_is_kept_at_every_step(share: float, sampler: str, settings: dict[str, float]) -> None:
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, share)
    found = frames(joint, corruption, 120, sampler, **settings)
    for step in (20, 60, 100, 115, 120):
        assert fit(joint, found[step], joint.law(corruption, 1.0 - step / 120)) > 1e-3, step


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("share", SHARES)
def test_a_single_token_keeps_its_law_in_few_steps(kappa: float, share: float) -> None:
    """Nothing is drawn together, so that every kappa is exact however few the steps."""
    joint = Joint(torch.arange(3)[:, None], torch.tensor([0.6, 0.3, 0.1], dtype=WIDE), 3)
    corruption = Interpolating(3, 4, share)
    found = frames(joint, corruption, 6, "psi", kappa=kappa)
    for step in range(1, 7):
        assert fit(joint, found[step], joint.law(corruption, 1.0 - step / 6)) > 1e-3, step


def test_psi_without_a_corrector_is_the_posterior() -> None:
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, 0.3)
    pairs = zip(
        frames(joint, corruption, 12, "psi", kappa=1.0),
        frames(joint, corruption, 12, "posterior"),
        strict=True,
    )
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_greedy_tail_takes_the_most_probable_token_as_the_others_tell_it() -> None:
    joint = Joint.random()
    corruption = Interpolating(joint.words, joint.vocab, 0.0)
    plain, greedy = (frames(joint, corruption, 20, name) for name in ("posterior", "greedy-tail"))
    assert all(torch.equal(one, other) for one, other in zip(plain[:20], greedy[:20], strict=True))
    best = joint.told(corruption, 1 / 20).argmax(-1)[joint.place(greedy[19])]
    assert torch.equal(greedy[20], best)


# -- settings --------------------------------------------------------------------------------------------


def test_settings_reach_the_process_or_are_refused() -> None:
    made = corruption_of("mask-uniform", {"mask_share": 0.25}, 3, 9, Linear())
    assert made == Interpolating(3, 9, 0.25)
    assert CORRUPTIONS["uniform"](3, 9, Linear()) == Interpolating(3, 9, 0.0)
    with pytest.raises(SettingsError, match=r"'noise_settings.mask_shar'. Did you mean mask_share\?"):
        corruption_of("mask-uniform", {"mask_shar": 0.25}, 3, 9, Linear())
    with pytest.raises(SettingsError, match="There is nothing to set here"):
        corruption_of("bert", {"mask_share": 0.25}, 3, 9, Linear())
    with pytest.raises(SettingsError, match=r"mask_share is 1\.5"):
        corruption_of("mask-uniform", {"mask_share": 1.5}, 3, 9, Linear())
