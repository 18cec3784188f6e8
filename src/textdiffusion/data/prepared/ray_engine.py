"""Tokenising on Ray Data, for corpora beyond one machine: reading and encoding run where Ray finds room.

Ray is an extra, and started only here. Its reports to its makers are off. Where a cluster is to be used, the
environment variable RAY_ADDRESS names it, and the source must be readable on all of its machines.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow  # type: ignore[import-untyped]

from ...errors import DataError, SettingsError, TextDiffusionError
from .encoding import Encode, Encoded, Generated, batches, encoded
from .stream import Document, DocumentStream

BLOCK = 8 << 20
"""Most bytes of text in one piece of work; the next piece goes to whoever is free."""
_SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Read by Ray when it starts."""


def encoded_by_ray(encode: Encode, stream: DocumentStream, workers: int) -> Generated:
    """The documents as ids, in their order, encoded by `workers` actors; files are read side by side.

    Raises:
        SettingsError: Ray is not installed.
        TextDiffusionError: whatever went wrong in an actor.
    """
    with _ray(workers) as ray:
        parts = stream.parts()
        items = [{"part": i} for i in range(len(parts))]
        numbers = ray.data.from_items(items, override_num_blocks=len(items))
        # A share of a processor unlike that of the encoders keeps Ray from making one step of the two.
        texts = numbers.map_batches(
            _read, batch_size=1, batch_format="pyarrow", num_cpus=0.5, fn_kwargs={"parts": parts}
        )
        found = texts.map_batches(
            _Encoder,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            fn_constructor_kwargs={"encode": encode},
        )
        try:
            for table in found.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield _joined(table)
        except ray.exceptions.RayError as error:
            raise _plain(error) from None


def _read(numbers: Any, parts: tuple[Iterable[Document], ...]) -> Iterator[Any]:
    """Tables of the documents of the numbered parts."""
    for number in numbers["part"].to_pylist():
        for batch in batches(parts[number]):
            kind = pyarrow.large_binary() if isinstance(batch[0], bytes) else pyarrow.large_string()
            yield pyarrow.table({"document": pyarrow.array(batch, kind)})


class _Encoder:
    """An actor: holds the tokenizer, and makes of a table of documents one of their ids and keys."""

    def __init__(self, encode: Encode) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is an actor for each core already
        self.encode = encode

    def __call__(self, table: Any) -> Any:
        done = encoded(self.encode, table["document"].to_pylist())
        ends = np.cumsum(done.lengths)
        ids = [each.astype("<u4").tobytes() for each in np.split(done.ids, ends[:-1])]
        kind = pyarrow.large_binary()
        return pyarrow.table({"ids": pyarrow.array(ids, kind), "key": pyarrow.array(done.keys, kind)})


def _joined(table: Any) -> Encoded:
    ids: list[bytes] = table["ids"].to_pylist()
    return Encoded(
        np.frombuffer(b"".join(ids), dtype="<u4"),
        [len(each) // 4 for each in ids],
        table["key"].to_pylist(),
    )


@contextmanager
def _ray(workers: int) -> Iterator[Any]:
    """The library, running and set to keep the order; at the end it is as it was before."""
    os.environ.update(_SILENT)
    try:
        import ray
        import ray.data
    except ImportError:
        raise SettingsError(
            "--engine ray needs Ray Data; install textdiffusion[ray], or leave --engine out."
        ) from None
    started = not ray.is_initialized()
    if started:
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers + 1, "include_dashboard": False}
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **here)
    context = ray.data.DataContext.get_current()
    before = context.execution_options.preserve_order, context.target_max_block_size
    context.execution_options.preserve_order, context.target_max_block_size = True, BLOCK
    try:
        yield ray
    finally:
        context.execution_options.preserve_order, context.target_max_block_size = before
        if started:
            ray.shutdown()


def _plain(error: Exception) -> TextDiffusionError:
    """What went wrong, in the one line that another engine would have said it in."""
    cause = error.__dict__.get("cause")
    kind = type(cause) if isinstance(cause, TextDiffusionError) else DataError
    first = str(error if cause is None else cause).strip().partition("\n")[0]
    return kind(first if kind is type(cause) else f"Ray could not go on: {first}; try --engine local.")
