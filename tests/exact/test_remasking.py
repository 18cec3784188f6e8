"""Samplers that take tokens back: what they keep of the law of x_t, step by step, and what they do not."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.generation import Decoding, Frame, denoise
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import STEP_GRIDS

from .oracle import LENGTH, MASK, WORDS, oracle

SAMPLES = 10_000
BY_CHANCE = 1e-5
"""The least p-value that several hundred steps of a true law may show."""
PLAIN = {"temperature": 1.0, "top_p": 1.0}


def frames_of(sampler: str, steps: int, **settings: Any) -> list[Frame]:
    """Every step of many texts, from the oracle."""
    tokens = torch.full((SAMPLES, LENGTH), MASK)
    canvas = Canvas(tokens, tokens == MASK, tokens == MASK)
    decoding = Decoding().changed({"sampler": sampler, "steps": steps, **PLAIN, **settings})
    rows = RowGenerator.for_rows(range(SAMPLES))
    return list(denoise(as_denoiser(oracle()), Absorbing(MASK), canvas, decoding, rows))


def law_of(rate: float) -> Tensor:
    """Probabilities of the 256 partly masked texts: q(x_t | x_0) over the oracle's x_0."""
    texts = torch.cartesian_prod(*[torch.arange(WORDS + 1)] * LENGTH)
    hidden = texts == MASK
    fits = ((texts[:, None] == oracle().texts) | hidden[:, None]).all(-1)
    count = hidden.sum(1).double()
    return (fits * oracle().joint).sum(1) * rate**count * (1.0 - rate) ** (LENGTH - count)


def fit(tokens: Tensor, rate: float) -> float:
    """p-value of draws of x_t under its law at a noise rate; cells of few draws are put together."""
    place = (tokens * (WORDS + 1) ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    seen = place.bincount(minlength=(WORDS + 1) ** LENGTH).double()
    expected = law_of(rate) * len(tokens)
    rare = expected < 8
    cells = [torch.cat([part[~rare], part[rare].sum()[None]]) for part in (seen, expected)]
    return float(chisquare(*(part[cells[1] > 0].numpy() for part in cells)).pvalue)


def masked(frame: Frame) -> int:
    return int((frame.tokens == MASK).sum())


def test_the_law_of_x_t_is_a_law() -> None:
    for rate in (0.0, 0.3, 1.0):
        assert float(law_of(rate).sum()) == pytest.approx(1.0)
    assert float(law_of(1.0)[-1]) == 1.0


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        ("ancestral", {}),
        ("remdm-cap", {"eta": 0.02}),
        ("remdm-rescale", {}),
    ],
)
def test_the_law_of_x_t_is_kept_at_every_step(sampler: str, settings: Mapping[str, Any]) -> None:
    frames = frames_of(sampler, 300, **settings)
    assert len(frames) == 301
    for step in range(1, 301):
        assert fit(frames[step].tokens, 1.0 - step / 300) > BY_CHANCE, step


def test_the_loop_keeps_its_own_schedule() -> None:
    """Down to a rate of 0.4 at t = 0.6, which is held until the last step before 0.2."""
    frames = frames_of("remdm-loop", 300, eta=0.02, t_on=0.6, t_off=0.2, alpha_on=0.6)
    down, held, out = (
        torch.linspace(*ends).double() for ends in ((1, 0.4, 121), (0.4, 0.4, 119), (0.4, 0, 61))
    )
    rates = torch.cat([down, held, out]).tolist()
    assert len(frames) == len(rates) == 301
    for step in range(1, 301):
        assert fit(frames[step].tokens, rates[step]) > BY_CHANCE, step
    back = [bool((a.settled & ~b.settled).any()) for a, b in itertools.pairwise(frames)]
    assert back == [120 <= step < 239 for step in range(300)]


@pytest.mark.parametrize(("sampler", "eta"), [("remdm-cap", 0.4), ("remdm-rescale", 0.9)])
def test_much_remasking_in_few_steps_keeps_the_noise_of_the_schedule(sampler: str, eta: float) -> None:
    """Each position is noise with the probability that the grid says, whatever eta is."""
    frames = frames_of(sampler, 10, eta=eta)
    taken_back = 0
    for step in range(1, 10):
        rate, total = 1.0 - step / 10, SAMPLES * LENGTH
        assert binomtest(masked(frames[step]), total, rate).pvalue > 1e-3, step
        counts = (frames[step].tokens == MASK).sum(1).bincount(minlength=LENGTH + 1).double()
        number = torch.arange(LENGTH + 1).double()
        choose = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64)
        expected = choose * rate**number * (1 - rate) ** (LENGTH - number) * SAMPLES
        assert chisquare(counts, expected.numpy()).pvalue > 1e-3, step
        taken_back += int((frames[step - 1].settled & ~frames[step].settled).sum())
    assert taken_back > SAMPLES


def test_eta_zero_is_ancestral() -> None:
    one, two, three = (
        frames_of(name, 8, **settings)
        for name, settings in (
            ("ancestral", {}),
            ("remdm-cap", {"eta": 0.0}),
            ("remdm-rescale", {"eta": 0.0}),
        )
    )
    for a, b, c in zip(one, two, three, strict=False):
        assert torch.equal(a.tokens, b.tokens)
        assert torch.equal(a.tokens, c.tokens)


