"""Noise that strikes some tokens sooner than others, against joints that are known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare
from torch import Tensor
from torch.nn.functional import one_hot

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing, Corruption, Spindle, corruption_of
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.generation import Decoding, denoise
from textdiffusion.objectives import BlockNelbo, CountNelbo, CrossEntropy, Nelbo, NextToken
from textdiffusion.objectives.nelbo import whole_text_bound
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import SCHEDULES, Cosine, Linear

from .noisy import Joint, Says, Told

WIDE = torch.float64
COUNTS = torch.tensor([900, 90, 9, 0])


def spindle(joint: Joint, strength: float = 0.3) -> Spindle:
    """With words of very unequal frequency, the first one the most frequent."""
    counts = COUNTS[[*range(joint.words), 3]]
    return Spindle(joint.words, joint.vocab, strength).told(counts)


def pairs() -> Joint:
    """Two tokens of three words: the frequent word stands beside a rare one, and tells which."""
    texts = Joint.random(2, 3).texts
    chance = torch.full((9,), 0.01, dtype=WIDE)
    for text, p in {(0, 1): 0.3, (1, 0): 0.3, (0, 2): 0.2, (2, 0): 0.14}.items():
        chance[text[0] * 3 + text[1]] = p
    return Joint(texts, chance / chance.sum(), 3)


JOINTS = {"pairs": pairs(), "triples": Joint.random(3, 2), "ties": Joint.random(2, 3)}
every_joint = pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS)


def formula(counts: Tensor, strength: float, t: float) -> tuple[Tensor, Tensor]:
    """alpha of each token at t and the rate at which its mask is lifted, as the paper writes them."""
    share = (counts + 1).double() / (counts + 1).sum()
    information = -share.log()
    excess = 1.0 - (share * information).sum() / information
    excess = excess.clamp(-0.95 / (math.pi * strength), 0.95 / (math.pi * strength))
    alpha = 1.0 - t - strength * math.sin(math.pi * t) * excess
    return alpha, (1.0 + strength * math.pi * math.cos(math.pi * t) * excess) / (1.0 - alpha)


def believed(joint: Joint, corruption: Corruption, t: float) -> Tensor:
    """p(x_0 at i | x_t), that of a mask given that it is one at t: [states, length, vocab]."""
    texts = (joint.reach(corruption, t) * joint.chance[:, None]).T
    found = torch.zeros(len(texts), joint.texts.shape[1], joint.vocab, dtype=WIDE)
    for i in range(joint.texts.shape[1]):
        found[:, i].index_add_(1, joint.texts[:, i], texts)
    # Of what cannot have come about anything may be said.
    found = torch.where(
        found.sum(-1, keepdim=True) > 0.0, found, (torch.arange(joint.vocab) < joint.words) * 1.0
    )
    return found / found.sum(-1, keepdim=True)


def wrong(joint: Joint, t: float) -> Tensor:
    """A denoiser that is no oracle of anything."""
    draws = torch.Generator().manual_seed(1)
    shape = (len(joint.states), joint.texts.shape[1], joint.vocab)
    one, other = (torch.randn(shape, generator=draws, dtype=WIDE) for _ in range(2))
    logits = one + t * other
    logits[..., joint.words] = -torch.inf
    return logits.softmax(-1)


def times(count: int = 30) -> list[tuple[float, float]]:
    """Times in (0, 1) with their weights in an integral."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def words_by(joint: Joint) -> Tensor:
    """Every word for every noisy text, [words, states]."""
    return torch.arange(joint.words)[:, None].expand(-1, len(joint.states))


def integral(joint: Joint, corruption: Corruption, told: Told) -> Tensor:
    """The bound on each text, in nats: E over t and x_t of the integrand."""
    states, length = joint.states, joint.texts.shape[1]
    total = torch.zeros(len(joint.texts), dtype=WIDE)
    for t, weight in times():
        log_p, reach = told(t).log(), joint.reach(corruption, t)
        words, at = words_by(joint), torch.full((joint.words, len(states)), t, dtype=WIDE)
        for i in range(length):
            logits = log_p[:, i].expand(joint.words, -1, -1)
            cost = corruption.bound(logits, words, states[:, i].expand_as(words), at).double()
            total += weight * (reach * cost[joint.texts[:, i]]).sum(1)
    return total


