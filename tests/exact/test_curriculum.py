"""The curriculum of Duo: its law, its weights, and what it comes to where the temperature is nothing."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Interpolating
from textdiffusion.denoisers import Denoiser, as_denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.gaussian import argmax_noise
from textdiffusion.objectives import OBJECTIVES, Duo, Nelbo
from textdiffusion.objectives.curriculum import SoftNelbo
from textdiffusion.randomness import RowGenerator
from textdiffusion.schedules import Cosine, Linear
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where
from textdiffusion.soft_tokens import SoftTokens

MASK, VOCAB, WORDS = 2, 7, 6
ROWS, LENGTH, MANY = 512, 12, 8192
WINDOW = {"flip_low": 0.1, "flip_high": 0.7}


@dataclass(frozen=True)
class Weighing(Denoiser):
    """Logits that are the weighted mean of a table's, and hang on the time too."""

    seed: int = 0

    @property
    def table(self) -> Tensor:
        draws = torch.Generator().manual_seed(self.seed)
        return 2.0 * torch.randn(2, VOCAB, VOCAB, generator=draws, dtype=torch.float64)

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        return self.soft(SoftTokens.hard(xt), t, where=where)

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        one, other = ((part[xt.ids] * xt.weights[..., None]).sum(-2) for part in self.table)
        logits = (one + t.double()[..., None] * other).float()
        return logits if where is None else logits[where]


def noise(schedule: Linear | Cosine | None = None) -> Interpolating:
    return Interpolating(MASK, VOCAB, 0.0, schedule or Linear())


def texts(token: int, rows: int = ROWS) -> Canvas:
    shape = (rows, LENGTH)
    return Canvas(torch.full(shape, token), *torch.ones(2, *shape, dtype=torch.bool))


def draws(rows: int = ROWS, step: int = 0) -> RowGenerator:
    return RowGenerator.for_batch(0, step, first=0, rows=rows, total=rows)


def part_of_the_bound(token: int, process: Interpolating, low: float, high: float) -> float:
    """The bound of one token, its integral cut to where alpha is from `low` to `high`; by quadrature."""
    points, weights = np.polynomial.legendre.leggauss(40)
    total = 0.0
    words = torch.tensor([word for word in range(VOCAB) if word != MASK])
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        alpha = torch.full((WORDS, 1), (low + high + point * (high - low)) / 2, dtype=torch.float64)
        t = process.schedule.inverse(alpha)
        x0 = torch.full((WORDS, 1), token)
        log_p = process.clean_log_p(Weighing()(words[:, None], t.float()))
        cost = process.divergence(log_p, x0, words[:, None], alpha)[:, 0]
        chance = process.marginal(x0[:1], t[:1], VOCAB)[0, 0, words]
        total += weight * (high - low) / 2 * float(chance @ cost)
    return total


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=repr)
@pytest.mark.parametrize(("token", "temperature"), [(0, 1e-3), (5, 1e-8)])
def test_at_no_temperature_it_is_the_windows_part_of_the_bound(
    schedule: Linear | Cosine, token: int, temperature: float
) -> None:
    process = noise(schedule)
    objective = SoftNelbo(**WINDOW, temperature=temperature, top=2)
    scores = objective(Weighing(), process, texts(token, MANY), draws(MANY))
    alpha = [1.0 - flip * WORDS / (WORDS - 1) for flip in WINDOW.values()]
    expected = part_of_the_bound(token, process, alpha[1], alpha[0])
    per_text = scores.nats.double().mean(1)
    error = float(per_text.std()) / math.sqrt(MANY)
    assert error < 0.015 * expected
    assert float(per_text.mean()) == pytest.approx(expected, abs=4 * error)


def test_a_warm_soft_token_tells_more() -> None:
    """So its loss is another: no bound."""
    objectives = [SoftNelbo(**WINDOW, temperature=tau, top=9) for tau in (1e-6, 1.0)]
    cold, warm = (rule(Weighing(), noise(), texts(0), draws()).nats.mean() for rule in objectives)
    assert abs(float(warm / cold) - 1.0) > 0.05


@pytest.mark.parametrize("words", [6, 4095, 50_257])
def test_weights_are_the_fall_of_alpha_along_the_window(words: int) -> None:
    """They add up to the alpha that is lost between its ends."""
    objective = SoftNelbo(flip_low=0.1, flip_high=0.75)
    share = (torch.arange(2000).double() + 0.5) / 2000
    drawn = objective.draw(words, share)
    step = 1e-5
    near = [objective.draw(words, share + side).alpha for side in (-step, step)]
    torch.testing.assert_close(drawn.weight, (near[0] - near[1]) / (2 * step), rtol=1e-5, atol=1e-7)
    lost = (0.75 - 0.1) * words / (words - 1)
    assert float(drawn.weight.mean()) == pytest.approx(lost, rel=1e-5)
    flips = argmax_noise(words).flip(objective.draw(words, torch.tensor([0.0, 1.0])).ratio)
    torch.testing.assert_close(flips, torch.tensor([0.1, 0.75], dtype=torch.float64))


def test_the_window_is_duos_in_its_vocabularies() -> None:
    """gamma from -3.55 to -1.85 for 50,257 tokens, from -3.5 to -1.75 for 30,522 of BERT."""
    for words, gammas in ((50_257, (-3.55, -1.85)), (30_522, (-3.5, -1.75))):
        ratios = torch.tensor(gammas, dtype=torch.float64).div(-2.0).exp()
        low, high = argmax_noise(words).flip(ratios).tolist()
        assert (low, high) == pytest.approx((0.05, 0.95), abs=0.009)
        assert SoftNelbo(low, high).window(words) == pytest.approx(gammas, abs=1e-6)


