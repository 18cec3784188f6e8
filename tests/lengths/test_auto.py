"""`length="auto"`: read and cut, grown by blocks, or refused; on a model that learnt its lengths."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import CachingDenoiser, Past
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.language_model import DiffusionLM, Generation
from textdiffusion.lengths.fit import HeadFit, Start, fit_head
from textdiffusion.objectives import CrossEntropy, EndPosition
from textdiffusion.randomness import RowGenerator
from textdiffusion.training.collate import FILLERS, IGNORED
from textdiffusion.training.filling import hide_fillers

from .known import BEGIN, END, IS, LENGTH, MASK, PAD, A, B, Known, known_model, rows, small_model

COUNTS = range(1, 7)
STEPS, RATE = 250, 0.01
SURE = {"sampler": "confidence", "temperature": 0.0}


def prompt(n: int) -> str:
    return "a" * n + "="


@cache
def trained() -> DiffusionLM:
    """A small network that learnt to write as many b as the prompt has a; a few seconds."""
    lm = small_model()
    counts = [*COUNTS] * 4
    objectives, ends = (CrossEntropy(), EndPosition((END, PAD))), (False, True)
    optimizer = torch.optim.AdamW(lm.model.train().parameters(), lr=RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 20) * (1.0 - step / STEPS)
        draws = RowGenerator.for_batch(0, step, first=0, rows=len(counts), total=len(counts))
        canvas = batch(counts, None if ends[step % 2] else draws.uniform(1, 9)[:, 0])
        scores = objectives[step % 2](denoiser_of(lm.model), Absorbing(MASK), canvas, draws)
        loss = scores.nats.sum() / canvas.editable.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(lm.model.parameters(), 1.0)
        optimizer.step()
    lm.model.eval()
    return lm


def batch(counts: list[int], part: torch.Tensor | None) -> Canvas:
    """Texts whose prompts are given, in rooms that are whole, or cut off behind a part of the fillers."""
    tokens, place = rows(counts), torch.arange(LENGTH)[None]
    given, size = torch.tensor(counts)[:, None] + 2, 2 * torch.tensor(counts)[:, None] + 3
    found = {
        "input_ids": tokens,
        "labels": tokens.masked_fill(place < given, IGNORED),
        "attention_mask": torch.ones_like(tokens),
        FILLERS: place >= size,
    }
    hide_fillers(found, 1.0, part)
    return Canvas(found["input_ids"], found["labels"] != IGNORED, found["attention_mask"] == 1)


# -- read and cut ----------------------------------------------------------------------------------------


def test_the_length_is_read_from_the_prompt_and_the_rest_is_not_paid_for() -> None:
    lm = trained()
    for n in COUNTS:
        auto = lm.generate(prompt(n), length="auto", **SURE)
        full = lm.generate(prompt(n), **SURE)
        assert auto.text == full.text == "b" * n
        assert auto.predicted_length == n + 1, "the end included"
        assert full.predicted_length is None
        room = LENGTH - n - 2
        assert (full.nfe, full.read_tokens) == (room, room * LENGTH)
        cut = n + 2 + n + 1
        assert (auto.nfe, auto.read_tokens) == (1 + n + 1, LENGTH + (n + 1) * cut)
        assert auto.seconds > 0.0 and auto.frames[-1].nfe == auto.nfe


def test_a_text_gets_the_length_that_it_would_get_alone() -> None:
    lm = trained()

    def told(text: Generation) -> tuple[object, ...]:
        return text.token_ids, text.predicted_length, text.read_tokens, text.prompt_tokens, text.seed

    together = lm.generate([prompt(n) for n in (5, 1, 3)], length="auto", seed=4, **SURE)
    alone = [lm.generate(prompt(n), length="auto", seed=4, **SURE) for n in (5, 1, 3)]
    assert [told(text) for text in together] == [told(text) for text in alone]


def test_the_quantile_says_how_much_room_is_left() -> None:
    lm = known_model(Known(0.95))
    lengths = [lm.generate(prompt(4), length="auto", end_quantile=q).predicted_length for q in (0.9, 0.999)]
    assert lengths == [5, LENGTH - 6]
    assert lm.generate(prompt(4), length="auto").predicted_length == 5
    with pytest.raises(SettingsError, match=r"end_quantile is 0\.0"):
        lm.generate(prompt(4), length="auto", end_quantile=0.0)


@pytest.mark.parametrize("filler", ["pad", "end"])
def test_fillers_are_written_and_cut_off(filler: str) -> None:
    lm = known_model(Known(0.999, {"pad": PAD, "end": END}[filler]), after_end=filler)
    written = lm.generate(prompt(3), **SURE)
    assert (written.text, written.token_ids) == ("bbb", [B] * 3)
    assert (
        written.frames[-1].tokens[0].tolist()
        == rows([3], filler={"pad": PAD, "end": END}[filler])[0].tolist()
    )
    filled = lm.fill("aaa=[MASK:9]", **SURE)
    assert not {PAD, END, BEGIN, MASK} & set(filled.token_ids), "a hole is no place to end"


def test_a_fitted_head_is_what_reads() -> None:
    lm = trained()
    starts = [Start([BEGIN, *[A] * n, IS], n) for n in COUNTS] * 6
    settings = HeadFit(steps=150, learning_rate=0.03, held_back=0.2)
    fitted = fit_head(
        settings, lm.denoiser, lm.corruption, starts, longest=LENGTH, device=torch.device("cpu")
    )
    assert fitted.held_back_loss < 0.2
    lm.length_head = fitted.head
    try:
        right = [lm.generate(prompt(n), length="auto", **SURE).text == "b" * n for n in COUNTS]
        other = lm.generate(prompt(2), length="auto", end_quantile=0.5, **SURE)
    finally:
        lm.length_head = None
    assert sum(right) >= 5
    assert other.predicted_length is not None


# -- grown -----------------------------------------------------------------------------------------------


class Nothing(Past):
    def at(self, start, *, reads=0):  # type: ignore[no-untyped-def]
        return self

    def of_rows(self, rows):  # type: ignore[no-untyped-def]
        return self


class Grown(CachingDenoiser):
    """Reads blocks of four, and says b up to the eighth token, which is the end."""

    block_size = 4

    def __init__(self) -> None:
        self.furthest = 0

    def __call__(self, *args, **options):  # type: ignore[no-untyped-def]
        raise AssertionError("it has a memory")

    follow = __call__

    def past(self, batch: int, length: int) -> Past:
        return Nothing()

    def resume(self, past, xt, t, *, attend=None, positions=None, where=None):  # type: ignore[no-untyped-def]
        self.furthest = max(self.furthest, int(positions.max()))
        ids = torch.where(positions == 7, END, B)
        return 20.0 * torch.nn.functional.one_hot(ids, 8)[where].float()


def test_a_block_model_grows_until_the_end() -> None:
    """What stands behind the block with the end is never read."""
    lm = small_model(block_size=4, after_end="")
    lm.denoiser = Grown()
    written = lm.generate("a=", length="auto", **SURE)
    assert (written.text, written.predicted_length) == ("bbbb", None)
    assert lm.denoiser.furthest == 7
    assert written.nfe == 1 + 4
    assert written.read_tokens == 4 + (8 + 4 + 4 + 4), "a finished block is read once more"


# -- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: small_model(after_end=""),
        lambda: small_model(after_end="", block_size=4, learns_end=False),
    ],
)
def test_a_model_that_knows_nothing_of_lengths_says_so(make: Callable[[], DiffusionLM]) -> None:
    with pytest.raises(IncompatibleError, match=r"after_end.*length fit.*blocks") as caught:
        make().generate(prompt(2), length="auto")
    assert "\n" not in str(caught.value)


def test_a_prompt_that_fills_the_canvas_is_refused() -> None:
    with pytest.raises(SettingsError, match="leaves no room"):
        small_model().generate(prompt(LENGTH), length="auto")
