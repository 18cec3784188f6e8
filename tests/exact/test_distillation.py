"""What teachers say and what students can make of it, on a joint that can be written down; and by Gauss."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Corruption, Interpolating
from textdiffusion.denoisers import Denoiser, as_denoiser
from textdiffusion.errors import IncompatibleError, SettingsError, UnknownNameError
from textdiffusion.gaussian import argmax_noise
from textdiffusion.objectives import (
    DIVERGENCES,
    ConsistencyDistillation,
    CountNelbo,
    Distilling,
    SelfDistillation,
)
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import SCHEDULES, Linear
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

from .oracle import LENGTH, MASK, WORDS, oracle

DISTILLING = [SelfDistillation(), ConsistencyDistillation()]
TEXT = torch.tensor([0, 1, 1, 2])
Law = Callable[[Tensor], Tensor]


def sharper(tokens: Tensor) -> Tensor:
    """A teacher that does not know the joint: it is surer than it should be, the more so the more it sees."""
    known = (tokens != MASK).sum(1)[:, None, None]
    return oracle()(tokens)[..., :WORDS].log_softmax(-1) * (1.0 + known)


def logits_of(tokens: Tensor) -> Tensor:
    """The same with a column for the mask, which nobody may ever read."""
    return torch.nn.functional.pad(sharper(tokens), (0, 1), value=9.0)


@cache
def law(state: tuple[int, ...]) -> Tensor:
    """What that teacher says of each token of one text: [4, 3]."""
    return sharper(torch.tensor([state]))[0].softmax(-1).double()


def after_one_step(
    state: tuple[int, ...], chance: float
) -> Iterator[tuple[tuple[int, ...], set[int], float]]:
    """All that a step of ancestral sampling can write, which masks those were, and how likely that is."""
    masks = [place for place, token in enumerate(state) if token == MASK]
    said = law(state)
    for size in range(len(masks) + 1):
        for written in combinations(masks, size):
            for words in product(range(WORDS), repeat=size):
                share = chance**size * (1.0 - chance) ** (len(masks) - size)
                now = list(state)
                for place, word in zip(written, words, strict=True):
                    now[place], share = word, share * float(said[place, word])
                yield tuple(now), set(written), share


def rows(count: int) -> Canvas:
    return Canvas(TEXT.expand(count, -1), *torch.ones(2, count, LENGTH, dtype=torch.bool))


def draws(count: int, step: int = 0) -> RowGenerator:
    return RowGenerator.for_batch(0, step, first=0, rows=count, total=count)


# -- SDTT ------------------------------------------------------------------------------------------------


def test_targets_are_on_average_what_two_ancestral_steps_say() -> None:
    """Each mask by what was said when it was written, or last; enumerated, at the rates that were drawn."""
    count, step = 6000, 0.4
    rate = 1.0 - draws(count).stratified()
    example = SelfDistillation().example(
        as_denoiser(logits_of), Absorbing(MASK), rows(count), step, draws(count)
    )
    said = torch.zeros(count, LENGTH, WORDS, dtype=torch.float64)
    said[example.asked] = example.said.exp().double()[:, :WORDS]
    for state in ((MASK,) * 4, (0, MASK, MASK, 2)):
        here = (example.xt == torch.tensor(state)).all(1)
        masks = [place for place, token in enumerate(state) if token == MASK]
        expected = torch.zeros(LENGTH, WORDS, dtype=torch.float64)
        chances = (step / rate[here]).clamp(max=1.0)
        for size in range(len(masks) + 1):
            # The chance hangs on the row through powers of it alone.
            share = float((chances**size * (1.0 - chances) ** (len(masks) - size)).mean())
            for now, written, weight in after_one_step(state, 0.5):
                if len(written) != size:
                    continue
                for place in masks:
                    own = law(state) if place in written else law(now)
                    expected[place] += share * weight * 2 ** len(masks) * own[place]
        found = said[here][:, masks]
        error = found.std(0) / len(found) ** 0.5
        assert len(found) > 150
        assert bool(((found.mean(0) - expected[masks]).abs() < 4.5 * error + 1e-6).all())
        assert not torch.allclose(law(state)[masks], expected[masks], atol=0.01), "one look is another law"


def test_the_best_student_writes_in_one_step_more_like_two() -> None:
    """From nothing but masks: the mean of the targets beats the teacher asked once, in KL and in TV."""
    state = (MASK,) * LENGTH
    joint, target = torch.zeros(WORDS**LENGTH, dtype=torch.float64), torch.zeros(LENGTH, WORDS).double()
    for now, written, share in after_one_step(state, 0.5):
        said = [law(state)[i] if i in written else law(now)[i] for i in range(LENGTH)]
        target += share * torch.stack(said)
        joint += share * texts([one_hot(now[i]) if now[i] != MASK else law(now)[i] for i in range(LENGTH)])
    torch.testing.assert_close(joint.sum(), torch.tensor(1.0).double())
    untrained, best = (texts(list(of)) for of in (law(state), target))
    assert kl(joint, best) < kl(joint, untrained)
    assert float((joint - best).abs().sum()) < float((joint - untrained).abs().sum())
    for other in torch.randn(20, LENGTH, WORDS, generator=torch.Generator().manual_seed(0)).double():
        assert kl(joint, best) < kl(joint, texts(list((target.log() + 0.1 * other).softmax(-1))))


def one_hot(word: int) -> Tensor:
    return torch.eye(WORDS, dtype=torch.float64)[word]


def texts(laws: list[Tensor]) -> Tensor:
    """The law of all 81 texts whose tokens are independent."""
    found = torch.ones(1, dtype=torch.float64)
    for own in laws:
        found = (found[:, None] * own).flatten()
    return found


def kl(joint: Tensor, other: Tensor) -> float:
    return float((joint * (joint.log() - other.log())).sum())


def test_the_last_step_writes_all() -> None:
    """A step at least as long as what is left: the second look shows a whole text and asks about nothing."""
    seen: list[tuple[Tokens, Where]] = []
    with torch.no_grad():
        SelfDistillation().example(Recorder(seen), Absorbing(MASK), rows(50), 1.0, draws(50))
    (first, asked), (second, left) = seen
    assert torch.equal(asked, first == MASK) and bool(asked.any())
    assert not bool((second == MASK).any()) and not bool(left.any())
    assert torch.equal(first[~asked], second[~asked])


@dataclass(frozen=True)
class Recorder(Denoiser):
    """Any word alike; it writes down what it was asked."""

    seen: list[tuple[Tokens, Where]]
    times: list[Times] = field(default_factory=list)
    size: int = MASK + 1

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert where is not None and not torch.is_grad_enabled()
        self.seen.append((xt, where))
        self.times.append(t)
        return torch.zeros(int(where.sum()), self.size)


# -- DCD -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_two_times_have_the_law_of_one_gaussian_path(schedule: str) -> None:
    """Against arg-max(A x + B eps) at both times with one eps, over five words and a mask among their ids."""
    vocab, mask, step, count, width = 6, 2, 0.25, 2000, 20
    words = torch.tensor([0, 1, 3, 4, 5])
    corruption = Interpolating(mask, vocab, 0.0, SCHEDULES[schedule]())
    clean = torch.full((count, width), 3)
    canvas = Canvas(clean, *torch.ones(2, count, width, dtype=torch.bool))
    teacher = Recorder([], size=vocab)
    with torch.no_grad():
        example = ConsistencyDistillation().example(teacher, corruption, canvas, step, draws(count))
    ((xs, asked),) = teacher.seen
    assert bool(asked.all()) and torch.equal(asked, example.asked)
    alpha_t, alpha_s = (corruption.schedule.alpha(t.double()) for t in (example.t, teacher.times[0]))
    torch.testing.assert_close(alpha_s - alpha_t, torch.full_like(alpha_t, step), atol=1e-6, rtol=0)

    eps = torch.randn(count, width, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_gauss = [
        words[(eps + argmax_noise(5).inverse(alpha)[..., None] * (words == 3)).argmax(-1)]
        for alpha in (alpha_t, alpha_s)
    ]
    ours, theirs = (
        (at_t * vocab + at_s).flatten().bincount(minlength=vocab**2)
        for at_t, at_s in ((example.xt, xs), by_gauss)
    )
    possible = (ours + theirs) > 0
    assert int(possible.sum()) == 1 + 4 + 4, "clean, noise at t alone, and the same noise at both"
    assert chi2_contingency(torch.stack([ours, theirs])[:, possible].numpy()).pvalue > 1e-3
    for alpha, found in ((alpha_t, example.xt), (alpha_s, xs)):
        kept = (alpha + (1.0 - alpha) / 5).expand(-1, width)
        spread = float((kept * (1.0 - kept)).sum()) ** 0.5
        assert abs(float((found == 3).sum()) - float(kept.sum())) < 4.0 * spread


# -- divergences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("forward-kl", lambda laws: laws.exp().mean(0).log()),
        ("reverse-kl", lambda laws: laws.mean(0).log_softmax(-1)),
    ],
)
def test_the_best_answer_to_several_targets(name: str, best: Law) -> None:
    laws = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    answer = best(laws).clone().requires_grad_()
    loss = DIVERGENCES[name](answer.log_softmax(-1).expand(5, -1), laws).mean()
    (slope,) = torch.autograd.grad(loss, answer)
    torch.testing.assert_close(slope, torch.zeros(7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_none_is_negative_and_equals_have_none(name: str) -> None:
    one, other = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    of = DIVERGENCES[name]
    assert bool((of(one, other) > 0.0).all()) and bool((of(one, one).abs() < 1e-6).all())
    far = torch.tensor([[0.0, -1e4]])
    assert float(DIVERGENCES["total-variation"](far, far.flip(1))) == 1.0


# -- rounds and refusals ---------------------------------------------------------------------------------


@given(
    round_steps=st.integers(1, 9),
    sampling_steps=st.integers(2, 100),
    step=st.integers(1, 100),
    merged=st.integers(2, 3),
)
def test_a_step_grows_with_each_round_until_the_student_has_one(
    round_steps: int, sampling_steps: int, step: int, merged: int
) -> None:
    rule = SelfDistillation(round_steps, max(sampling_steps, merged), merged)
    size, before = rule.step_size(step), rule.step_size(step - 1)
    assert rule.step_size(0) == 1.0 / rule.sampling_steps
    assert rule.merged * size <= 1.0
    if rule.begins_round(step):
        assert step % round_steps == 0 and size == pytest.approx(merged * before)
    else:
        assert size == before
        assert step % round_steps or merged**2 * size > 1.0


@pytest.mark.parametrize("rule", DISTILLING)
def test_a_teacher_is_needed_and_learns_nothing(rule: Distilling) -> None:
    weights, taught = (torch.randn(4, 4, requires_grad=True) for _ in range(2))
    student, teacher = (as_denoiser(lambda ids, of=of: of[ids]) for of in (weights, taught))  # type: ignore[misc]
    noise: Corruption = CORRUPTIONS["absorbing" if rule is DISTILLING[0] else "uniform"](MASK, 4, Linear())
    with pytest.raises(SettingsError, match="learns from a teacher"):
        rule(student, noise, rows(8), draws(8))
    scores = rule.taught(teacher, 0)(student, noise, rows(8), draws(8))
    scores.nats.sum().backward()
    assert taught.grad is None and weights.grad is not None and bool(weights.grad.abs().sum() > 0.0)
    same = rule.taught(student, 0)(student, noise, rows(8), draws(8))
    assert bool(same.nats.sum() < scores.nats.sum())


@pytest.mark.parametrize("rule", DISTILLING)
def test_a_student_comes_nearer_to_its_teacher(rule: Distilling) -> None:
    student = torch.zeros(4, 4, requires_grad=True)
    teacher = as_denoiser(lambda ids: 2.0 * torch.arange(16.0).view(4, 4).sin()[ids])
    noise: Corruption = CORRUPTIONS["absorbing" if rule is DISTILLING[0] else "uniform"](MASK, 4, Linear())
    optimizer, losses = torch.optim.Adam([student], 0.1), []
    for step in range(40):
        scores = rule.taught(teacher, 0)(
            as_denoiser(lambda ids: student[ids]), noise, rows(16), draws(16, step)
        )
        optimizer.zero_grad()
        scores.nats.mean().backward()
        optimizer.step()
        losses.append(scores.nats.mean().item())
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize(
    ("rule", "noise"),
    [
        *((SelfDistillation(), noise) for noise in ("uniform", "mask-uniform", "bert", "spindle")),
        *((ConsistencyDistillation(), noise) for noise in ("absorbing", "mask-uniform", "pure-random")),
    ],
)
def test_wrong_noise_is_refused(rule: Distilling, noise: str) -> None:
    said = r"^the objective (sdtt|dcd) is for .* noise.*use noise (absorbing|uniform)\.$"
    for objective in (rule, rule.taught(as_denoiser(logits_of), 0)):
        with pytest.raises(IncompatibleError, match=said):
            objective.check(CORRUPTIONS[noise](MASK, 4, Linear()))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"round_steps": 0}, SettingsError, "round_steps is 0"),
        ({"sampling_steps": 1}, SettingsError, "sampling_steps is 1, but 2 steps are to become one"),
        ({"merged": 1}, SettingsError, "merged is 1"),
        ({"divergence": "reverse_kld"}, UnknownNameError, "Did you mean reverse-kl"),
    ],
)
def test_settings_that_give_no_rounds_are_refused(
    settings: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        SelfDistillation(**settings)  # type: ignore[arg-type]


def test_they_are_measured_by_the_bound() -> None:
    assert SelfDistillation().bound(Absorbing(MASK)) == CountNelbo()
