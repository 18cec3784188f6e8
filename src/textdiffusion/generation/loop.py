"""Backwards through time: the one loop that joins denoiser, corruption and sampler."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..canvas import Canvas
from ..constraints import Guard, Keeper, keeper_of
from ..corruptions import Corruption
from ..denoisers import CachingDenoiser, CanvasDenoiser, Denoiser
from ..errors import IncompatibleError, SettingsError
from ..guidance import Classifier, Guide
from ..predictions import Predict, Prediction
from ..randomness import RowGenerator, move
from ..samplers import Sampler, State
from ..schedules import STEP_GRIDS, StepGrid
from ..shapes import Logits, PerAsked, Times, Tokens, Where
from .autoregressive import NextToken
from .canvases import Canvases
from .decoding import Decoding
from .frames import Frame, Likely
from .guided import Twofold, guide_of, noise_for, twice
from .memory import CACHES, Exact, check_stays, memory_for
from .reading import Anew, Reading, reading_of
from .start import Start
from .teacher import Teacher
from .windows import Window, plan

logger = logging.getLogger(__name__)
EVEN = STEP_GRIDS["linear"]


def denoise(
    denoiser: Denoiser,
    corruption: Corruption,
    canvas: Canvas,
    decoding: Decoding,
    generator: RowGenerator,
    *,
    banned: Sequence[int] = (),
    ends: Sequence[int] = (),
    teacher: Teacher | None = None,
    classifier: Classifier | None = None,
    prompt: Where | None = None,
    start: Start | None = None,
    constraint: Guard | None = None,
    likely: int = 0,
) -> Iterator[Frame]:
    """Yield the noise, then a frame per step, down to text.

    `banned` ids are never written (padding, unknown, ...); the mask never is. Once a text holds one of the
    `ends` in a finished block, the blocks behind are not written but filled with the last of them. A
    `teacher` has its own text written instead of a drawn one. A `classifier` steers what is written;
    `prompt` is what a `guidance_scale` weighs, all that is given when left out. With a `start` the steps
    begin in that text and at its noise rate, not in pure noise. With a `constraint` laid along the canvas the
    texts match it; it is to know the `ends`. The frames show so many of the `likely` tokens of each place.

    Raises:
        IncompatibleError: the sampler has no meaning for the corruption, or for a constraint, or the cache
            none for the network or the sampler (raised before any network call), or the network's answer is
            not finite.
        SettingsError: there is nothing to write, a text is longer than the network's positions, no text that
            matches the constraint fits, or a setting is out of range (raised before any network call).
    """
    recipe, full = decoding.recipe(), decoding.filled()
    recipe.sampler.check(corruption)
    check_room(denoiser, canvas)
    guide = guide_of(full, corruption, canvas, classifier)
    keeper = _keeper(constraint, full, corruption, banned, guide)
    if guide.scale == 1.0:
        reading, grid = _reading(denoiser, canvas, full, recipe.sampler)
    else:
        told = canvas.valid & ~canvas.editable if prompt is None else prompt
        noise = noise_for(denoiser, corruption, canvas, told, generator)
        both, grid = _reading(denoiser, twice(canvas), full, recipe.sampler)
        reading = Twofold(both, told, noise)
    windows = plan(canvas, full, one_per_call=recipe.one_per_call, grid=grid)
    reader = _Reader(reading, corruption, canvas, full, banned, teacher, guide, keeper, likely)
    return _run(reader, full, generator, windows, ends, start)


def _keeper(
    constraint: Guard | None, decoding: Decoding, corruption: Corruption, banned: Sequence[int], guide: Guide
) -> Keeper | None:
    """What keeps the constraint, if there is one."""
    if constraint is None:
        if decoding.language is not None:
            raise SettingsError(
                "regex, json_schema, template, ban and require speak of text, and here are tokens alone: "
                "give a constraint over tokens, or write with a loaded model."
            )
        return None
    if not corruption.masks_only and (guide.scale != 1.0 or guide.judge is not None):
        raise IncompatibleError(
            "guidance steers noise that looks like text in a way that no constraint can be kept in; leave "
            "one of them out, or take a model whose noise is masks."
        )
    sampler = decoding.recipe().sampler
    return keeper_of(constraint, decoding.filters(), sampler, corruption, banned)


def check_room(denoiser: Denoiser, canvas: Canvas) -> None:
    """Raise SettingsError if a text is longer than the network's positions, or has nothing to begin with."""
    width, longest = canvas.tokens.shape[1], denoiser.longest
    if longest is not None and width > longest:
        raise SettingsError(
            f"a text of {width} tokens is longer than the network's {longest} positions; shorten it."
        )
    if denoiser.shift and bool(canvas.editable[:, 0].any()):
        raise SettingsError(
            "nothing stands before the first token to write, and this network says each token where the one "
            "before it stands; give a prompt."
        )