def back(joint: Joint, corruption: Corruption, told: Told, step: int, steps: int) -> list[Tensor]:
    """The law of each token one step earlier, by the model's word: [states, vocab] each."""
    states = joint.states
    s, t = (torch.full((len(states),), at / steps, dtype=WIDE) for at in (step - 1, step))
    p = told(step / steps)
    return [corruption.posterior(p[:, i], states[:, i], s, t) for i in range(states.shape[1])]


def chain(joint: Joint, corruption: Corruption, told: Told, steps: int) -> Tensor:
    """Probabilities of the texts that so many steps of the posterior make of masks."""
    states, length = joint.states, joint.texts.shape[1]
    law = torch.zeros(len(states), dtype=WIDE)
    law[-1] = 1.0
    for step in range(steps, 0, -1):
        each = back(joint, corruption, told, step, steps)
        law = law @ torch.stack([each[i][:, states[:, i]] for i in range(length)]).prod(0)
    return law[joint.place(joint.texts)]


def stepwise(joint: Joint, corruption: Corruption, told: Told, steps: int) -> Tensor:
    """The bound on each text with so many steps: the divergence of the true posterior, step by step."""
    states, length = joint.states, joint.texts.shape[1]
    total = torch.zeros(len(joint.texts), dtype=WIDE)
    for step in range(1, steps + 1):
        words = words_by(joint)
        s, t = (torch.full(words.shape, at / steps, dtype=WIDE) for at in (step - 1, step))
        truth = one_hot(words, joint.vocab).to(WIDE)
        reach, model = joint.reach(corruption, step / steps), back(joint, corruption, told, step, steps)
        for i in range(length):
            q = corruption.posterior(truth, states[:, i].expand_as(words), s, t)
            cost = torch.where(q > 0.0, q * (q.log() - model[i].log()), 0.0).sum(-1)
            total += torch.where(reach > 0.0, reach * cost[joint.texts[:, i]], 0.0).sum(1)
    return total


# -- the forward process ---------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=12),
    strength=st.floats(0.0, 2.0),
    schedule=st.sampled_from([kind() for kind in SCHEDULES.values()]),
)
def test_alpha_of_every_token_falls(counts: list[int], strength: float, schedule: Linear) -> None:
    size = len(counts)
    corruption = Spindle(0, size, strength, schedule).told(torch.tensor(counts))
    tokens, at = torch.arange(size)[:, None].expand(size, 201), torch.linspace(0.0, 1.0, 201, dtype=WIDE)
    alpha = corruption.survival(tokens, at[None])
    even = schedule.alpha(at)
    assert bool((alpha.diff(dim=1) < 0.0).all())
    torch.testing.assert_close(alpha[:, 0], even[:1].expand(size), atol=1e-4, rtol=0)
    assert bool(((alpha >= 0.0) & (alpha <= 1.0)).all())
    order = torch.tensor(counts).argsort()
    assert bool((alpha[order, 100].diff() >= -1e-12).all()), "the rarer, the sooner"


@pytest.mark.parametrize("time", [0.2, 0.7])
def test_tokens_are_struck_by_their_frequency(time: float) -> None:
    corruption = Spindle(3, 4).told(COUNTS)
    tokens = torch.tensor([[0, 1, 2]]).expand(6000, 3)
    struck = corruption.corrupt(tokens, torch.full((6000, 1), time), RowGenerator.for_rows(range(6000)))
    assert torch.equal(struck.tokens == 3, struck.hit)
    alpha, _ = formula(COUNTS, 0.3, time)
    for count, survives in zip(struck.hit.sum(0).tolist(), alpha.tolist(), strict=False):
        assert binomtest(count, 6000, 1.0 - survives).pvalue > 1e-3
    assert alpha[2] < 1.0 - time < alpha[0]