def test_remdm_conf_masks_more_than_the_schedule() -> None:
    """The published rule: what it takes back is not made up for; measured here, not derived."""
    frames = frames_of("remdm-conf", 20)
    share = {step: masked(frames[step]) / (SAMPLES * LENGTH) for step in (5, 10, 15)}
    assert share == pytest.approx({5: 0.935, 10: 0.907, 15: 0.693}, abs=0.02)  # where 0.75, 0.5, 0.25 are due
    assert fit(frames[10].tokens, 0.5) < 1e-6
    before, after = frames[14:16]
    back, kept = before.settled & ~after.settled, before.settled & after.settled
    assert before.confidence[back].mean() < before.confidence[kept].mean() - 0.02
    assert not bool((frames[-1].tokens == MASK).any())


# -- rules that look at what they wrote ------------------------------------------------------------------

A, B, HIDDEN = 0, 1, 3


def turncoat(share: float) -> Callable[[Tensor], Tensor]:
    """Sure of an A first and of little else; once a third of the text stands, the first token is doubtful.

    It then holds the B for right with the probability `share`, and the A with a tenth.
    """

    def logits(ids: Tensor) -> Tensor:
        p = torch.tensor([0.4, 0.3, 0.3, 0.0]).repeat(*ids.shape, 1)
        p[:, :4] = torch.tensor([0.95, 0.03, 0.02, 0.0])
        turned = (ids != HIDDEN).sum(1) >= ids.shape[1] / 3
        p[turned, 0] = torch.tensor([0.1, share, 0.9 - share, 0.0])
        return p.log()

    return logits


def turned(sampler: str, share: float, **settings: Any) -> list[Frame]:
    """Two texts of ten tokens, the second with a prompt of three."""
    tokens = torch.full((2, 10), HIDDEN)
    tokens[1, :3] = torch.tensor([A, A, B])
    canvas = Canvas(tokens, tokens == HIDDEN, torch.ones(2, 10).bool())
    decoding = Decoding().changed({"sampler": sampler, "temperature": 0.0, **settings})
    return list(
        denoise(
            as_denoiser(turncoat(share)), Absorbing(HIDDEN), canvas, decoding, RowGenerator.for_rows([0, 1])
        )
    )


def test_edit_replaces_what_it_finds_better() -> None:
    frames = turned("edit", 0.6)
    assert frames[1].settled[0].tolist() == [True] * 4 + [False] * 6
    assert [int(frame.tokens[0, 0]) for frame in frames[:3]] == [HIDDEN, A, B]
    assert bool(frames[2].settled[0, :4].all())
    assert frames[-1].tokens[1, :3].tolist() == [A, A, B]
    assert float(frames[2].confidence[0, 0]) == pytest.approx(0.6)
    assert {int(frame.tokens[0, 0]) for frame in turned("edit", 0.6, edit_threshold=0.7)[1:]} == {A}


def afterthoughts(ids: Tensor) -> Tensor:
    """Writes A everywhere; of a whole text it finds the first A wrong, unless a B stands behind it."""
    p = torch.tensor([0.95, 0.03, 0.02, 0.0]).repeat(*ids.shape, 1)
    p[ids == B] = torch.tensor([0.03, 0.95, 0.02, 0.0])
    whole = (ids != HIDDEN).all(1)
    first = (ids == A).int().argmax(1)
    p[whole, first[whole]] = torch.tensor([0.05, 0.9, 0.05, 0.0])
    return p.log()


def thought_over(sampler: str, length: int, **options: Any) -> list[Frame]:
    tokens = torch.full((1, length), HIDDEN)
    canvas = Canvas(tokens, tokens == HIDDEN, tokens == HIDDEN)
    decoding, rows = Decoding().changed({"sampler": sampler, **options}), RowGenerator.for_rows([0])
    return list(denoise(as_denoiser(afterthoughts), Absorbing(HIDDEN), canvas, decoding, rows))


def test_edit_goes_on_after_the_last_mask_until_nothing_changes() -> None:
    frames = thought_over("edit", 3, steps=9)
    shown = ["".join("AB.?"[token] for token in frame.tokens[0]) for frame in frames]
    assert shown == ["???", "AAA", "BAA", "BBA", "BBB", "BBB"]
    assert [frame.nfe for frame in frames] == list(range(6)), "the last call found nothing to change"
    assert "".join("AB"[token] for token in thought_over("edit", 3, steps=2)[-1].tokens[0]) == "BAA"


def test_edit_keeps_to_its_block() -> None:
    """The text is whole in the last block alone, and the first A then stands in a finished one."""
    frames = thought_over("edit", 6, steps=6, block_size=2)
    shown = ["".join("AB.?"[token] for token in frame.tokens[0]) for frame in frames]
    assert shown == ["??????", "AA????", "AA????", "AAAA??", "AAAA??", "AAAAAA", "AAAAAA"]


