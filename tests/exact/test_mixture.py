"""Noise that strikes once, against Bayes' rule written out and a joint that is known."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from textdiffusion.corruptions import Mixture, Shares
from textdiffusion.corruptions.mixture import MIXTURES

from .noisy import Joint, fit, frames

WIDE = torch.float64
ONCE = {name: shares for name, shares in MIXTURES.items() if shares.keep == 0.0}
"""Of a kept share pure noise would tell something, which a generation cannot begin with."""


def at(t: float, rows: int) -> Tensor:
    return torch.full((rows, 1), t, dtype=WIDE)


def both(shares: Shares, words: int, s: float, t: float) -> Tensor:
    """q(x_s, x_t | x_0) of one token under the linear schedule, [words, words + 1, words + 1]."""
    x0 = one_hot(torch.arange(words), words + 1).to(WIDE)
    noise = shares.keep * x0
    noise[:, :words] += shares.random / words
    noise[:, words] += shares.mask
    here = one_hot(torch.arange(words + 1), words + 1).to(WIDE)
    never = (1.0 - t) * x0[:, :, None] * x0[:, None, :]
    between = (t - s) * x0[:, :, None] * noise[:, None, :]
    return never + between + s * noise[:, :, None] * here


@pytest.mark.parametrize("name", list(MIXTURES))
@pytest.mark.parametrize(("s", "t"), [(0.2, 0.7), (0.0, 0.4), (0.5, 1.0)])
def test_posterior_and_origin_are_bayes_rule(name: str, s: float, t: float) -> None:
    """With what the others tell of x_0 as what was believed before."""
    words, shares = 4, MIXTURES[name]
    corruption = Mixture(words, words + 1, shares)
    believed = torch.tensor([0.55, 0.3, 0.1, 0.05], dtype=WIDE)
    law = (believed[:, None, None] * both(shares, words, s, t)).sum(0)
    possible = law.sum(0) > 0.0
    p_x0 = torch.cat([believed, torch.zeros(1, dtype=WIDE)]).expand(words + 1, 1, words + 1)
    xt = torch.arange(words + 1)[:, None]
    found = corruption.posterior(p_x0, xt, at(s, words + 1), at(t, words + 1))[:, 0]
    torch.testing.assert_close(found[possible], (law / law.sum(0)).T[possible], atol=1e-12, rtol=0)
    marginal = corruption.marginal(torch.arange(words)[:, None], at(t, words), words + 1)[:, 0]
    clean = believed[:, None] * marginal
    found = corruption.origin(p_x0, xt, at(t, words + 1))[:, 0]
    torch.testing.assert_close(
        found[possible, :words], (clean / clean.sum(0)).T[possible], atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("name", list(ONCE))
def test_struck_tokens_are_as_the_others_tell_them(name: str) -> None:
    """So that cross-entropy on struck tokens learns what the posterior is given."""
    joint, t = Joint.random(), 0.6
    corruption = Mixture(joint.words, joint.vocab, ONCE[name])
    kernel = joint.kernel(corruption, t)
    struck = (kernel - (1.0 - t) * one_hot(torch.arange(joint.words), joint.vocab)) / t
    told = joint.told(corruption, t)
    for number, (first, second) in enumerate(joint.states.tolist()):
        chance = joint.chance * struck[joint.texts[:, 0], first] * kernel[joint.texts[:, 1], second]
        if float(chance.sum()) > 0.0:
            by_word = torch.zeros(joint.vocab, dtype=WIDE).index_add(0, joint.texts[:, 0], chance)
            torch.testing.assert_close(by_word / by_word.sum(), told[number, 0], atol=1e-7, rtol=0)


@pytest.mark.parametrize("sampler", ["posterior", "psi"])
@pytest.mark.parametrize("name", list(ONCE))
def test_a_single_token_keeps_its_law_in_few_steps(name: str, sampler: str) -> None:
    joint = Joint(torch.arange(3)[:, None], torch.tensor([0.6, 0.3, 0.1], dtype=WIDE), 3)
    corruption = Mixture(3, 4, ONCE[name])
    found = frames(joint, corruption, 6, sampler)
    for step in range(1, 7):
        assert fit(joint, found[step], joint.law(corruption, 1.0 - step / 6)) > 1e-3, step


@pytest.mark.parametrize("name", ["llada", "pure-random"])
def test_the_law_of_x_t_is_kept_as_steps_grow(name: str) -> None:
    joint = Joint.random()
    corruption = Mixture(joint.words, joint.vocab, ONCE[name])
    found = frames(joint, corruption, 120, "posterior")
    for step in (20, 60, 100, 120):
        assert fit(joint, found[step], joint.law(corruption, 1.0 - step / 120)) > 1e-3, step
