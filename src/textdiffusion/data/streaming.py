"""Rows of token ids made while training goes on, for text too large to encode beforehand."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import SettingsError
from .packing import Arrange, EncodeBatch, encode_documents
from .shuffling import shuffled


@dataclass(eq=False)
class StreamedRows(IterableDataset[dict[str, list[int]]]):
    """Rows ``{"input_ids": [...]}`` in an order that depends on the seed, the epoch and the shard alone.

    The documents are dealt out one by one: each goes to exactly one shard, and a shard is one loader worker
    of one rank. Leave `rank` and `ranks` alone where something else deals the rows out to the ranks (the
    Hugging Face Trainer does, with its `dispatch_batches`).
    """

    documents: Iterable[str]
    """Read again from the start in each epoch, so it must be iterable more than once."""
    encode_batch: EncodeBatch
    """Token ids of several texts, with the ids that begin and end each."""
    arrange: Arrange
    """One of `ARRANGEMENTS`."""
    length: int
    """Most tokens in a row."""
    seed: int
    """Of the order of the rows."""
    shuffle_buffer: int = 1000
    """Rows kept at hand, of which the next is drawn; 1 keeps the order of the text."""
    rank: int = 0
    """This process among `ranks`."""
    ranks: int = 1
    """Processes among which the documents are dealt out."""
    skip: int = 0
    """Rows that each shard passes over at the start, to go on where a run ended."""
    epoch: int = field(default=0, init=False)
    """Changes the order; see `set_epoch`."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        if not 0 <= self.rank < self.ranks:
            raise SettingsError(
                f"rank {self.rank} of {self.ranks}; it must be 0 or more and below the number of ranks."
            )
        if self.shuffle_buffer < 1:
            raise SettingsError(
                f"shuffle_buffer {self.shuffle_buffer}; it must be 1 or more (1: no shuffling)."
            )
        if self.skip < 0:
            raise SettingsError(f"skip {self.skip}; it must be 0 or more rows.")

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; trainers call this before each pass."""
        self.epoch = epoch

    def resumed(self, rows: int) -> "StreamedRows":
        """The same rows from the given one on, counted in each shard of the same epoch."""
        later = replace(self, skip=rows)
        later.set_epoch(self.epoch)
        return later

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        """The rows of this shard."""
        worker = get_worker_info()
        workers = 1 if worker is None else worker.num_workers
        shard = self.rank * workers + (0 if worker is None else worker.id)
        mine = islice(self.documents, shard, None, self.ranks * workers)
        rows = self.arrange(encode_documents(mine, self.encode_batch), self.length)
        generator = np.random.default_rng([self.seed, self.epoch, shard])
        for row in islice(shuffled(rows, self.shuffle_buffer, generator), self.skip, None):
            yield {"input_ids": row}
