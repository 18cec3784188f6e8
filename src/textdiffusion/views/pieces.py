"""What each token adds to the text, for tokenizers of every kind."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from os.path import commonprefix

Decode = Callable[[list[int]], str]
"""Turns ids into text; ids that shall not be seen (padding, end of text) become nothing."""

INCOMPLETE = "\ufffd"
"""What decoders put for bytes that are not yet a whole character."""

_CONTEXT = 8
_BLOCK = 32


def split_pieces(ids: Sequence[int], masked: Sequence[bool], decode: Decode) -> list[str | None]:
    """One piece of text per id, None where a mask stands.

    Between masks the pieces joined are exactly the decoded text: each is what `decode` adds when one more id
    is given, so the spaces of WordPiece and SentencePiece appear, and a character spread over several byte
    tokens belongs to the last of them. Bytes never join to a character across a mask.
    """
    pieces: list[str | None] = [None] * len(ids)
    seen: list[int] = []
    start = 0
    while start < len(ids):
        if masked[start]:
            start += 1
            continue
        stop = start
        while stop < len(ids) and not masked[stop]:
            stop += 1
        run = list(ids[start:stop])
        pieces[start:stop] = _run_pieces(run, _context(seen, run, decode, at_start=start == 0), decode)
        seen += run
        start = stop
    return pieces


def _context(seen: list[int], run: list[int], decode: Decode, *, at_start: bool) -> list[int]:
    """Ids to decode in front of `run`, so that its first piece gets the space that stands before it."""
    if at_start:
        return []
    context = seen[-_CONTEXT:]
    while context and decode(context).endswith(INCOMPLETE):
        context = context[:-1]
    if context and decode(context):
        return context
    # Only masks and invisible ids stand before: the run's own first id serves as the neighbour.
    return run[:1] if decode(run[:1]).strip(INCOMPLETE) else []


def _run_pieces(run: list[int], context: list[int], decode: Decode) -> list[str]:
    """Pieces of ids without a mask between them.

    Blocks keep the work linear; where a decoder looks farther than the context, the whole run is one block.
    """
    text = _added(run, context, decode)
    pieces: list[str] = []
    start = 0
    while start < len(run):
        stop = min(start + _BLOCK, len(run))
        while stop < len(run) and decode(run[start:stop]).endswith(INCOMPLETE):
            stop += 1
        before = context if start == 0 else run[max(0, start - _CONTEXT) : start]
        pieces += _block_pieces(run[start:stop], before, decode)
        start = stop
    return pieces if "".join(pieces) == text else _block_pieces(run, context, decode)


def _added(run: list[int], context: list[int], decode: Decode) -> str:
    base, full = decode(context) if context else "", decode(context + run)
    return full[_agreed(base, full) :]


def _block_pieces(run: list[int], context: list[int], decode: Decode) -> list[str]:
    full = decode(context + run)
    edges = [_agreed(decode(context), full) if context else 0]
    for size in range(1, len(run)):
        edge = _agreed(decode(context + run[:size]), full)
        edges.append(max(edges[-1], edge))
    edges.append(len(full))
    return [full[a:b] for a, b in pairwise(edges)]


def _agreed(part: str, full: str) -> int:
    """Number of first characters that `part` and `full` share, unfinished characters of `part` left out."""
    part = part.rstrip(INCOMPLETE)
    return len(part) if full.startswith(part) else len(commonprefix([part, full]))  # noqa: RUF071
