"""The likelihood bound against a joint whose probabilities are known."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing, Interpolating
from textdiffusion.denoisers import Denoiser, as_denoiser
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import SettingsError
from textdiffusion.evaluation import nelbo
from textdiffusion.objectives import (
    OBJECTIVES,
    BlockNelbo,
    CountNelbo,
    Distilling,
    Duo,
    FlowLMSymmetricKL,
    Nelbo,
    Objective,
    SymmetricKL,
)
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import SCHEDULES
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where
from textdiffusion.soft_tokens import SoftTokens

from .oracle import LENGTH, MASK, WORDS, oracle

TEXTS = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 0], [2, 1, 1, 1], [1, 2, 0, 2]])
FORMS = [CountNelbo(), Nelbo(time_floor=1e-3)]
each_form = pytest.mark.parametrize("objective", FORMS, ids=["count", "time"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_oracle_is_a_distribution() -> None:
    model = oracle()
    assert model.joint.sum().item() == pytest.approx(1.0)
    assert model.joint.min() > 1e-3
    chain, shown = torch.zeros(len(model.texts)), torch.full_like(model.texts, MASK)
    for i in (2, 0, 3, 1):
        chain += model(shown)[:, i, :WORDS].log_softmax(-1).gather(1, model.texts[:, i, None])[:, 0]
        shown[:, i] = model.texts[:, i]
    torch.testing.assert_close(chain.double(), model.joint.log(), atol=1e-5, rtol=0)


# -- the value -------------------------------------------------------------------------------------------


@each_form
def test_bound_of_the_oracle_is_the_likelihood(objective: Objective) -> None:
    found = nelbo(oracle(), TEXTS, mask_id=MASK, samples=8000, generator=generator(), objective=objective)
    # The floor of the time form leaves out about a thousandth of it.
    slack = 4.0 * found.standard_error + (0.0 if isinstance(objective, CountNelbo) else 0.005)
    assert bool(((found.mean + oracle().log_p(TEXTS)).abs() < slack).all())
    assert bool((found.standard_error < 0.1).all())


def test_forms_and_schedules_agree() -> None:
    """The bound does not depend on the schedule; the count form is the same integral."""
    count = nelbo(oracle(), TEXTS, mask_id=MASK, samples=8000, generator=generator())
    canvas = Canvas(
        TEXTS[:1].expand(8000, -1),
        torch.ones(8000, LENGTH, dtype=torch.bool),
        torch.ones(8000, LENGTH).bool(),
    )
    draws = RowGenerator.for_batch(3, 0, first=0, rows=8000, total=8000)
    for name in ("linear", "cosine", "log-linear", "polynomial"):
        corruption = Absorbing(MASK, SCHEDULES[name]())
        nats = Nelbo(1e-4)(as_denoiser(oracle()), corruption, canvas, draws).nats.sum(1)
        error = nats.std().item() / 8000**0.5
        # log-linear noise leaves a thousandth of the tokens clean at t = 1, which the integrand leaves out.
        assert nats.mean().item() == pytest.approx(count.mean[0].item(), abs=4 * error + 0.01), name


@each_form
def test_bound_of_a_wrong_denoiser_is_its_own(objective: Objective) -> None:
    """Blind to context, its likelihood is the product of its own marginals: in the mean above -log p."""
    model = oracle()
    blind = model(torch.full((1, LENGTH), MASK))
    found = nelbo(
        lambda ids: blind.expand(len(ids), -1, -1),
        model.texts,
        mask_id=MASK,
        samples=1000,
        generator=generator(),
        objective=objective,
    )
    own = -blind[0, :, :WORDS].log_softmax(-1)[torch.arange(LENGTH), model.texts].sum(1)
    assert bool(((found.mean - own).abs() < 4.5 * found.standard_error + 0.005).all())
    entropy = -(model.joint * model.joint.log()).sum()
    assert (model.joint * found.mean).sum() > entropy + 0.1


def test_a_slightly_wrong_denoiser_is_above_too() -> None:
    model = oracle()
    found = nelbo(lambda ids: 0.7 * model(ids), model.texts, mask_id=MASK, samples=1000)
    entropy = -(model.joint * model.joint.log()).sum()
    assert (model.joint * found.mean).sum() > entropy + 0.01


@each_form
def test_editable_tokens_are_scored_given_the_others(objective: Objective) -> None:
    editable = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0]], dtype=torch.bool)
    found = nelbo(
        oracle(),
        TEXTS,
        mask_id=MASK,
        samples=8000,
        generator=generator(),
        editable=editable,
        objective=objective,
    )
    truth = -oracle().log_p(TEXTS, given=~editable)
    assert bool(((found.mean - truth).abs() < 4.0 * found.standard_error + 0.005).all())


# -- block by block --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OracleBesideClean(Denoiser):
    """The oracle asked about [x_t ; x_0]: a query knows what `attend` lets it see, in either half."""

    blocks: int
    used: list[int] = field(default_factory=list)

    @property
    def block_size(self) -> int:
        return self.blocks

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert attend is not None
        assert where is not None
        assert xt.shape[1] == 2 * LENGTH
        self.used.append(len(xt))
        row, query = where.nonzero(as_tuple=True)
        sight, tokens = attend[row, query], xt[row]
        noisy, clean = sight[:, :LENGTH], sight[:, LENGTH:]
        assert not bool((noisy & clean).any())
        shown = torch.where(clean, tokens[:, LENGTH:], torch.where(noisy, tokens[:, :LENGTH], MASK))
        return oracle()(shown)[torch.arange(len(row)), query]


@pytest.mark.parametrize("block_size", [1, 2, 3, 4])
def test_bound_of_the_oracle_block_by_block_is_the_likelihood(block_size: int) -> None:
    denoiser = OracleBesideClean(block_size)
    found = nelbo(denoiser, TEXTS, mask_id=MASK, samples=4000, generator=generator())
    assert denoiser.used, "a network that reads blocks is measured by them without being told"
    slack = 4.0 * found.standard_error + 1e-5
    assert bool(((found.mean + oracle().log_p(TEXTS)).abs() < slack).all())
    assert bool((found.standard_error < (1e-6 if block_size == 1 else 0.05)).all())


def test_smaller_blocks_have_less_variance() -> None:
    one, two, four = (
        nelbo(OracleBesideClean(size), TEXTS, mask_id=MASK, samples=500).standard_error.mean()
        for size in (1, 2, 4)
    )
    assert one < two < four


def test_editable_tokens_of_blocks_are_scored_given_what_stands_before() -> None:
    """Fixed tokens behind a block are not seen by it: the chain rule holds for editable ends."""
    editable = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    found = nelbo(
        OracleBesideClean(2), TEXTS, mask_id=MASK, samples=4000, generator=generator(), editable=editable
    )
    truth = -oracle().log_p(TEXTS, given=~editable)
    assert bool(((found.mean - truth).abs() < 4.0 * found.standard_error + 1e-5).all())


def test_a_clipped_schedule_is_no_bound() -> None:
    """It leaves rates out, so that it may only train; here it shows by lying below -log p."""
    clipped = nelbo(
        OracleBesideClean(4), TEXTS, mask_id=MASK, samples=4000, objective=BlockNelbo(4, low=0.0, high=0.5)
    )
    assert bool((clipped.mean < -oracle().log_p(TEXTS) - 10 * clipped.standard_error).any())


# -- the error -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "antithetic"), [*((form, False) for form in FORMS), (CountNelbo(), True)]
)
def test_standard_error_covers_the_truth(objective: Objective, antithetic: bool) -> None:
    kind: dict[str, Any] = {"objective": objective, "antithetic": antithetic}
    runs = [
        nelbo(oracle(), TEXTS, mask_id=MASK, samples=200, generator=generator(seed), **kind)
        for seed in range(60)
    ]
    means, errors = (
        torch.stack(part) for part in zip(*((r.mean, r.standard_error) for r in runs), strict=True)
    )
    inside = (means + oracle().log_p(TEXTS)).abs() < 2.0 * errors
    assert inside.double().mean() > 0.91  # 0.95 for a normal law; the weight 1/t has a heavy tail
    spread = means.std(0) / errors.mean(0)
    assert bool((spread < 1.2).all())
    assert bool((spread > 0.1).all())


def test_count_form_has_less_variance() -> None:
    count, time = (
        nelbo(oracle(), TEXTS, mask_id=MASK, samples=2000, generator=generator(), objective=objective)
        for objective in FORMS
    )
    assert bool((count.standard_error < time.standard_error).all())


def test_estimate_repeats_and_does_not_hang_on_the_batch() -> None:
    whole = nelbo(oracle(), TEXTS, mask_id=MASK, samples=50, generator=generator(1))
    again = nelbo(oracle(), TEXTS, mask_id=MASK, samples=50, generator=generator(1))
    other = nelbo(oracle(), TEXTS, mask_id=MASK, samples=50, generator=generator(2))
    assert torch.equal(whole.mean, again.mean)
    assert not torch.equal(whole.mean, other.mean)
    assert torch.equal(
        whole.mean[:2], nelbo(oracle(), TEXTS[:2], mask_id=MASK, samples=50, generator=generator(1)).mean
    )


def test_many_samples_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nelbo(oracle(), TEXTS, mask_id=MASK, samples=50)
    monkeypatch.setattr("textdiffusion.evaluation.likelihood.TOKENS_AT_ONCE", 7 * LENGTH)
    sizes: list[int] = []

    def counting(ids: Tensor) -> Tensor:
        sizes.append(len(ids))
        return oracle()(ids)

    torch.testing.assert_close(nelbo(counting, TEXTS, mask_id=MASK, samples=50).mean, whole.mean)
    assert max(sizes) == 7
    assert sum(sizes) == 50 * len(TEXTS)


def test_one_sample_has_no_error_and_none_is_refused() -> None:
    assert bool(nelbo(oracle(), TEXTS, mask_id=MASK, samples=1).standard_error.isnan().all())
    with pytest.raises(SettingsError, match="samples is 0"):
        nelbo(oracle(), TEXTS, mask_id=MASK, samples=0)


# -- the gradient ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WholeHead(Denoiser):
    """The same network with the vocabulary head run everywhere."""

    inner: Denoiser

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        logits = self.inner(xt, t, attend=attend, positions=positions)
        return logits if where is None else logits[where]

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        logits = self.inner.soft(xt, t, attend=attend, positions=positions)
        return logits if where is None else logits[where]


def own() -> nn.Module:
    config = DiffusionTransformerConfig(
        vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    return DiffusionTransformerForMaskedLM(config)


def bert() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    drops = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForMaskedLM(
        BertConfig(vocab_size=23, intermediate_size=24, max_position_embeddings=32, **sizes, **drops)
    )


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.parametrize("build", [own, bert])
def test_gradient_is_that_of_the_whole_head(build: Any, name: str) -> None:
    torch.manual_seed(0)
    model, objective = build(), OBJECTIVES[name]()
    if isinstance(objective, Distilling):
        objective = objective.taught(as_denoiser(lambda ids: torch.zeros(*ids.shape, 23)), 0)
    words = isinstance(objective, Duo | SymmetricKL | FlowLMSymmetricKL)
    noise = Interpolating(22, 23, 0.0) if words else Absorbing(22)
    ids = torch.randint(0, 22, (3, 12))
    valid = torch.arange(12)[None] < torch.tensor([[12], [9], [5]])
    editable = valid & (torch.rand(3, 12) < 0.7)
    found = []
    for denoiser in (MaskedLMDenoiser.of(model), WholeHead(MaskedLMDenoiser.of(model))):
        draws = RowGenerator.for_batch(0, 0, first=0, rows=3, total=3)
        scores = objective.told((3, 4))(denoiser, noise, Canvas(ids, editable, valid), draws)
        loss = scores.nats.sum() / editable.sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found.append((loss, [g for g in gradients if g is not None]))
    (loss, gradients), (whole, expected) = found
    torch.testing.assert_close(loss, whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradients, expected, atol=1e-6, rtol=1e-5)
    assert max(g.abs().max().item() for g in expected) > 1e-3


@pytest.mark.parametrize(
    ("tokens", "editable", "said"),
    [
        (TEXTS[:, :0], None, "the texts have no tokens"),
        (torch.tensor([[0, MASK, 1, 2]]), None, "the mask itself"),
    ],
)
def test_what_cannot_be_scored_is_refused(tokens: Tensor, editable: Tensor | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        nelbo(oracle(), tokens, mask_id=MASK, samples=2, editable=editable)
    assert "\n" not in str(caught.value)
    given = torch.tensor([[0, MASK, 1, 2]])
    assert nelbo(oracle(), given, mask_id=MASK, samples=2, editable=given != MASK).mean.isfinite().all()
