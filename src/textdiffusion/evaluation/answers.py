"""Answers to prompts, scored or written: the one way of benchmarks and of the harness."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from ..canvas import Canvas
from ..errors import SettingsError
from ..generation import Decoding
from ..language_model import DiffusionLM, Generation, Task
from ..shapes import Tokens, Where
from .batches import TOKENS_AT_ONCE, in_batches
from .documents import split_ids
from .likelihood import Method, Passage, score


@dataclass(frozen=True)
class Option:
    """A text that is scored, given what stands around it."""

    prompt: str
    answer: str
    suffix: str = ""
    """What follows. A model that writes from left to right cannot be given it, and is scored on both."""


@dataclass(frozen=True)
class Placed:
    """An option as a model reads it."""

    passage: Passage
    hole: Sequence[bool]
    """Which tokens are the answer itself."""
    text: str
    """What is scored."""
    tokens: int
    """Scored tokens."""
    cut: int
    """Tokens at the beginning of the prompt for which there was no room."""

    @property
    def last(self) -> bool:
        """Whether nothing follows the answer, so that the text may end within it."""
        return self.hole[-1]


@dataclass(frozen=True)
class Score:
    """How unlikely an option is."""

    nats: float
    """-log p, or a bound on it from above."""
    error: float
    """Standard error over the draws of noise; 0 where the number is exact, nan with a single draw."""
    placed: Placed


@dataclass(frozen=True)
class Pace:
    """What writing took, all batches together."""

    steps: int
    nfe: int
    """Network calls."""
    seconds: float
    cut: int
    """Prompts of which the beginning was left out."""

    @property
    def steps_per_second(self) -> float:
        """Steps of a batch in a second."""
        return self.steps / self.seconds if self.seconds else 0.0


def scores(
    lm: DiffusionLM,
    options: Sequence[Option],
    method: Method | None = None,
    *,
    seed: int = 0,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> list[Score]:
    """-log p of each answer given its prompt and suffix, in nats; `Bound()` by default.

    The noise hangs on `seed` and the prompt alone, so that the answers to one prompt are compared under the
    same noise, and a score does not depend on what else is scored.

    Raises:
        SettingsError: an answer has no tokens, or more than the model holds.
        IncompatibleError: the method has no meaning for the model.
    """
    placed = [_held(lm, option, place(lm, option, seed)) for option in options]
    found = score(lm, [each.passage for each in placed], method, tokens_at_once=tokens_at_once)
    numbers = zip(found.mean.tolist(), found.standard_error.tolist(), placed, strict=True)
    return [Score(*each) for each in numbers]


def place(lm: DiffusionLM, option: Option, seed: int = 0) -> Placed | None:
    """The ids of an option, the oldest of its prompt left out where there is no room; None where none helps.

    Spaces at the end of the prompt belong to the answer, as tokens carry the space before them (as in
    lm-evaluation-harness).

    Raises:
        SettingsError: the answer has no tokens that can be asked about.
    """
    prompt = option.prompt.rstrip(" ")
    answer = option.prompt[len(prompt) :] + option.answer
    head = len(lm.format.prompt(""))
    before, inside = split_ids(lm.format, prompt, answer)
    behind = split_ids(lm.format, prompt + answer, option.suffix)[1]
    room = lm.longest - len(inside) - len(behind)
    if room < head:
        return None
    given = _recent(before, head, room)
    joint = bool(behind) and lm.denoiser.block_size is not None
    ids, begin = [*given, *inside, *behind], max(len(given), int(lm.denoiser.shift))
    hole = [len(given) <= place < len(given) + len(inside) for place in range(len(ids))]
    scored = [here or (joint and place >= len(given)) for place, here in enumerate(hole)]
    asked = [
        here and place >= begin and id != lm.format.mask_id
        for place, (id, here) in enumerate(zip(ids, scored, strict=True))
    ]
    if not any(asked):
        raise SettingsError(f"the answer {option.answer!r} has no token that can be asked about.")
    passage = Passage(ids, asked, _seed(seed, option.prompt))
    text = (answer + option.suffix if joint else answer).strip()
    return Placed(passage, hole, text, sum(asked), len(before) - len(given))


def greedy(lm: DiffusionLM, placed: Sequence[Placed], tokens_at_once: int = TOKENS_AT_ONCE) -> list[bool]:
    """Whether the model itself writes each answer, token by token, when its length is known.

    The surest token of all first, or from left to right where the network predicts the next one: what
    `DiffusionLM` writes at temperature 0 with the sampler single-best, or autoregressive. Texts in which a
    token has come out otherwise are given up: after the first one, and all together when none is left.
    """
    decoding = Decoding().changed(greedy_options(lm))

    def still_right(numbers: Sequence[int], most_steps: int | None) -> list[int]:
        told = in_batches(
            lambda rows: _agrees(lm, [placed[numbers[row]] for row in rows], decoding, most_steps),
            [len(placed[number].hole) for number in numbers],
            tokens_at_once,
        )
        return [number for number, right in zip(numbers, told, strict=True) if right]

    kinds = [[number for number, each in enumerate(placed) if each.last is last] for last in (True, False)]
    right = {number for numbers in kinds for number in still_right(still_right(numbers, 1), None)}
    return [number in right for number in range(len(placed))]


def greedy_options(lm: DiffusionLM) -> dict[str, object]:
    """The options of a generation that takes no chances."""
    sampler = "autoregressive" if lm.denoiser.next_token else "single-best"
    return {"sampler": sampler, "temperature": 0.0}


def write(
    lm: DiffusionLM,
    prompts: Sequence[str],
    *,
    length: int,
    decoding: Decoding,
    until: Sequence[str] = (),
    seed: int = 0,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> tuple[list[str], Pace]:
    """What the model writes behind each prompt, in `length` tokens, up to the first of the words `until`.

    It is the text of `DiffusionLM.generate` with the same seed, whatever the batch. The oldest tokens of a
    prompt are left out where there is no room.

    Raises:
        SettingsError: `length` leaves no room for a prompt.
    """
    head = len(lm.format.prompt(""))
    if lm.longest - length < head + 1:
        raise SettingsError(
            f"{length} new tokens leave no room for a prompt: {lm.name} holds {lm.longest}; lower the length."
        )
    wholes = [lm.format.prompt(prompt) for prompt in prompts]
    rows = [_recent(whole, head, lm.longest - length) for whole in wholes]

    def task(numbers: Sequence[int]) -> Task:
        ids = [rows[number] for number in numbers]
        return lm.continuing(ids, length=length, seeds=[seed] * len(ids), decoding=decoding)

    found, pace = _run(lm, task, [len(row) + length for row in rows], tokens_at_once)
    pace = replace(pace, cut=sum(len(whole) > len(row) for whole, row in zip(wholes, rows, strict=True)))
    return [_until(text.text, until) for text in found], pace


def fill(
    lm: DiffusionLM,
    gaps: Sequence[Option],
    *,
    decoding: Decoding,
    seed: int = 0,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> tuple[list[str], Pace]:
    """What the model writes in the place of each answer, in as many tokens as that has.

    A model that writes from left to right does so in sight of what stands before the gap alone.

    Raises:
        SettingsError: an answer with its suffix has more tokens than the model holds.
    """
    placed = [_held(lm, gap, place(lm, gap)) for gap in gaps]

    def task(numbers: Sequence[int]) -> Task:
        rows = [(placed[number].passage.ids, placed[number].hole) for number in numbers]
        return lm.filling(rows, seeds=[seed] * len(rows), decoding=decoding)

    found, pace = _run(lm, task, [len(each.hole) for each in placed], tokens_at_once)
    pace = replace(pace, cut=sum(each.cut > 0 for each in placed))
    return [lm.format.decode(text.token_ids).strip() for text in found], pace


def _run(
    lm: DiffusionLM, task: Callable[[Sequence[int]], Task], sizes: Sequence[int], tokens_at_once: int
) -> tuple[list[Generation], Pace]:
    """The texts of a task for all, made for some at a time."""
    taken = list[Generation]()

    def work(numbers: Sequence[int]) -> list[Generation]:
        some = task(numbers)
        texts = lm.results(some, list(deque(lm.stream(some), maxlen=1)))
        taken.append(texts[0])
        return texts

    found = in_batches(work, sizes, tokens_at_once)
    totals = (sum(each.steps for each in taken), sum(each.nfe for each in taken))
    return found, Pace(*totals, sum(each.seconds for each in taken), cut=0)


def _agrees(
    lm: DiffusionLM, placed: Sequence[Placed], decoding: Decoding, most_steps: int | None
) -> list[bool]:
    """Which texts hold nothing but what is wanted, after so many steps or at the end."""
    rows = [each.passage.ids for each in placed]
    wanted = Canvas.from_rows(rows, [each.hole for each in placed], pad_id=lm.format.pad_id)
    wanted = wanted.to(lm.model.device)
    task = lm.filling(
        [(each.passage.ids, each.hole) for each in placed], seeds=[0] * len(placed), decoding=decoding
    )
    task = replace(task, inside=not placed[0].last)
    right = torch.ones(len(placed), dtype=torch.bool)
    for frame in lm.stream(task):
        right = ~_differs(frame.tokens, frame.settled, wanted).any(1).cpu()
        if not bool(right.any()) or frame.step == most_steps:
            break
    return right.tolist()


def _differs(tokens: Tokens, settled: Where, wanted: Canvas) -> Where:
    return settled & wanted.editable & (tokens != wanted.tokens)


def _held(lm: DiffusionLM, option: Option, placed: Placed | None) -> Placed:
    if placed is None:
        raise SettingsError(
            f"the answer {option.answer[:40]!r} alone has more tokens than {lm.name} holds ({lm.longest}); "
            "shorten it, or choose another model."
        )
    return placed


def _recent(ids: Sequence[int], head: int, room: int) -> list[int]:
    """The begin and the last tokens, `room` of them in all."""
    return [*ids[:head], *ids[max(head, len(ids) - (room - head)) :]]


def _until(text: str, words: Iterable[str]) -> str:
    """The text up to the first of some words."""
    ends = [place for word in words if word and (place := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text


def _seed(seed: int, prompt: str) -> int:
    told = hashlib.blake2b(f"{seed}\n{prompt}".encode("utf-8", "surrogatepass"), digest_size=7)
    return int.from_bytes(told.digest())