def test_a_whole_text_is_doubted_until_nothing_is_taken_back() -> None:
    frames = thought_over("confidence-remask", 3, steps=30)
    shown = ["".join("AB.?"[token] for token in frame.tokens[0]) for frame in frames]
    assert shown[:4] == ["???", "AAA", "?AA", "AAA"], "a word that was written in sight of masks comes back"
    assert len(shown) < 31 and shown[-2:] == ["AAA", "AAA"], "until the grid allows no more of it"
    assert thought_over("confidence-remask", 3, steps=30, remask_threshold=0.04)[-1].nfe == 2
    assert thought_over("confidence-remask", 3, steps=1)[-1].nfe == 1, "no call when nothing may go"


def test_doubted_tokens_are_masked_again() -> None:
    frames = turned("confidence-remask", 0.6)
    assert frames[1].settled[0].tolist() == [True] * 4 + [False] * 6
    assert [int(frame.tokens[0, 0]) for frame in frames[:3]] == [HIDDEN, A, HIDDEN]
    assert bool(frames[2].settled[0, 1:5].all())
    assert frames[-1].tokens[0, 0] == B and bool(frames[-1].settled.all())
    assert len(frames) <= 10  # ten steps were to be had
    assert frames[-1].tokens[1, :3].tolist() == [A, A, B]
    unmoved = turned("confidence-remask", 0.6, remask_threshold=0.05)
    assert {int(frame.tokens[0, 0]) for frame in unmoved[1:]} == {A}


@pytest.mark.parametrize("sampler", ["edit", "confidence-remask"])
def test_a_text_at_rest_is_done_while_others_go_on(sampler: str) -> None:
    """The network changes its mind after the second call, in which it found one of the texts good."""
    calls: list[Tensor] = []

    def fickle(ids: Tensor) -> Tensor:
        calls.append(ids)
        p = torch.tensor([0.1, 0.8, 0.1, 0.0]).repeat(*ids.shape, 1)
        if len(calls) <= 2:
            p[:, :3] = torch.tensor([0.96, 0.02, 0.02, 0.0])
        return p.log()

    tokens = torch.full((2, 6), HIDDEN)
    tokens[1, 3:] = B
    canvas = Canvas(tokens, tokens == HIDDEN, torch.ones(2, 6).bool())
    rows = RowGenerator.for_rows([0, 1])
    decoding = Decoding(sampler=sampler, steps=6, settings={"threshold": 0.95})
    *frames, last = denoise(as_denoiser(fickle), Absorbing(HIDDEN), canvas, decoding, rows)
    assert [len(ids) for ids in calls[:4]] == [2, 2, 1, 1]
    assert bool(frames[1].settled[1].all()) and not bool(frames[2].settled[0].all())
    assert [last.tokens[row, 0].item() for row in (0, 1)] == [B, A]
    assert torch.equal(last.tokens[1], frames[1].tokens[1])


@pytest.mark.parametrize("schedule", ["linear", "maskgit"])
def test_no_more_is_doubted_than_the_grid_allows(schedule: str) -> None:
    """A network that is sure of the left half and finds everything written improbable at once."""

    def contrary(ids: Tensor) -> Tensor:
        p = torch.tensor([0.5, 0.3, 0.2, 0.0]).repeat(*ids.shape, 1)
        p[:, :6] = torch.tensor([0.98, 0.01, 0.01, 0.0])
        p[ids == A] = torch.tensor([0.01, 0.98, 0.01, 0.0])
        return p.log()

    tokens = torch.full((1, 12), HIDDEN)
    canvas = Canvas(tokens, tokens == HIDDEN, torch.ones(1, 12).bool())
    decoding = Decoding(sampler="confidence-remask", steps=6, schedule=schedule)
    rows = RowGenerator.for_rows([0])
    frames = list(denoise(as_denoiser(contrary), Absorbing(HIDDEN), canvas, decoding, rows))
    open_after = [int((~frame.settled).sum()) for frame in frames]
    most = [math.floor(12 * rate + 1e-6) for rate in STEP_GRIDS[schedule].rates(6).tolist()]
    assert open_after[1] == 6  # ahead of the grid, which is spent in the next step
    assert open_after[2] == most[2] > 6
    assert all(found <= bound for found, bound in zip(open_after, most, strict=True))


def test_refine_masks_the_least_probable_again() -> None:
    length = 10
    law = torch.linspace(0.5, 0.95, length)[
        torch.randperm(length, generator=torch.Generator().manual_seed(0))
    ]
    logits = torch.stack([law, 1 - law, torch.zeros(length)], -1).log()
    canvas = Canvas(torch.full((1, length), 2), torch.ones(1, length).bool(), torch.ones(1, length).bool())
    decoding = Decoding(sampler="refine", steps=5)
    rows = RowGenerator.for_rows([0])
    frames = list(denoise(as_denoiser(lambda ids: logits[None]), Absorbing(2), canvas, decoding, rows))
    for frame, count in zip(frames, (10, 8, 6, 4, 2, 0), strict=True):
        assert (~frame.settled[0]).nonzero()[:, 0].tolist() == sorted(law.argsort()[:count].tolist())
