"""The symmetric divergence: by hand, and what it makes a network say."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from scipy.special import lambertw
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Interpolating
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.gaussian import argmax_noise
from textdiffusion.objectives import FlowLMSymmetricKL, Objective, SymmetricKL
from textdiffusion.objectives.symmetric_kl import symmetric
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import Linear
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

MASK, VOCAB, WORDS = 2, 7, 6
BOTH: list[Objective] = [SymmetricKL(), FlowLMSymmetricKL()]


@dataclass(frozen=True)
class Known(Denoiser):
    """Logits that hang on the token and are remembered with what was asked."""

    asked: list[tuple[Tokens, Times]]

    @property
    def table(self) -> Tensor:
        return 2.0 * torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))

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
        self.asked.append((xt, t))
        return self.table[xt][where]


def canvas(rows: int, length: int) -> Canvas:
    """Texts with a prompt of three tokens."""
    draws = torch.Generator().manual_seed(1)
    words = torch.randint(0, WORDS, (rows, length), generator=draws)
    tokens = words + (words >= MASK).long()
    valid = torch.ones(rows, length, dtype=torch.bool)
    return Canvas(tokens, valid & (torch.arange(length) >= 3), valid)


def draws(rows: int) -> RowGenerator:
    return RowGenerator.for_batch(0, 0, first=0, rows=rows, total=rows)


def noise() -> Interpolating:
    return Interpolating(MASK, VOCAB, 0.0)


def log_probabilities(logits: Tensor) -> Tensor:
    logits = logits.double().clone()
    logits[..., MASK] = -torch.inf
    return logits.log_softmax(-1)


# -- by hand ---------------------------------------------------------------------------------------------


def test_corrected_by_hand() -> None:
    """Over the six words, by torch's divergences; divided by the chance of each row to be struck."""
    texts, net = canvas(40, 9), Known([])
    scores = SymmetricKL(0.2, 0.6, smoothing=0.3)(net, noise(), texts, draws(40))
    ((xt, t),) = net.asked
    struck = t.double()[:, 0]  # linear
    flip = struck * (WORDS - 1) / WORDS
    assert 0.2 - 1e-6 < float(flip.min()) < 0.22 and 0.58 < float(flip.max()) < 0.6 + 1e-6
    assert bool((xt == texts.tokens)[~scores.asked].all())
    keep = torch.tensor([word for word in range(VOCAB) if word != MASK])
    log_p = log_probabilities(net.table)[xt][..., keep]
    clean = F.one_hot(texts.tokens, VOCAB)[..., keep].double()
    smooth = 0.7 * clean + 0.3 / WORDS
    expected = F.kl_div(log_p, clean, reduction="none").sum(-1)
    expected += F.kl_div(smooth.log(), log_p, reduction="none", log_target=True).sum(-1)
    expected = torch.where(scores.asked, expected / struck[:, None], 0.0)
    torch.testing.assert_close(scores.nats.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        scores.cross_entropy.double(),
        torch.where(scores.asked, -(log_p * clean).sum(-1), 0.0),
        rtol=1e-5,
        atol=1e-5,
    )


def test_as_documented_by_hand() -> None:
    """All tokens but the prompt, against 1e-8 more than one-hot, weighed by the noise of the row."""
    texts, net = canvas(40, 9), Known([])
    scores = FlowLMSymmetricKL()(net, noise(), texts, draws(40))
    assert torch.equal(scores.asked, texts.editable)
    ((xt, t),) = net.asked
    ratio = argmax_noise(WORDS).inverse(1.0 - t.double()[:, 0])
    n = 1.0 / (1.0 + ratio)
    assert 0.25 - 1e-5 < float(n.min()) < 0.26 and 0.49 < float(n.max()) < 0.5 + 1e-5
    log_p = log_probabilities(net.table)[xt]
    p = log_p.exp()
    one_hot = F.one_hot(texts.tokens, VOCAB).double()
    reverse = (torch.special.xlogy(p, p) - p * (one_hot + 1e-8).log()).sum(-1)
    forward = -log_p.gather(-1, texts.tokens[..., None])[..., 0]
    scale = n / (VOCAB * (1.0 - n) + n)
    expected = torch.where(texts.editable, (forward + reverse) * scale[:, None], 0.0)
    torch.testing.assert_close(scores.nats.double(), expected, rtol=1e-4, atol=1e-5)
    assert bool((xt == texts.tokens)[:, :3].all())


