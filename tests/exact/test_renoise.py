"""Samplers for noise that cannot be seen: what they accept, renew, replace, and when they end."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Corruption
from textdiffusion.denoisers import as_denoiser
from textdiffusion.errors import SettingsError
from textdiffusion.generation import Decoding, Frame, Start, denoise
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import Linear

VOCAB, MASK = 12, 11
RANDOM = CORRUPTIONS["pure-random"](MASK, VOCAB, Linear())
LLADA = CORRUPTIONS["llada"](MASK, VOCAB, Linear())
Network = Callable[[Tensor], Tensor]


def frames_of(
    network: Network, length: int, *, rows: int = 1, corruption: Corruption = RANDOM, **options: Any
) -> list[Frame]:
    tokens = torch.full((rows, length), MASK)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    decoding = Decoding().changed(options)
    generator = RowGenerator.for_rows(range(rows))
    return list(
        denoise(as_denoiser(network), corruption, Canvas(tokens, everywhere, everywhere), decoding, generator)
    )


def believing(*probabilities: float) -> Network:
    """Token 3 with these probabilities, the rest shared by all other words."""
    p = torch.tensor(probabilities)[:, None]
    law = torch.where(torch.arange(VOCAB) == 3, p, (1 - p) / (VOCAB - 2))
    law[:, MASK] = 0.0
    return lambda ids: law.log().expand(len(ids), -1, -1)


# -- entropy-renoise -------------------------------------------------------------------------------------


def test_what_is_not_accepted_is_fresh_noise() -> None:
    """One position is sure, the others are even: they are new draws of the noise at every step."""
    network, rows = believing(1.0, *[1 / (VOCAB - 1)] * 5), 3000
    frames = frames_of(network, 6, rows=rows, sampler="entropy-renoise", gamma=0.0, steps=4, temperature=1.0)
    for before, after in pairwise(frames[1:-1]):
        assert bool((after.tokens[:, 0] == 3).all())
        fresh = ~after.settled[:, 1:]
        same = (before.tokens[:, 1:] == after.tokens[:, 1:])[fresh].float().mean()
        assert same < 1.5 / (VOCAB - 1)
        counts = after.tokens[:, 1:][fresh].bincount(minlength=VOCAB)
        assert counts[MASK] == 0
        assert chisquare(counts[:MASK]).pvalue > 1e-3


def test_accepted_are_the_surest_that_tell_little_about_each_other() -> None:
    """Entropies .12, .12, .56, .56 and 2.4 nats: sums without the largest are 0, .12, .24, .80 and 1.36."""
    network = believing(0.98, 0.2, 0.9, 0.98, 0.9)
    for gamma, accepted in ((0.0, 1), (0.2, 2), (0.3, 3), (0.85, 4), (1.5, 5)):
        second = frames_of(network, 5, sampler="entropy-renoise", gamma=gamma, steps=3, temperature=1.0)[1]
        assert int(second.settled.sum()) == accepted, gamma


def test_entropy_is_that_of_what_is_drawn() -> None:
    """A low temperature makes sure of what was open."""
    network = believing(*[0.5] * 4)
    hot, cold = (
        frames_of(network, 4, sampler="entropy-renoise", gamma=0.1, steps=3, temperature=heat)[1]
        for heat in (1.0, 0.1)
    )
    assert (int(hot.settled.sum()), int(cold.settled.sum())) == (1, 4)


def test_the_end_is_the_most_probable_text() -> None:
    frames = frames_of(believing(*[0.3] * 8), 8, rows=5, sampler="entropy-renoise", steps=6)
    assert bool((frames[-1].tokens == 3).all())
    assert bool(frames[-1].settled.all())
    torch.testing.assert_close(frames[-1].confidence[0, 0], frames[-1].confidence[4, 7])


@pytest.mark.parametrize(("stable", "calls"), [(0, 1), (1, 2), (3, 4)])
def test_a_sure_and_stable_text_is_finished(stable: int, calls: int) -> None:
    frames = frames_of(believing(*[1.0] * 4), 4, sampler="entropy-renoise", steps=20, stable_steps=stable)
    assert frames[-1].nfe == calls
    assert bool((frames[-1].tokens == 3).all())


def test_doubt_or_change_goes_on() -> None:
    assert frames_of(believing(*[0.9] * 4), 4, sampler="entropy-renoise", steps=9)[-1].nfe == 9
    turn = [0]

    def moody(ids: Tensor) -> Tensor:
        turn[0] += 1
        return torch.nn.functional.one_hot(torch.full_like(ids, turn[0] % 2 + 4), VOCAB).float() * 1e4

    assert frames_of(moody, 4, sampler="entropy-renoise", steps=9)[-1].nfe == 9
    sure = believing(*[1.0] * 4)
    assert frames_of(sure, 4, sampler="entropy-renoise", steps=9, stop_entropy=0.0)[-1].nfe == 9


def test_each_block_begins_its_count_anew() -> None:
    frames = frames_of(believing(*[1.0] * 6), 6, sampler="entropy-renoise", steps=12, block_size=2)
    assert frames[-1].nfe == 6
    assert [int(frame.settled.sum()) for frame in frames[::2]] == [0, 2, 4, 6]


# -- any-position ----------------------------------------------------------------------------------------


def test_the_surest_other_tokens_are_replaced_two_at_a_time() -> None:
    """Only where another token is wanted, the surest first, and none below the threshold."""
    network = believing(0.95, 0.6, 0.8, 0.9, 0.99)
    frames = frames_of(network, 5, sampler="any-position", steps=20)
    changes = [(a.tokens != b.tokens)[0].nonzero()[:, 0].tolist() for a, b in pairwise(frames)]
    wrong = [place for place in (4, 0, 3, 2) if frames[0].tokens[0, place] != 3]
    expected = [sorted(wrong[i : i + 2]) for i in range(0, len(wrong), 2)]
    assert changes == [*expected, []]
    assert frames[-1].tokens[0, 1] == frames[0].tokens[0, 1]
    assert bool(frames[-1].settled.all())


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.9])
def test_the_rarer_noise_is_the_more_it_takes_to_replace_a_token(rate: float) -> None:
    """p of the other against p of what stands there, by Bayes' rule with evenly random errors."""
    others = (0.71, 0.9, 0.97, 0.995)
    draft = torch.zeros(1, len(others), dtype=torch.int64)
    everywhere = torch.ones_like(draft, dtype=torch.bool)
    first, second, *_ = denoise(
        as_denoiser(believing(*others)),
        RANDOM,
        Canvas(draft, everywhere, everywhere),
        Decoding().changed({"sampler": "any-position", "steps": 4, "replacements": 4}),
        RowGenerator.for_rows([0]),
        start=Start(draft, rate),
    )
    words = VOCAB - 1
    rest = [(1.0 - p) / (words - 1) for p in others]
    wanted = [p * rate / words > q * (1.0 - rate + rate / words) for p, q in zip(others, rest, strict=True)]
    assert (second.tokens != first.tokens)[0].tolist() == wanted
    assert any(wanted) and (all(wanted) or rate < 0.9)