def _reading(
    denoiser: Denoiser, canvas: Canvas, decoding: Decoding, sampler: Sampler
) -> tuple[Reading, int | None]:
    """The way to ask the network, and the size of the blocks that it knows."""
    if isinstance(denoiser, CanvasDenoiser):
        _check_exact(decoding, "reads what is finished once")
        check_stays(sampler)
        return Canvases(denoiser, canvas), None
    if not denoiser.next_token:
        memory = memory_for(denoiser, sampler, decoding.cache)
        return reading_of(denoiser, canvas, memory, decoding.refresh), denoiser.block_size
    _check_exact(decoding, "predicts the next token")
    if decoding.block_size == 1 and isinstance(denoiser, CachingDenoiser):
        check_stays(sampler)
        return NextToken(denoiser, canvas), 1
    logger.warning(
        "this network has learnt to predict the next token and never saw a mask: its text will be poor; use "
        "the sampler autoregressive, or train it to denoise first"
    )
    return Anew(denoiser, canvas), None


def _check_exact(decoding: Decoding, what: str) -> None:
    """Refuse a cache that a network with a memory of its own cannot have."""
    if decoding.cache is not None and not isinstance(CACHES[decoding.cache], Exact):
        raise IncompatibleError(
            f"cache {decoding.cache}: a network that {what} has an exact memory; leave the cache out."
        )


def _run(
    reader: "_Reader",
    decoding: Decoding,
    generator: RowGenerator,
    windows: Sequence[Window],
    ends: Sequence[int],
    start: Start | None,
) -> Iterator[Frame]:
    corruption, canvas = reader.corruption, reader.canvas
    sampler = decoding.recipe().sampler
    grid = EVEN if decoding.schedule is None else STEP_GRIDS[decoding.schedule]
    state = _begun(corruption, canvas, generator, start)
    counts = generator.keys.new_tensor([window.steps for window in windows])
    step, steps = 0, int(counts.amax(1).sum())
    ended = torch.zeros_like(canvas.editable[:, 0])
    closed, keeps = ~canvas.editable, sampler.keeps(corruption)
    over, clock = state.tokens.new_tensor(ends), _Clock()

    def frame() -> Frame:
        return reader.frame(step, steps, state, closed | state.settled if keeps else closed, clock.spent)

    yield frame()
    for number, window in enumerate(windows):
        clock.resume()
        alive = (counts[number:] > 0).any(0).to(ended.device) & ~ended
        if not bool(alive.any()):
            return
        reader.reading.enter(window, alive)
        taken = counts[:number].sum(0)  # steps of each text so far, which key its draws
        rates = None if start is None else _noise_rates(state, window, corruption, start)
        times = _times(EVEN if window.one_per_call else grid, window.steps, corruption, rates)
        times, going = move(times, state.tokens.device), alive
        for i in range(max(window.steps)):
            going = going & (counts[number] > i).to(ended.device)
            before = replace(state, window=window.where & going[:, None])
            predict, source = reader.about(before), generator.fold(taken + i + 1)
            s, t = times[:, i + 1, None], times[:, i, None]
            state = sampler.step(predict, before, s, t, corruption, source)
            step += 1
            going = going & ~sampler.finished(before, state)
            last = i + 1 == max(window.steps) or not bool(going.any())
            if last and ends:
                ended = ended | (window.where & torch.isin(state.tokens, over)).any(1)
                state = _closed(state, canvas.editable & ended[:, None], ends[-1])
            closed = closed | window.where | ended[:, None] if last and not sampler.beyond else closed
            clock.pause()
            yield frame()
            clock.resume()
            if last:
                break


def _begun(corruption: Corruption, canvas: Canvas, generator: RowGenerator, start: Start | None) -> State:
    """The canvas with noise wherever it may be written, or as it stands at its `start`."""
    settled = ~canvas.editable
    if start is None:
        tokens = corruption.all_noise(canvas, generator)
    else:
        tokens = torch.where(canvas.editable, start.tokens, canvas.tokens)
        settled |= ~corruption.may_be_noise(tokens)
    nothing = torch.full(tokens.shape, torch.nan, device=tokens.device)
    return State(tokens, torch.zeros_like(canvas.editable), settled, nothing)


