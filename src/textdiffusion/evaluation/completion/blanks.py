"""Blanks in a file, so that others are asked the same."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...data.formats import JSON_ROWS
from ...errors import DataError
from .protocols import Chosen, Ratio
from .puzzles import Cloze


def written_blanks(chosen: Iterable[Chosen]) -> tuple[bytes, str]:
    """The blanks as JSON lines, and the SHA-256 of these."""
    rows = [row for each in chosen for round_ in each.rounds for row in round_.rows]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return content, hashlib.sha256(content).hexdigest()


def read_blanks(path: Path) -> dict[Ratio, list[Cloze]]:
    """The blanks of the corrected protocol in such a file, by ratio.

    Raises:
        DataError: the file is missing or broken, or has none.
    """
    found: dict[Ratio, list[Cloze]] = {}
    for where, row in JSON_ROWS[".jsonl"](path):
        if isinstance(row, Mapping) and "blanks" in row:
            try:
                blanks = tuple(sorted((int(start), int(end)) for start, end in row["blanks"]))
                cloze = Cloze(str(row["text"]), blanks)
                found.setdefault(float(row["ratio"]), []).append(cloze)
            except (KeyError, TypeError, ValueError):
                blanks = ()
            if not blanks or not _sound(cloze):
                raise DataError(f"{where}: no blanks as --save writes them; take the file as it was written.")
    if not found:
        raise DataError(f"{path} holds no blanks of the corrected protocol; take a file that --save wrote.")
    return found


def _sound(cloze: Cloze) -> bool:
    """Whether all blanks lie inside the text and none reaches into another."""
    edges = [edge for span in cloze.blanks for edge in span]
    inside = edges[0] >= 0 and edges[-1] <= len(cloze.text)
    return inside and edges == sorted(edges) and all(start < end for start, end in cloze.blanks)
