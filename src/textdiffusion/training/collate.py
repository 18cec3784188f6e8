"""From rows of ids to batches: which tokens may be noised, and what is padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import get_worker_info
from transformers import PreTrainedTokenizerBase

from ..canvas import Canvas
from ..mask_rates import MaskRates, StepRates
from ..randomness import RowGenerator
from ..tokens import TextFormat

IGNORED = -100
"""Label of a token that is not scored, as transformers has it."""
FILLERS = "fillers"
"""Key of a batch under which stands where rows were filled up behind the end of their texts."""
GIVEN = "given"
"""Key of a row under which stands how many of its first tokens are given, where it is an answer."""


@dataclass(frozen=True)
class CanvasCollator:
    """Pads rows on the right and labels the tokens that noise may strike, which it does on the device."""

    format: TextFormat
    prefix_length: int = 0
    """Leading tokens that are never noised."""
    learn_end: bool = True
    """Whether the tokens that end and begin a text may be noised; other special tokens never are.

    Both, because in a packed row a begin that is always visible would tell where the text before it ends.
    """
    fill_to: int = 0
    """Tokens up to which rows are filled, where the format has something to fill them with."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `labels` (ignored where not editable), each [batch, length].

        Where rows are filled up, `fillers` says where; a prefix never reaches that far.
        """
        ids = [list(row["input_ids"]) for row in rows]
        whole = [self._filled(row) for row in ids]
        behind = [[place >= len(row) for place in range(len(to))] for row, to in zip(ids, whole, strict=True)]
        canvas = Canvas.from_rows(whole, behind, pad_id=self.format.pad_id)
        fillers = canvas.editable
        ends = {self.format.begin_id, self.format.end_id, self.format.turn_end_id}
        learnt = ends if self.learn_end else set()
        kept = set(self.format.special_ids) - learnt
        special = torch.isin(canvas.tokens, torch.tensor(sorted(kept), dtype=torch.int64))
        given = torch.tensor([[max(self.prefix_length, row.get(GIVEN, 0))] for row in rows])
        editable = canvas.valid & ~special & (canvas.positions >= given) | fillers
        labels = canvas.tokens.masked_fill(~editable, IGNORED)
        batch = {"input_ids": canvas.tokens, "attention_mask": canvas.valid.long(), "labels": labels}
        return batch if self.format.filler_id is None else {**batch, FILLERS: fillers}

    def _filled(self, row: list[int]) -> list[int]:
        filler = self.format.filler_id
        return row if filler is None else row + [filler] * (self.fill_to - len(row))


@dataclass
class DiffusionCollator:
    """Masks rows at a varying rate, for people with a Trainer script of their own.

    Gives `input_ids` with the struck tokens masked and `labels` that are the true ids there and -100
    elsewhere, so that any masked language model's own loss is the flat cross-entropy. At least one token of
    a batch is struck, as that loss has no value without. Draws are keyed by the seed and the number of the
    batch since the collator was made; in a DataLoader's worker, which begins each epoch with a copy of the
    collator, also by the worker's seed, and in distributed training by the rank.
    """

    tokenizer: PreTrainedTokenizerBase
    """Says which tokens are the mask, padding and other special ones."""
    rates: MaskRates = field(default_factory=StepRates)
    """Distribution of the mask rate; ten steps by default."""
    prefix_length: int = 0
    """Leading tokens that are never masked."""
    learn_end: bool = False
    """Whether the tokens that end and begin a text may be masked."""
    one_rate_per_batch: bool = False
    """Give all rows of a batch one rate."""
    with_rate: bool = False
    """Add `mask_rate` [batch], for a Trainer that takes it out again; most models refuse such an input."""
    seed: int = 0
    batches: int = field(default=0, init=False)
    """Batches made so far."""
    format: TextFormat = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the special ids of the tokenizer.

        Raises:
            IncompatibleError: it has no mask.
        """
        self.format = TextFormat.of(self.tokenizer)

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each [batch, length]."""
        batch = CanvasCollator(self.format, self.prefix_length, self.learn_end)(rows)
        editable = batch["labels"] != IGNORED
        seed = _place_seed(self.seed)
        draws = RowGenerator.for_batch(seed, self.batches, first=0, rows=len(rows), total=len(rows))
        self.batches += 1
        u = draws.common().expand(len(rows)) if self.one_rate_per_batch else draws.stratified()
        rate = self.rates.quantile(u)
        chance = draws.uniform(editable.shape[1]).masked_fill(~editable, 2.0)
        hit = chance < rate[:, None]
        if not bool(hit.any()):
            hit = editable & (chance == chance.min())
        return {
            "input_ids": batch["input_ids"].masked_fill(hit, self.format.mask_id),
            "attention_mask": batch["attention_mask"],
            "labels": batch["labels"].masked_fill(~hit, IGNORED),
            **({"mask_rate": rate.float()} if self.with_rate else {}),
        }


def _place_seed(seed: int) -> int:
    """A seed of this process' own: the given one where there is neither a worker nor another rank."""
    worker = get_worker_info()
    if worker is not None:
        seed = _mixed(seed, worker.seed + 1)  # drawn anew each epoch, plus the worker's number
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    return _mixed(seed, -rank) if rank else seed


def _mixed(*parts: int) -> int:
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "little", signed=True)
