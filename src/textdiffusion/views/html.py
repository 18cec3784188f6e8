"""One web page that shows a text step by step, complete in itself."""

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from .cells import Cell, Kind, visible
from .files import write_whole
from .trace import Trace

_KINDS: tuple[Kind, ...] = ("prompt", "mask", "new", "settled")
"""The page numbers the kinds in this order."""


def page(trace: Trace) -> str:
    """The page as text; it loads nothing from anywhere."""
    parts = {
        "@TITLE@": escape(f"{trace.model}, {trace.sampler}"),
        "@TEXT@": escape(visible(trace.text)),
        "@TRACE@": embedded(changes(trace)),
    }
    return filled("viewer.html", parts)


def save_html(trace: Trace, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        DataError: the folder is missing or not writable.
    """
    write_whole(path, page(trace).encode())


def filled(template: str, parts: Mapping[str, str]) -> str:
    """The template of that name with `parts`, and the style and script that all pages share, in its slots."""
    text = _read(template)
    every = {"@STYLE@": _read("page.css"), "@CELLS@": _read("cells.js"), **parts}
    for slot in every:
        assert text.count(slot) == 1, f"{template} needs {slot} once"
    # One pass over the template, so that text that looks like a slot is never filled.
    pieces, rest = [], text
    for slot in sorted(every, key=text.index):
        before, rest = rest.split(slot)
        pieces += [before, every[slot]]
    return "".join([*pieces, rest])


def changes(trace: Trace) -> dict[str, Any]:
    """What a page needs of a text; of each frame only the cells that differ from the frame before."""
    table: dict[str, int] = {}
    frames = []
    before: list[tuple[Cell, int | None]] = []
    for index, written in enumerate(trace.written_at()):
        now = list(zip(trace.cells(index), written, strict=True))
        cells = []
        for i, (cell, since) in enumerate(now):
            if not before or before[i] != (cell, since):
                text = table.setdefault(visible(cell.text), len(table))
                cells.append([i, text, _KINDS.index(cell.kind), cell.confidence, since])
        shot = trace.snapshots[index]
        frames.append({"step": shot.step, "calls": shot.nfe, "seconds": shot.seconds, "cells": cells})
        before = now
    return {
        "model": trace.model,
        "sampler": trace.sampler,
        "seed": trace.seed,
        "steps": trace.steps,
        "positions": len(trace.roles),
        "texts": list(table),
        "frames": frames,
    }


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: no tag can begin in it, and no line ends in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").removesuffix("\n")