def test_without_strength_it_is_even_noise() -> None:
    one, other = Spindle(3, 4, 0.0, Cosine()).told(COUNTS), Absorbing(3, Cosine())
    draws = torch.Generator().manual_seed(0)
    logits, x0 = torch.randn(50, 4, generator=draws), torch.arange(50) % 3
    xt, t = x0.where(torch.arange(50) % 4 == 0, 3), torch.rand(50, generator=draws, dtype=WIDE)
    torch.testing.assert_close(one.bound(logits, x0, xt, t), other.bound(logits, x0, xt, t).float())
    p, s = other.clean_logits(logits).double().softmax(-1), t / 2
    torch.testing.assert_close(one.posterior(p, xt, s, t), other.posterior(p, xt, s, t))


# -- the bound -------------------------------------------------------------------------------------------


@every_joint
def test_bound_of_the_oracle_is_the_likelihood(joint: Joint) -> None:
    corruption = spindle(joint)
    found = integral(joint, corruption, lambda t: believed(joint, corruption, t))
    torch.testing.assert_close(found, -joint.chance.log(), atol=1e-4, rtol=0)


@every_joint
def test_bound_is_the_limit_of_many_steps_and_above_the_likelihood(joint: Joint) -> None:
    """Of a denoiser that is wrong; an oracle would pass for any order."""
    corruption = spindle(joint)
    bound = integral(joint, corruption, lambda t: wrong(joint, t))
    few, many = (stepwise(joint, corruption, lambda t: wrong(joint, t), steps) for steps in (20, 80))
    torch.testing.assert_close((4.0 * many - few) / 3.0, bound, atol=5e-3, rtol=0)
    made = [chain(joint, corruption, lambda t: wrong(joint, t), steps) for steps in (20, 80)]
    for divergence, likelihood in zip((few, many), made, strict=True):
        assert float(likelihood.sum()) == pytest.approx(1.0)
        assert bool((divergence + likelihood.log() > 0.0).all())
    limit = (4.0 * made[1] - made[0]) / 3.0
    gap = bound + limit.log()
    assert bool((gap > -5e-3).all()) and float(gap.max()) > 0.02


def test_without_the_rates_it_would_be_no_bound() -> None:
    """The best network that is not told the time scores below the entropy by weighted cross-entropy."""
    joint = pairs()
    corruption, entropy = spindle(joint), float(-(joint.chance * joint.chance.log()).sum())
    masked = joint.states == joint.words
    asked = torch.zeros(len(joint.states), 2, joint.vocab, dtype=WIDE)
    for t, weight in times():
        _, rate = formula(COUNTS, 0.3, t)
        of_states = believed(joint, corruption, t) * joint.law(corruption, t)[:, None, None]
        asked += weight * of_states * rate * masked[..., None]
    best = asked / asked.sum(-1, keepdim=True).clamp(min=1e-300)
    score = float(-(asked * best.clamp(min=1e-300).log()).sum())
    assert score < entropy - 0.1, (score, entropy)
    bound = float((joint.chance * integral(joint, corruption, lambda t: best)).sum())
    assert entropy < bound < entropy + 0.5


def canvas(tokens: Tensor) -> Canvas:
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Canvas(tokens, everywhere, everywhere)


def test_the_objective_estimates_the_integral() -> None:
    joint, rows = pairs(), 3000
    corruption = spindle(joint)
    expected = integral(joint, corruption, lambda t: wrong(joint, t))[1]
    texts = canvas(joint.texts[1].expand(rows, -1))
    draws = RowGenerator.for_batch(0, 0, first=0, rows=rows, total=rows)
    nats = Nelbo()(Says(joint, lambda t: wrong(joint, t)), corruption, texts, draws).nats.sum(1).double()
    error = float(nats.std() / math.sqrt(rows))
    assert abs(float(nats.mean() - expected)) < 4.0 * error
    assert error < 0.05 * float(expected)