def test_the_prompt_stays_clean_and_the_network_is_told_the_time() -> None:
    seen: list[tuple[SoftTokens, Tensor]] = []

    class Asked(Weighing):
        def soft(self, xt: SoftTokens, t: Times, **told: Any) -> Logits:
            seen.append((xt, t))
            return super().soft(xt, t, **told)

    canvas, objective = texts(4), SoftNelbo(**WINDOW, temperature=0.5, top=9)
    editable = torch.arange(LENGTH).expand(ROWS, -1) >= 5
    scores = objective(Asked(), noise(Cosine()), Canvas(canvas.tokens, editable, canvas.valid), draws())
    ((soft, t),) = seen
    assert bool((soft.largest[:, :5] == 4).all() and (soft.weights[:, :5, 0] == 1.0).all())
    assert torch.equal(scores.asked, editable)
    alpha = Cosine().alpha(t.double())
    flipped = 5 / 6 * (1 - alpha)
    assert 0.1 - 1e-6 < float(flipped.min()) < 0.11 and 0.69 < float(flipped.max()) < 0.7 + 1e-6
    assert float((scores.rate - flipped[:, 0]).mean()) == pytest.approx(0.0, abs=0.03)
    torch.testing.assert_close(scores.rate, (soft.largest[:, 5:] != 4).float().mean(1))


@pytest.mark.parametrize("temperature", [1e-8, 1e-3, 0.3])
def test_gradients_are_numbers(temperature: float) -> None:
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0)).requires_grad_()

    class Learning(Weighing):
        @property
        def table(self) -> Tensor:
            return torch.stack([table, 0.0 * table])

    scores = SoftNelbo(**WINDOW, temperature=temperature)(Learning(), noise(), texts(1), draws())
    scores.nats.sum().backward()
    assert table.grad is not None
    assert bool(table.grad.isfinite().all()) and bool(table.grad.any())


# -- the curriculum --------------------------------------------------------------------------------------


def test_soft_tokens_come_first_and_the_bound_then() -> None:
    found = [Duo(soft_share=0.4, time_floor=0.01).at(step, 10) for step in range(10)]
    assert found == [SoftNelbo()] * 4 + [Nelbo(0.01)] * 6
    assert {Duo(soft_share=1.0).at(step, 3) for step in range(3)} == {SoftNelbo()}


def test_other_objectives_stay_the_same_from_step_to_step() -> None:
    for kind in OBJECTIVES.values():
        stays = all(kind().at(step, 4) == kind() for step in range(4))
        assert stays is (kind is not Duo)


def temperatures(objective: Duo, steps: int) -> list[float]:
    found = [objective.at(step, steps) for step in range(steps)]
    return [rule.temperature for rule in found if isinstance(rule, SoftNelbo)]


def test_the_temperature_falls_by_steps() -> None:
    falling = Duo(temperature=0.01, final_temperature=0.002)
    assert temperatures(falling, 8) == pytest.approx([0.01, 0.008, 0.006, 0.004])
    quick = Duo(temperature=0.01, final_temperature=0.002, annealing=2)
    assert temperatures(quick, 8) == pytest.approx([0.01, 0.006, 0.002, 0.002])


def test_the_published_annealing_hardly_moves_in_the_steps_of_a_training() -> None:
    """1e-3 to 1e-8 over 500,000 steps, in the 25,700 steps of an epoch."""
    duo = Duo(soft_share=1.0, temperature=1e-3, final_temperature=1e-8, annealing=500_000)
    first, last = (duo.at(step, 25_700) for step in (0, 25_699))
    assert isinstance(first, SoftNelbo) and isinstance(last, SoftNelbo)
    assert first.temperature == 1e-3 and 9.4e-4 < last.temperature < 9.5e-4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"soft_share": 0.0}, "soft_share is 0"),
        ({"flip_low": 0.0}, "0 < flip_low < flip_high < 1"),
        ({"flip_low": 0.6, "flip_high": 0.5}, "flip_low 0.6 and flip_high 0.5"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"final_temperature": -1.0}, "temperature is -1"),
        ({"annealing": 5}, "annealing 5 needs a final_temperature"),
        ({"annealing": 0, "final_temperature": 1e-8}, "annealing is 0"),
        ({"top": 0}, "top is 0"),
        ({"time_floor": 0.0}, "time_floor"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Duo(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "uniform"])
def test_it_is_for_uniform_noise(name: str) -> None:
    other = CORRUPTIONS[name](MASK, VOCAB, Linear())
    with pytest.raises(IncompatibleError, match="is for noise of words alone"):
        Duo(**WINDOW).check(other)


def test_what_a_vocabulary_does_not_allow_is_refused() -> None:
    with pytest.raises(IncompatibleError, match=r"flip_high 0\.95 is more than pure noise .* 6 tokens"):
        Duo().check(noise())
    large = Interpolating(4095, 4096, 0.0)
    Duo().check(large)
    Duo(temperature=0.03, final_temperature=1e-8, top=32).check(large)
    said = r"at a temperature of 0\.1 the 32 tokens .* lack \d+\.\d% of a soft token among 4095"
    for changes in ({"temperature": 0.1}, {"final_temperature": 0.1}):
        with pytest.raises(IncompatibleError, match=said) as caught:
            Duo(**changes, top=32).check(large)
        assert "\n" not in str(caught.value)
    Duo(**WINDOW, temperature=5.0, top=WORDS - 1).check(noise())


def test_a_function_of_ids_is_refused() -> None:
    plain = as_denoiser(lambda tokens: torch.zeros(*tokens.shape, VOCAB))
    with pytest.raises(IncompatibleError, match="cannot be given soft tokens"):
        Duo(**WINDOW)(plain, noise(), texts(0), draws())
