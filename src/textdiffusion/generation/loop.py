"""Backwards through time: the one loop that joins denoiser, corruption and sampler."""

import time
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import IncompatibleError
from ..predictions import Prediction, banned_ids
from ..randomness import RowGenerator, move
from ..samplers import State
from ..schedules import STEP_GRIDS, StepGrid
from ..shapes import Times, Tokens, Where
from .decoding import Decoding
from .frames import Frame
from .windows import Window, plan

EVEN = STEP_GRIDS["linear"]


def denoise(
    denoiser: Denoiser,
    corruption: Corruption,
    canvas: Canvas,
    decoding: Decoding,
    generator: RowGenerator,
    *,
    banned: Sequence[int] = (),
) -> Iterator[Frame]:
    """Yield the noise, then a frame per step, down to text.

    `banned` ids are never written (padding, unknown, ...); the mask never is.

    Raises:
        IncompatibleError: the sampler has no meaning for the corruption (raised before any network call), or
            the network's answer is not finite.
        SettingsError: there is nothing to write, or a setting is out of range.
    """
    recipe, full = decoding.recipe(), decoding.filled()
    recipe.sampler.check(corruption)
    windows = plan(canvas, full, one_per_call=recipe.one_per_call)
    return _run(_Reader(denoiser, corruption, canvas, full, banned), full, generator, windows)


def _run(
    reader: "_Reader", decoding: Decoding, generator: RowGenerator, windows: Sequence[Window]
) -> Iterator[Frame]:
    corruption, canvas = reader.corruption, reader.canvas
    sampler = decoding.recipe().sampler
    grid = EVEN if decoding.schedule is None else STEP_GRIDS[decoding.schedule]
    nowhere = torch.zeros_like(canvas.editable)
    noise = corruption.prior(canvas.tokens, generator)
    tokens = torch.where(canvas.editable, noise, canvas.tokens)
    state = State(
        tokens, nowhere, ~canvas.editable, torch.full(tokens.shape, torch.nan, device=tokens.device)
    )
    step, steps = 0, sum(max(window.steps) for window in windows)
    planned = torch.zeros_like(generator.keys)
    clock = _Clock()
    yield Frame(0, steps, state.tokens, state.settled, state.confidence, 0, clock.spent)
    for window in windows:
        clock.resume()
        counts = planned.new_tensor(window.steps)
        times = _times(EVEN if window.one_per_call else grid, window.steps, corruption)
        times = move(times, tokens.device)
        for i in range(max(window.steps)):
            going = (counts > i).to(tokens.device)[:, None]
            state = State(state.tokens, window.where & going, state.settled, state.confidence)
            s, t = times[:, i + 1, None], times[:, i, None]
            state = sampler.step(reader.predict, state, s, t, corruption, generator.fold(planned + i + 1))
            step += 1
            clock.pause()
            yield Frame(step, steps, state.tokens, state.settled, state.confidence, reader.calls, clock.spent)
            clock.resume()
            if sampler.finished(state):
                break
        planned = planned + counts


def _times(grid: StepGrid, steps: Sequence[int], corruption: Corruption) -> Float[Tensor, "batch edges"]:
    """Times before and after each step, a row for each text: from noise to 0, where it stays."""
    rates = torch.zeros(len(steps), max(steps) + 1, dtype=torch.float64)
    for count in set(steps) - {0}:
        rows = torch.tensor([own == count for own in steps])
        rates[rows, : count + 1] = grid.rates(count)
    return corruption.schedule.inverse(1.0 - rates)


class _Reader:
    """Asks the network, filters its answer and counts the calls."""

    def __init__(
        self,
        denoiser: Denoiser,
        corruption: Corruption,
        canvas: Canvas,
        decoding: Decoding,
        banned: Sequence[int],
    ) -> None:
        self.denoiser, self.corruption, self.canvas = denoiser, corruption, canvas
        self.filters, self.banned = decoding.filters(), banned
        self.calls = 0

    def predict(self, xt: Tokens, t: Times, where: Where) -> Prediction:
        self.calls += 1
        with torch.inference_mode():
            logits = self.denoiser(
                xt, t.float(), attend=self.canvas.attend, positions=self.canvas.positions, where=where
            )
            clean = self.corruption.clean_logits(logits)
            bars = banned_ids(clean.shape[-1], self.banned)
            if bars is not None:
                clean.index_fill_(-1, bars.to(clean.device), -torch.inf)
            found = self.filters(clean, self._seen(xt, where, clean.shape[-1]))
            if not bool(found.log_total.isfinite().all()):
                raise IncompatibleError(
                    "the denoiser returned logits that are no numbers, or bar all tokens; check its weights, "
                    "its dtype and the temperature."
                )
            return found

    def _seen(self, xt: Tokens, where: Where, vocab: int) -> Bool[Tensor, "asked vocab"] | None:
        """Which tokens each asked position's text already holds; only read by a repetition penalty."""
        if self.filters.repetition_penalty == 1.0:
            return None
        seen = torch.zeros(len(xt), vocab, dtype=torch.bool, device=xt.device)
        seen.scatter_(1, torch.where(self.canvas.valid, xt, xt[:, :1]), True)
        return seen[where.nonzero()[:, 0]]


class _Clock:
    """Wall time without the pauses in which the reader of the frames has the word."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.since = time.perf_counter()

    def pause(self) -> None:
        self.spent += time.perf_counter() - self.since

    def resume(self) -> None:
        self.since = time.perf_counter()
