"""`textdiffusion data imagery`: the words that set each poem apart from the others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.cleaning import Cleaning, read_rows
from ...data.imagery import Terms, terms_of
from ...data.working import disk_errors, write_whole
from ...errors import DataError, SettingsError
from ..flags import TEXT, Parser, build


@dataclass(frozen=True)
class Work:
    """Where the terms go."""

    output: Path = Path("poems_imagery.jsonl")
    """File of JSON lines, `content` and `imagery` each; it must not exist."""
    text_field: str | None = None
    """Field that holds the poem; text, content or the only one of strings when left out."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Find the terms of the poems that `argv` names."""
    about = (
        "Find terms of imagery: words that set each Chinese poem apart from the others, by counting alone."
    )
    parser = Parser(prog, about, takes="FILE")
    parser.add_fields(Work)
    parser.add_fields(Terms, title="terms")
    given = parser.read(argv)
    work, terms = build(Work, given), build(Terms, given)
    if TEXT not in given:
        raise SettingsError("no file of poems; name one that `textdiffusion data clean` made.")
    if work.output.exists():
        raise SettingsError(f"{work.output} exists already; choose another --output, or remove it.")
    rows = read_rows(given[TEXT], Cleaning(rules=(), text_field=work.text_field))
    texts = [row.document.text for row in rows]
    both = zip(texts, terms_of(texts, terms), strict=True)
    found = [{"content": text, "imagery": list(imagery)} for text, imagery in both if imagery]
    if not found:
        raise DataError(
            f"none of the {len(texts)} texts has {terms.least} terms; a word must stand in {terms.documents} "
            "of them, so give more poems, or lower --documents."
        )
    with disk_errors(work.output):
        work.output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(work.output, (json.dumps(row, ensure_ascii=False) + "\n" for row in found))
    print(f"{len(found):,} of {len(texts):,} poems have {terms.least} to {terms.most} terms: {work.output}.")
    return 0
