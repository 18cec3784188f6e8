"""Solvers that ask a network: by diffusion, from left to right, and so with what stands behind weighed in."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...attention import block_causal
from ...canvas import Canvas
from ...denoisers import CachingDenoiser
from ...errors import IncompatibleError
from ...generation import Decoding, denoise
from ...language_model import DiffusionLM
from ...randomness import RowGenerator, draw_categorical
from ..batches import in_batches
from .puzzles import Puzzle
from .solvers import Answer, Solver, Subject, seeds_of


@dataclass(frozen=True)
class Written(Solver):
    """Completions by the loop that writes all texts, and ranks by one look at what it knows."""

    lm: DiffusionLM
    best_decoding: Decoding
    drawn: Decoding
    batch_tokens: int
    barred: tuple[int, ...]
    """Ids that are never written."""
    sees_masks: bool
    """Whether the look finds masks in all holes, or what was written in them."""

    def best(self, puzzles: Sequence[Puzzle]) -> list[Answer]:
        filled = self._write(puzzles, self.best_decoding, seeds_of(puzzles, 0))
        ranks = in_batches(
            lambda rows: self._ranks([puzzles[row] for row in rows], [filled[row] for row in rows]),
            [len(puzzle.ids) for puzzle in puzzles],
            self.batch_tokens,
        )
        return [Answer(*pair) for pair in zip(filled, ranks, strict=True)]

    def draw(self, puzzles: Sequence[Puzzle], seed: int) -> list[list[int]]:
        return self._write(puzzles, self.drawn, seeds_of(puzzles, seed))

    def _write(self, puzzles: Sequence[Puzzle], decoding: Decoding, seeds: Sequence[int]) -> list[list[int]]:
        def work(rows: Sequence[int]) -> list[list[int]]:
            some = [puzzles[row] for row in rows]
            canvas = _canvas(some, [puzzle.ids for puzzle in some], self.lm)
            frames = denoise(
                self.lm.denoiser,
                self.lm.process(decoding.recipe().sampler),
                canvas.to(self.lm.model.device),
                decoding,
                RowGenerator.for_rows([seeds[row] for row in rows], self.lm.model.device),
                banned=self.barred,
            )
            (last,) = deque(frames, maxlen=1)
            return [row[hole].tolist() for row, hole in zip(last.tokens.cpu(), canvas.editable, strict=True)]

        return in_batches(work, [len(puzzle.ids) for puzzle in puzzles], self.batch_tokens)

    @torch.inference_mode()
    def _ranks(self, puzzles: Sequence[Puzzle], filled: Sequence[Sequence[int]]) -> list[list[int]]:
        mask = self.lm.format.mask_id
        inside = [[mask] * len(ids) if self.sees_masks else ids for ids in filled]
        rows = [_with(puzzle, ids) for puzzle, ids in zip(puzzles, inside, strict=True)]
        canvas = _canvas(puzzles, rows, self.lm).to(self.lm.model.device)
        share = canvas.editable.sum(1, keepdim=True) / canvas.valid.sum(1, keepdim=True)
        logits = self.lm.denoiser(
            canvas.tokens,
            self.lm.corruption.schedule.inverse(1.0 - share.double()).float(),
            attend=canvas.attend,
            positions=canvas.positions,
            where=canvas.editable,
        )
        truth = torch.tensor([token for puzzle in puzzles for token in puzzle.truth], device=logits.device)
        found = iter(ranks_of(without(logits, self.barred), truth))
        return [[next(found) for _ in puzzle.truth] for puzzle in puzzles]


@dataclass(frozen=True)
class Weighed(Solver):
    """From left to right, each blank by how likely the whole text is with the tokens proposed for it.

    Proposed are the most probable ones by what stands before. Each is put in its place, and weighed by the
    likelihood of itself and of what follows, where blanks still to come hold what the network would write
    from left to right. So what it sees behind is imperfect, which no network of one side can help.
    """

    left: Written
    candidates: int
    reach: int

    def best(self, puzzles: Sequence[Puzzle]) -> list[Answer]:
        starts = self.left.best(puzzles)
        return [self._fill(puzzle, start.ids, None) for puzzle, start in zip(puzzles, starts, strict=True)]

    def draw(self, puzzles: Sequence[Puzzle], seed: int) -> list[list[int]]:
        starts, seeds = self.left.draw(puzzles, seed), seeds_of(puzzles, seed)
        rows = zip(puzzles, starts, seeds, strict=True)
        return [
            self._fill(puzzle, start, RowGenerator.for_rows([own]).fold(1)).ids for puzzle, start, own in rows
        ]

    @torch.inference_mode()
    def _fill(self, puzzle: Puzzle, start: Sequence[int], draws: RowGenerator | None) -> Answer:
        line, answer = _Line(self.left.lm, _with(puzzle, start)), Answer([], [])
        numbers = None if draws is None else draws.uniform(len(puzzle.truth))[0]
        places = [place for place, hole in enumerate(puzzle.holes) if hole]
        for number, (place, true) in enumerate(zip(places, puzzle.truth, strict=True)):
            before = without(line.next(place), self.left.barred).log_softmax(-1)
            logs, ids = before[0].topk(min(self.candidates, before.shape[-1]))
            worth = (logs + line.rest(place, ids, self.reach)).double().cpu()
            if numbers is None:
                chosen = int(worth.argmax())
            else:
                chosen = int(draw_categorical(worth.softmax(-1)[None], numbers[number][None]))
            order = ids[worth.argsort(descending=True, stable=True).to(ids.device)].tolist()
            (plain,) = ranks_of(before, torch.tensor([true], device=before.device))
            answer.ranks.append(order.index(true) if true in order else plain)
            answer.ids.append(int(ids[chosen]))
            line.ids[place] = int(ids[chosen])
        return answer


class _Line:
    """One text, read from left to right by a network that remembers."""

    def __init__(self, lm: DiffusionLM, ids: list[int]) -> None:
        assert isinstance(lm.denoiser, CachingDenoiser)
        self.network, self.ids, self.device = lm.denoiser, ids, lm.model.device
        self.past = self.network.past(1, len(ids))
        self.known = 0

    def next(self, place: int) -> Float[Tensor, "1 vocab"]:
        """Logits of the token at a place, by all before it."""
        start, self.known = self.known, place
        tokens = torch.tensor([self.ids[start:place]], device=self.device)
        logits = self.network.follow(
            self.past.at(start),
            tokens,
            torch.zeros(1, 1, device=self.device),
            attend=block_causal(place, 1, self.device, start=start)[None],
            positions=torch.arange(start, place, device=self.device)[None],
        )
        return logits.float()

    def rest(self, place: int, tokens: Tensor, reach: int) -> Float[Tensor, " tokens"]:
        """Log p of what follows, as far as `reach`, for each token that may stand at a place."""
        follows = torch.tensor(self.ids[place + 1 : place + 1 + reach], device=self.device)
        count, stop = len(tokens), place + 1 + len(follows)
        if not len(follows):
            return torch.zeros(count, device=self.device)
        rows = torch.cat([tokens[:, None], follows.expand(count, -1)], dim=1)
        past = self.past.at(place).of_rows(torch.zeros(count, dtype=torch.int64, device=self.device))
        where = torch.ones_like(rows, dtype=torch.bool)
        where[:, 0] = False
        logits = self.network.resume(
            past.at(place),
            rows,
            torch.zeros(count, 1, device=self.device),
            attend=block_causal(stop, 1, self.device, start=place).expand(count, -1, -1),
            positions=torch.arange(place, stop, device=self.device).expand(count, -1),
            where=where,
        )
        logs = logits.float().log_softmax(-1).gather(-1, rows[where][:, None])
        return logs.view(count, -1).sum(1)


def without(logits: Float[Tensor, "asked vocab"], ids: Sequence[int]) -> Float[Tensor, "asked vocab"]:
    """The logits with these ids impossible."""
    known = [token for token in ids if token < logits.shape[-1]]
    never = torch.tensor(known, dtype=torch.int64, device=logits.device)
    return logits.float().index_fill(-1, never, -torch.inf)


def ranks_of(logits: Float[Tensor, "asked vocab"], truth: Tensor) -> list[int]:
    """How many tokens each row has before the true one; of equals the lower id comes first."""
    own = logits.gather(-1, truth[:, None])
    lower = torch.arange(logits.shape[-1], device=logits.device)[None] < truth[:, None]
    found: list[int] = ((logits > own) | ((logits == own) & lower)).sum(-1).tolist()
    return found


def _canvas(puzzles: Sequence[Puzzle], rows: Sequence[Sequence[int]], lm: DiffusionLM) -> Canvas:
    return Canvas.from_rows(rows, [puzzle.holes for puzzle in puzzles], pad_id=lm.format.pad_id)


def _with(puzzle: Puzzle, ids: Sequence[int]) -> list[int]:
    """The ids of a text with others in its holes."""
    inside = iter(ids)
    pairs = zip(puzzle.ids, puzzle.holes, strict=True)
    return [next(inside) if hole else token for token, hole in pairs]


def _written(subject: Subject, *, sees_masks: bool) -> Written:
    most = subject.effort.batch_tokens
    return Written(subject.lm, subject.best, subject.drawn, most, subject.barred, sees_masks)


def diffusion(subject: Subject) -> Solver | None:
    """All blanks together, in sight of all that is shown.

    Raises:
        IncompatibleError: the model has never seen a mask.
    """
    if subject.lm.denoiser.next_token:
        return None
    if subject.lm.corruption.mask_id is None:
        raise IncompatibleError(f"{subject.lm.name} has learnt no masks, so that it knows no blanks.")
    return _written(subject, sees_masks=True)


def autoregressive(subject: Subject) -> Solver | None:
    """From left to right, in sight of what stands before alone, its own fillings included."""
    return _written(subject, sees_masks=False) if subject.lm.denoiser.next_token else None


def autoregressive_both(subject: Subject) -> Solver | None:
    """From left to right, with what stands behind weighed in."""
    if not subject.lm.denoiser.next_token or not isinstance(subject.lm.denoiser, CachingDenoiser):
        return None
    effort = subject.effort
    return Weighed(_written(subject, sees_masks=False), effort.candidates, effort.reach)