# -- sampling --------------------------------------------------------------------------------------------


def drawn(corruption: Corruption, told: Told, sampler: str, steps: int) -> Tensor:
    """How often each of the pairs comes out."""
    joint = JOINTS["pairs"]
    rows = 2000
    decoding = Decoding().changed({"sampler": sampler, "steps": steps, "temperature": 1.0, "top_p": 1.0})
    blank = canvas(torch.full((rows, joint.texts.shape[1]), joint.words))
    *_, last = denoise(Says(joint, told), corruption, blank, decoding, RowGenerator.for_rows(range(rows)))
    counts = joint.place(last.tokens).bincount(minlength=len(joint.states))[joint.place(joint.texts)]
    assert int(counts.sum()) == rows
    return counts


def fit(counts: Tensor, law: Tensor) -> float:
    return float(chisquare(counts, (law * counts.sum()).numpy()).pvalue)


def test_sampling_by_token_follows_the_chain_and_so_the_joint() -> None:
    """With few steps the chain's law, which is not yet the joint, and with many the joint itself."""
    joint = JOINTS["pairs"]
    corruption = spindle(joint)

    def oracle(t: float) -> Tensor:
        return believed(joint, corruption, t)

    few = drawn(corruption, oracle, "posterior", 6)
    assert fit(few, chain(joint, corruption, oracle, 6)) > 1e-3 > fit(few, joint.chance)
    assert fit(drawn(corruption, oracle, "posterior", 120), joint.chance) > 1e-3
    assert fit(drawn(corruption, oracle, "psi", 60), joint.chance) > 1e-3


def test_sampling_blind_to_the_token_does_not() -> None:
    joint = pairs()
    corruption = spindle(joint)
    counts = drawn(Absorbing(joint.words), lambda t: believed(joint, corruption, t), "ancestral", 40)
    assert fit(counts, joint.chance) < 1e-6


@pytest.mark.parametrize("steps", [5, 40])
def test_the_oracles_chain_tends_to_the_joint(steps: int) -> None:
    joint = pairs()
    corruption = spindle(joint)
    made = chain(joint, corruption, lambda t: believed(joint, corruption, t), steps)
    assert float((made - joint.chance).abs().sum()) < 2.0 / steps


# -- what does not go together ---------------------------------------------------------------------------


def test_it_has_to_be_told_how_frequent_tokens_are() -> None:
    untold = corruption_of("spindle", {"strength": 0.2}, 3, 4, Linear())
    assert untold.needs_frequencies and not untold.told(COUNTS).needs_frequencies
    with pytest.raises(IncompatibleError, match="does not know how frequent the tokens are"):
        untold.corrupt(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 1), RowGenerator.for_rows([0]))
    with pytest.raises(IncompatibleError, match="frequencies of 5 tokens are given, but the network has 4"):
        untold.told(torch.ones(5, dtype=torch.int64))
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(IncompatibleError, match="logits for 5 tokens"):
        untold.told(COUNTS).bound(torch.zeros(1, 5), one, one, torch.full((1,), 0.5))
    with pytest.raises(SettingsError, match="strength is -1"):
        corruption_of("spindle", {"strength": -1.0}, 3, 4, Linear())
    with pytest.raises(SettingsError, match=r"Did you mean strength\?"):
        corruption_of("spindle", {"strenght": 0.2}, 3, 4, Linear())


def test_what_takes_all_tokens_alike_is_refused() -> None:
    corruption = Spindle(3, 4).told(COUNTS)
    for objective in (CountNelbo(), BlockNelbo(), CrossEntropy(), NextToken()):
        with pytest.raises(IncompatibleError, match="takes all tokens alike"):
            objective.check(corruption)
    Nelbo().check(corruption)
    assert isinstance(whole_text_bound(corruption), Nelbo)
    for recipe in SAMPLERS.values():
        if recipe.sampler.any_noise:
            recipe.sampler.check(corruption)
        else:
            with pytest.raises(IncompatibleError, match="use the sampler posterior"):
                recipe.sampler.check(corruption)
