"""Who tokenises: this process, others beside it, or Ray. The result and its order are the same."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ...errors import DataError
from ...registry import Registry
from .encoding import Encode, Encoded, Engine, Generated, batches, encoded
from .stream import Document, DocumentStream

_AHEAD = 3
"""Batches under way for each worker: enough to keep it busy, few enough to keep memory small."""


def local(encode: Encode, stream: DocumentStream, workers: int) -> Generated:
    """In this process, or in `workers` others on this machine while this one reads and writes."""
    if workers == 1:
        yield from (encoded(encode, batch) for batch in batches(stream))
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_work, initargs=(encode,))
    waiting = deque[Future[Encoded]]()
    try:
        for batch in batches(stream):
            waiting.append(pool.submit(_work, batch))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, perhaps for want of memory; run the same command with --resume and fewer "
            "--workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_encode: Encode
"""Of a worker process, set once when it starts."""


def _begin_work(encode: Encode) -> None:
    global _encode
    _encode = encode
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a worker for each core already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that writes
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: Any) -> None:
    """Else a command that is killed would leave its workers behind, waiting for ever."""
    parent.join()
    os._exit(1)


def _work(documents: list[Document]) -> Encoded:
    return encoded(_encode, documents)


def ray_data(encode: Encode, stream: DocumentStream, workers: int) -> Generated:
    """On Ray Data, which is an extra; see `ray_engine`."""
    from .ray_engine import encoded_by_ray  # loaded only when asked for

    return encoded_by_ray(encode, stream, workers)


ENGINES: Registry[Engine] = Registry("engine", {"local": local, "ray": ray_data})
"""Engines by name."""
