"""Guidance against laws that are written down: Bayes' rule, and what its powers make of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Mixture, Shares
from textdiffusion.denoisers import as_denoiser
from textdiffusion.generation import Decoding, denoise, sample
from textdiffusion.guidance import GUIDANCE_METHODS, Classifier, contrast
from textdiffusion.guidance.judging import Exact, FirstOrder
from textdiffusion.randomness import RowGenerator

from .oracle import LENGTH, MASK, WORDS, oracle

SAMPLES = 8000
STATES = torch.tensor(list(product(range(WORDS + 1), repeat=LENGTH)))
"""All partly masked texts."""
Law = dict[tuple[int, ...], float]


def place(tokens: Tensor) -> Tensor:
    """Number of each partly masked text in `STATES`."""
    return (tokens * (WORDS + 1) ** torch.arange(LENGTH - 1, -1, -1)).sum(1)


@cache
def of_label() -> Tensor:
    """p(y | x) of each whole text, of no particular form."""
    drawn = torch.randn(len(oracle().texts), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return torch.sigmoid(2.0 * drawn)


@cache
def noisy_label() -> Tensor:
    """log p(y | x_t) of each partly masked text: what a noise-aware classifier should learn."""
    found = []
    for state in STATES:
        fits = ((oracle().texts == state) | (state == MASK)).all(1)
        mass = oracle().joint * fits
        found.append(((mass * of_label()).sum() / mass.sum()).log())
    return torch.stack(found)


def knowing(tokens: Tensor) -> Tensor:
    """The classifier that makes no mistake."""
    return noisy_label()[place(tokens)]


def one_by_one(start: Iterable[int], logits: Callable[[Tensor], Tensor]) -> Law:
    """The law of texts written one token a call in a random order, by the logits [4, 3] of each state."""
    laws: Law = {tuple(start): 1.0}
    for _ in range(sum(token == MASK for token in start)):
        after: Law = {}
        for state, chance in laws.items():
            p = logits(torch.tensor(state)).double().softmax(-1)
            holes = [i for i, token in enumerate(state) if token == MASK]
            for i, v in product(holes, range(WORDS)):
                text = (*state[:i], v, *state[i + 1 :])
                after[text] = after.get(text, 0.0) + chance * float(p[i, v]) / len(holes)
        laws = after
    return laws


def judged(state: Tensor, power: float) -> Tensor:
    """Logits of p(v | x_t) p(y | x_t with v)^power at each position."""
    found = oracle()(state[None])[0, :, :WORDS].double()
    for i, v in product(range(LENGTH), range(WORDS)):
        other = state.clone()
        other[i] = v
        found[i, v] += power * knowing(other[None])[0]
    return found


def told_and_not(state: Tensor, scale: float) -> Tensor:
    """Logits with the first token known and hidden, to these powers."""
    hidden = state.clone()
    hidden[0] = MASK
    told, untold = (oracle()(each[None])[0, :, :WORDS].double().log_softmax(-1) for each in (state, hidden))
    return scale * told + (1.0 - scale) * untold


def fit(tokens: Tensor, law: Law) -> float:
    """p-value of the draws under a law of whole texts."""
    expected = torch.tensor([law.get(tuple(text.tolist()), 0.0) for text in oracle().texts])
    counts, possible = oracle().counts(tokens), expected > 0
    assert int(counts[~possible].sum()) == 0
    expected = expected[possible].double()
    return float(chisquare(counts[possible], (expected / expected.sum() * counts.sum()).numpy()).pvalue)


def drawn(start: Iterable[int] = (MASK,) * LENGTH, **options: Any) -> Tensor:
    canvas = torch.tensor(list(start)).expand(SAMPLES, -1)
    return sample(oracle(), canvas, mask_id=MASK, sampler="first-hitting", **options)


# -- masks -----------------------------------------------------------------------------------------------


def test_the_law_of_bayes_is_that_of_the_texts_with_the_label() -> None:
    """The enumeration that the others are measured by, against the plain product."""
    law = one_by_one([MASK] * LENGTH, lambda state: judged(state, 1.0))
    truth = oracle().joint * of_label()
    for text, p in zip(oracle().texts, truth / truth.sum(), strict=True):
        assert law[tuple(text.tolist())] == pytest.approx(float(p), rel=1e-4)


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_an_exact_classifier_gives_texts_with_its_label(power: float) -> None:
    tokens = drawn(classifier=knowing, guidance_strength=power)
    assert fit(tokens, one_by_one([MASK] * LENGTH, lambda state: judged(state, power))) > 1e-3
    unguided = one_by_one([MASK] * LENGTH, lambda state: judged(state, 0.0))
    assert fit(tokens, unguided) < 1e-6


def test_without_strength_the_classifier_is_not_asked() -> None:
    def never(tokens: Tensor) -> Tensor:
        raise AssertionError("it was asked")

    assert torch.equal(drawn(classifier=never, guidance_strength=0.0), drawn())


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_a_scale_weighs_the_prompt(scale: float) -> None:
    prompt = (2, MASK, MASK, MASK)
    tokens = drawn(prompt, guidance_scale=scale)
    assert bool((tokens[:, 0] == 2).all())
    assert fit(tokens, one_by_one(prompt, lambda state: told_and_not(state, scale))) > 1e-3
    assert (fit(tokens, one_by_one(prompt, lambda state: told_and_not(state, 1.0))) > 1e-3) is (scale == 1.0)


def test_scale_one_is_the_condition_and_scale_zero_knows_nothing_of_it() -> None:
    """The two ends by the joint itself."""
    texts, joint = oracle().texts, oracle().joint
    told = (texts[:, 0] == 2) * joint
    rest = {tuple(text[1:].tolist()): 0.0 for text in texts}
    for text, p in zip(texts, joint, strict=True):
        rest[tuple(text[1:].tolist())] += float(p)
    laws = {
        1.0: {tuple(t.tolist()): float(p) for t, p in zip(texts, told / told.sum(), strict=True) if p > 0},
        0.0: {(2, *text): p for text, p in rest.items()},
    }
    for scale, law in laws.items():
        assert fit(drawn((2, MASK, MASK, MASK), guidance_scale=scale), law) > 1e-3


def test_prompt_and_classifier_together() -> None:
    prompt = (1, MASK, MASK, 0)

    def logits(state: Tensor) -> Tensor:
        hidden = torch.where(torch.tensor([True, False, False, True]), MASK, state)
        told, untold = (oracle()(s[None])[0, :, :WORDS].double().log_softmax(-1) for s in (state, hidden))
        bayes = judged(state, 1.0) - oracle()(state[None])[0, :, :WORDS].double()
        return 2.0 * told - untold + bayes

    tokens = drawn(prompt, guidance_scale=2.0, classifier=knowing)
    assert fit(tokens, one_by_one(prompt, logits)) > 1e-3


# -- noise that is not all masks -----------------------------------------------------------------------------

WIDTH, TIMES = 3, [1.0, 0.5, 0.0]
RANDOM = Mixture(MASK, WORDS + 1, Shares(mask=0.0, random=1.0, keep=0.0))
TABLE = torch.randn(WORDS**WIDTH, WIDTH, WORDS + 1, generator=torch.Generator().manual_seed(1))
LABEL = F.logsigmoid(2.0 * torch.randn(WORDS**WIDTH, generator=torch.Generator().manual_seed(2)).double())


def number(tokens: Tensor) -> Tensor:
    return (tokens * WORDS ** torch.arange(WIDTH - 1, -1, -1)).sum(1)


def steps_of(texts: Tensor, start: Tensor, q: Callable[[Tensor, float, float], Tensor]) -> Tensor:
    """The law of whole texts after all steps, by the probabilities [texts, 3, 4] of each step."""
    law = start
    for t, s in pairwise(TIMES):
        p = q(texts, s, t)
        to = torch.stack([p[:, i, texts[:, i]] for i in range(WIDTH)]).prod(0)
        law = law @ to
    return law


def back(logits: Tensor, texts: Tensor, s: float, t: float) -> Tensor:
    barred = logits.double().index_fill(-1, torch.tensor([MASK]), -torch.inf)
    p = barred.softmax(-1)
    times = (torch.full((1, 1), time, dtype=torch.float64) for time in (s, t))
    return RANDOM.posterior(p, texts, *times)


def labelled(tokens: Tensor) -> Tensor:
    return LABEL[number(tokens)]


def random_drawn(canvas: Canvas, classifier: Classifier | None = None, **options: Any) -> Tensor:
    frames = denoise(
        as_denoiser(lambda ids: TABLE[number(ids)]),
        RANDOM,
        canvas,
        Decoding(sampler="posterior", steps=2, **options),
        RowGenerator.for_rows(range(len(canvas.tokens))),
        classifier=classifier,
    )
    *_, last = frames
    return last.tokens


def test_the_posterior_is_steered_where_noise_looks_like_text() -> None:
    """Two steps by a classifier; every state of three random tokens is followed."""
    texts = torch.tensor(list(product(range(WORDS), repeat=WIDTH)))
    power = 1.5

    def q(state: Tensor, s: float, t: float) -> Tensor:
        found = back(TABLE[number(state)], state, s, t).log()
        for i, v in product(range(WIDTH), range(WORDS)):
            other = state.clone()
            other[:, i] = v
            found[:, i, v] += power * labelled(other)
        return found.softmax(-1)

    law = steps_of(texts, torch.full((27,), 1 / 27, dtype=torch.float64), q)
    tokens = torch.zeros(SAMPLES, WIDTH, dtype=torch.int64)
    canvas = Canvas(tokens, torch.ones_like(tokens).bool(), torch.ones_like(tokens).bool())
    counts = number(random_drawn(canvas, labelled, guidance_strength=power)).bincount(minlength=27)
    assert chisquare(counts, (law * SAMPLES).numpy()).pvalue > 1e-3
    plain = number(random_drawn(canvas)).bincount(minlength=27)
    assert chisquare(plain, (law * SAMPLES).numpy()).pvalue < 1e-6


def test_a_hidden_prompt_of_random_noise_is_random() -> None:
    """Two steps by a scale: the other answer sees a word drawn evenly in place of the first."""
    texts = torch.tensor(list(product(range(WORDS), repeat=WIDTH)))
    scale, total = 2.0, torch.zeros(27, dtype=torch.float64)
    for hidden in range(WORDS):

        def q(state: Tensor, s: float, t: float, hidden: int = hidden) -> Tensor:
            other = state.clone()
            other[:, 0] = hidden
            told, untold = (back(TABLE[number(each)], state, s, t).log() for each in (state, other))
            # A token that neither branch allows is -inf in both.
            mixed = torch.where(told == -torch.inf, told, scale * told + (1.0 - scale) * untold)
            p = mixed.softmax(-1)
            p[:, 0] = F.one_hot(state[:, 0], WORDS + 1).double()
            return p

        start = (texts[:, 0] == 1).double() / 9
        total += steps_of(texts, start, q) / WORDS
    tokens = torch.ones(SAMPLES, WIDTH, dtype=torch.int64)
    editable = torch.tensor([False, True, True]).expand(SAMPLES, -1)
    canvas = Canvas(tokens, editable, torch.ones_like(editable))
    counts = number(random_drawn(canvas, guidance_scale=scale)).bincount(minlength=27)
    possible = total > 0
    assert int(counts[~possible].sum()) == 0
    assert chisquare(counts[possible], (total[possible] * SAMPLES).numpy()).pvalue > 1e-3


# -- how a classifier is asked -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """log p is a sum over the tokens, so that its slope says all."""

    weight: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        return self.from_one_hot(F.one_hot(tokens, self.weight.shape[1]).float())

    def from_one_hot(self, one_hot: Tensor) -> Tensor:
        return (one_hot * self.weight[: one_hot.shape[1]]).sum((1, 2))


def texts_of(data: st.DataObject) -> tuple[Linear, Tensor, Tensor, Tensor, Tensor]:
    """A linear classifier, texts of unequal length, where they are asked about, and logits with bars."""
    batch, width, vocab = (data.draw(st.integers(low, 6)) for low in (1, 1, 2))
    source = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    lengths = torch.randint(1, width + 1, (batch,), generator=source)
    tokens = torch.randint(0, vocab, (batch, width), generator=source)
    where = torch.rand(batch, width, generator=source) < 0.5
    where &= torch.arange(width) < lengths[:, None]
    logits = torch.randn(int(where.sum()), vocab, generator=source)
    logits[:, vocab - 1] = -torch.inf
    return Linear(-torch.rand(width, vocab, generator=source)), tokens, where, lengths, logits


@given(st.data())
def test_the_slope_of_a_linear_classifier_is_exact(data: st.DataObject) -> None:
    classifier, tokens, where, lengths, logits = texts_of(data)
    one_by_one, at_once = (
        (logits + look(classifier, tokens, where, lengths, logits).gains).softmax(-1)
        for look in (Exact(), FirstOrder())
    )
    torch.testing.assert_close(one_by_one, at_once)


@given(st.data(), st.integers(1, 8))
def test_what_is_not_tried_counts_as_the_text_as_it_stands(data: st.DataObject, top_k: int) -> None:
    classifier, tokens, where, lengths, logits = texts_of(data)
    full = Exact()(classifier, tokens, where, lengths, logits)
    some = Exact(top_k)(classifier, tokens, where, lengths, logits)
    vocab = logits.shape[-1]
    assert full.texts == len(logits) * (vocab - 1)
    best = torch.zeros_like(logits).bool().scatter(-1, logits.topk(min(top_k, vocab), -1).indices, True)
    tried = best & (logits > -torch.inf)
    torch.testing.assert_close(some.gains[tried], full.gains[tried])
    if top_k < vocab:
        rest = ~tried & (logits > -torch.inf)
        as_it_is = torch.stack(
            [classifier(tokens[row : row + 1, : lengths[row]])[0] for row in where.nonzero()[:, 0].tolist()]
            or [torch.zeros(())]
        )
        torch.testing.assert_close(some.gains[rest], as_it_is[: len(rest), None].expand_as(rest)[rest])
        assert some.texts == int(tried.sum()) + int(where.any(1).sum())


def test_first_order_writes_what_exact_writes_for_a_linear_classifier() -> None:
    classifier = Linear(-3.0 * torch.rand(LENGTH, WORDS + 1, generator=torch.Generator().manual_seed(3)))
    found = [drawn(classifier=classifier, guidance_method=name) for name in GUIDANCE_METHODS]
    assert torch.equal(*found)
    assert not torch.equal(found[0], drawn())


# -- contrast ------------------------------------------------------------------------------------------------


@given(st.integers(2, 6), st.floats(0.0, 8.0), st.integers(0, 999))
def test_contrast_by_powers(vocab: int, scale: float, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    told, untold = torch.randn(2, 3, vocab, generator=source, dtype=torch.float64)
    powers = told.softmax(-1) ** scale * untold.softmax(-1) ** (1.0 - scale)
    found = contrast(told, untold + 5.0, scale).softmax(-1)
    torch.testing.assert_close(found, powers / powers.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0.0, [0.5, 0.5, 0.0, 0.0]),  # what is untold alone
        (0.5, [1.0, 0.0, 0.0, 0.0]),  # what both allow
        (1.0, [0.5, 0.0, 0.5, 0.0]),  # what is told alone
        (3.0, [0.5, 0.0, 0.5, 0.0]),  # of what only the prompt allows, its own share
    ],
)
def test_contrast_where_something_is_impossible(scale: float, expected: list[float]) -> None:
    told = torch.tensor([[0.5, 0.0, 0.5, 0.0]]).log()
    untold = torch.tensor([[0.5, 0.5, 0.0, 0.0]]).log()
    torch.testing.assert_close(contrast(told, untold, scale).softmax(-1), torch.tensor([expected]))