def test_masks_among_random_tokens_are_filled() -> None:
    """However unsure the model is, none is left; and in no more steps than were asked for."""
    for steps in (1, 3, 40):
        frames = frames_of(
            believing(*[0.2] * 30), 30, rows=4, corruption=LLADA, sampler="any-position", steps=steps
        )
        assert bool((frames[0].tokens == MASK).any())
        assert not bool((frames[-1].tokens == MASK).any())
        assert bool(frames[-1].settled.all())
        assert len(frames) - 1 <= steps


def test_with_masks_alone_it_writes_by_the_grid() -> None:
    frames = frames_of(believing(*[0.2] * 6), 6, corruption=Absorbing(MASK), sampler="any-position", steps=3)
    assert [int((frame.tokens == MASK).sum()) for frame in frames] == [6, 4, 2, 0]


def test_settings_that_mean_nothing_are_refused() -> None:
    for options in (
        {"sampler": "any-position", "threshold": 1.2},
        {"sampler": "any-position", "replacements": 0},
        {"sampler": "entropy-renoise", "gamma": -1.0},
        {"sampler": "entropy-renoise", "stable_steps": -1},
        {"sampler": "entropy-renoise", "stable_steps": True},
        {"sampler": "entropy-renoise", "stop_entropy": -0.1},
        {"final_temperature": -0.1},
    ):
        with pytest.raises(SettingsError):
            Decoding().changed(options).recipe()