def _noise_rates(
    state: State, window: Window, corruption: Corruption, start: Start
) -> Float[Tensor, " batch"]:
    """Share of noise in each text of a window before its first step, counted where noise can be seen."""
    if not corruption.masks_only:
        return torch.full((len(state.tokens),), start.noise_rate, dtype=torch.float64)
    here = window.where.sum(1).clamp(min=1)
    return ((window.where & ~state.settled).sum(1) / here).double().cpu()


def _closed(state: State, where: Where, end: int) -> State:
    """What is still noise in these places becomes the end of text."""
    rest = where & ~state.settled
    return replace(state, tokens=state.tokens.masked_fill(rest, end), settled=state.settled | rest)


def _times(
    grid: StepGrid, steps: Sequence[int], corruption: Corruption, begin: Float[Tensor, " batch"] | None
) -> Float[Tensor, "batch edges"]:
    """Times before and after each step, a row for each text: from noise, or `begin`, to 0, where it stays."""
    rates = torch.zeros(len(steps), max(steps) + 1, dtype=torch.float64)
    for count in set(steps) - {0}:
        rows = torch.tensor([own == count for own in steps])
        rates[rows, : count + 1] = grid.rates(count)
    rates = rates if begin is None else rates * begin[:, None]
    return corruption.schedule.inverse(1.0 - rates)


class _Reader:
    """Asks the network, steers and filters its answer, and counts the calls."""

    def __init__(
        self,
        reading: Reading,
        corruption: Corruption,
        canvas: Canvas,
        decoding: Decoding,
        banned: Sequence[int],
        teacher: Teacher | None,
        guide: Guide,
        keeper: Keeper | None,
        likely: int,
    ) -> None:
        self.reading, self.corruption, self.canvas, self.guide = reading, corruption, canvas, guide
        self.banned, self.teacher, self.keeper = banned, teacher, keeper
        filters = decoding.filters()
        self.filters = filters if keeper is None else filters.soft
        self.bars: Int[Tensor, " barred"] | None = None
        self.likely = Likely.nothing(canvas.tokens, likely) if likely else None
        self.calls = 0

    def predict(self, xt: Tokens, t: Times, where: Where) -> Prediction:
        self.calls += self.reading.costs
        with torch.inference_mode():
            logits = self.reading(xt, t.float(), where).float()
            logits.index_fill_(-1, self._barred(logits), -torch.inf)
            seen, rates = self._seen(xt, where, logits.shape[-1]), self._rates(xt, t, where)
            found = self.guide(logits, xt, where, lambda steered: self._filtered(steered, seen, rates))
            self.reading.hear(found, where)
            if self.likely is not None:
                self.likely = self.likely.then(where, found.own)
            return found

    def frame(self, step: int, steps: int, state: State, final: Where, seconds: float) -> Frame:
        """What is shown after a step, with what it cost so far."""
        shown = (state.tokens, state.settled, state.confidence, final)
        costs = (self.calls, seconds, self.reading.read, self.guide.judged)
        return Frame(step, steps, *shown, *costs, self.likely)

    def about(self, state: State) -> Predict:
        """How the network is asked in a step that begins with `state`."""
        predict = self.predict if self.keeper is None else self.keeper.around(self.predict, state)
        teacher = self.teacher
        if teacher is None:
            return predict
        return lambda xt, t, where: teacher(predict(xt, t, where), where)

    def _filtered(
        self, logits: Logits, seen: Bool[Tensor, "asked vocab"] | None, rates: PerAsked | None
    ) -> Prediction:
        found = self.filters(logits, seen, rates)
        if not found.is_sound():
            raise IncompatibleError(
                "the denoiser returned logits that are no numbers, or bar all tokens; check its weights, "
                "its dtype and the temperature."
            )
        return found

    def _rates(self, xt: Tokens, t: Times, where: Where) -> PerAsked | None:
        """The noise rate at each asked position; only read by a temperature that falls."""
        if not self.filters.anneals:
            return None
        return (1.0 - self.corruption.schedule.alpha(t)).expand(xt.shape)[where].float()

    def _barred(self, logits: Logits) -> Int[Tensor, " barred"]:
        """Ids that are never written, as far as the network knows them."""
        if self.bars is None:
            mask = self.corruption.barred(logits)
            ids = {*self.banned, *(() if mask is None else (mask,))}
            inside = sorted(i for i in ids if 0 <= i < logits.shape[-1])
            self.bars = torch.tensor(inside, dtype=torch.int64, device=logits.device)
        return self.bars

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