def weights(objective: Objective, there: float, elsewhere: float) -> Tensor:
    """How much the tokens of a row count in the mean, for four groups of rows from the cleanest on."""
    texts, net = canvas(400, 303), Known([])
    nats = objective(net, noise(), texts, draws(400)).nats
    ((xt, t),) = net.asked
    log_p = log_probabilities(net.table)[xt].flatten(0, 1)
    plain = symmetric(log_p, texts.tokens.flatten(), there, elsewhere).view(xt.shape)
    return (nats / plain).sum(1)[t[:, 0].argsort()].view(4, -1).mean(1) / 300


def test_rows_weigh_alike_where_they_should() -> None:
    corrected = weights(SymmetricKL(), math.log(0.9 + 0.1 / WORDS), math.log(0.1 / WORDS))
    torch.testing.assert_close(corrected, torch.ones(4).double(), rtol=0.06, atol=0.0)
    documented = weights(FlowLMSymmetricKL(), math.log1p(1e-8), math.log(1e-8))
    assert float(documented[3] / documented[0]) > 1.8
    assert float(documented.max()) < 1.0 / WORDS


@pytest.mark.parametrize("objective", BOTH, ids=lambda rule: type(rule).__name__)
def test_gradients_are_numbers_though_the_mask_has_no_chance(objective: Objective) -> None:
    logits = (50.0 * Known([]).table).requires_grad_()

    @dataclass(frozen=True)
    class Learning(Known):
        @property
        def table(self) -> Tensor:
            return logits

    objective(Learning([]), noise(), canvas(8, 9), draws(8)).nats.sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all()) and bool(logits.grad.any())
    assert not bool(logits.grad[:, MASK].any())


# -- what it makes a network say -------------------------------------------------------------------------

TRUTH = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def least(there: float, elsewhere: float) -> Tensor:
    """The answer at which the mean loss over the truth is least, by descent."""
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        descent.zero_grad()
        each = symmetric(logits.log_softmax(-1).expand(3, -1), torch.arange(3), there, elsewhere)
        mean = TRUTH @ each
        mean.backward()  # type: ignore[no-untyped-call]
        return mean

    descent.step(loss)  # type: ignore[no-untyped-call]
    return logits.detach().softmax(-1)


def derived(strength: float) -> Tensor:
    """log p - q / p = L q + c, solved for p by Lambert's W, with the c at which p sums to 1."""

    def answer(c: float) -> Tensor:
        q = TRUTH.numpy()
        return torch.tensor((q / lambertw(q * np.exp(-c - strength * q)).real).tolist(), dtype=torch.float64)

    found = brentq(lambda c: float(answer(c).sum()) - 1.0, -strength - 30.0, 1.0, xtol=1e-13)
    return answer(float(found))


@pytest.mark.parametrize("smoothing", [0.9, 0.1, 1e-3])
def test_the_answer_is_what_was_derived(smoothing: float) -> None:
    there, elsewhere = math.log(1.0 - smoothing + smoothing / 3), math.log(smoothing / 3)
    found, expected = least(there, elsewhere), derived(there - elsewhere)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (float(found[0]) > 0.5) is (smoothing < 0.5)


def test_smoothing_decides_whether_it_sharpens() -> None:
    """Smoothed away the second half is a pull to even; at the documented 1e-8 one to the likeliest."""
    assert float(least(0.0, 0.0)[0]) < 0.45
    strong = least(math.log1p(1e-8), math.log(1e-8))
    torch.testing.assert_close(strong, derived(math.log1p(1e8)), atol=1e-5, rtol=0)
    assert float(strong[0]) > 0.8


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", BOTH, ids=lambda rule: type(rule).__name__)
def test_they_are_for_uniform_noise(objective: Objective) -> None:
    objective.check(noise())
    with pytest.raises(IncompatibleError, match="is for noise of words alone"):
        objective.check(CORRUPTIONS["absorbing"](MASK, VOCAB, Linear()))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"0 < flip_low < flip_high <= 1\.$"):
        SymmetricKL(flip_low=0.0)
    with pytest.raises(SettingsError, match="smoothing is 0"):
        SymmetricKL(smoothing=0.0)
    with pytest.raises(SettingsError, match=r"0 < noise_low < noise_high < 1\.$"):
        FlowLMSymmetricKL(0.5, 1.0)
