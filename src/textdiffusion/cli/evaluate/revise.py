"""`textdiffusion evaluate revise`: how many damaged tokens a revision restores, and how many it spoils."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product

from rich.console import Console
from rich.table import Table

from ...errors import SettingsError
from ...evaluation.intervals import Row
from ...evaluation.revision import DAMAGES, restored, revise_damaged
from ...generation import Decoding
from ...language_model import DiffusionLM
from ...settings import check_at_least_one
from ..flags import IN_A_ROW, Parser, build, rest
from ..model import ModelChoice
from ..order import add_decoding, settings_elsewhere
from ..quiet import quiet_libraries
from ..revise import Revising
from .asked import Separation, Source, overlap_said, shown

_COLUMNS = {
    "damaged": "damaged",
    "restored": "restored",
    "broken": "spoilt",
    "right_changes": "right changes",
    "gained": "gained",
}


@dataclass(frozen=True)
class Asked:
    """What is damaged, and how it is told."""

    damages: tuple[str, ...] = tuple(DAMAGES)
    """How texts are damaged: random-tokens, typing-errors, swapped-words."""
    shares: tuple[float, ...] = (0.1, 0.2, 0.3)
    """Shares of the tokens or words that are damaged, one after the other; 0 damages nothing."""
    length: int = 64
    """First tokens of each text that are kept; shorter texts are taken whole."""
    json: bool = False
    """Print one JSON object for each line of the table."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after a model is loaded.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        check_at_least_one(self, "length")
        object.__setattr__(self, "damages", tuple(dict.fromkeys(map(DAMAGES.canonical, self.damages))))
        for share in self.shares:
            if not 0.0 <= share <= 1.0:
                raise SettingsError(f"a share of {share} was given; shares are from 0 to 1.")
        if not self.damages or not self.shares:
            raise SettingsError("nothing is damaged; name some --damages and --shares, or leave them out.")


_OWN: tuple[type, ...] = (ModelChoice, Source, Asked, Revising, Separation)


def run(prog: str, argv: Sequence[str]) -> int:
    """Damage held-out texts, revise them, and count."""
    about = "Damage held-out texts, let a model revise them, and count what it restores and what it spoils."
    parser = Parser(prog, about, tuples=IN_A_ROW)
    for cls in _OWN:
        parser.add_fields(cls)
    add_decoding(parser, argv)
    given = parser.read(argv, elsewhere=settings_elsewhere())
    options = rest(given, _OWN)
    Decoding().changed(options).recipe()  # raises now what would be raised after loading
    measured, source, asked = build(ModelChoice, given), build(Source, given), build(Asked, given)
    revising = build(Revising, given)
    texts, _ = source.texts()
    overlap = build(Separation, given).check(source, texts)
    quiet_libraries()
    notes = Console(stderr=True, highlight=False)
    notes.print(f"{len(texts)} texts of {source.data}; {overlap_said(overlap)}", markup=False, soft_wrap=True)
    lm = measured.load()
    kept = [_leading(lm, text.answer, asked.length) for text in texts]
    rows = list[Row]()
    for damage, share in product(asked.damages, asked.shares):
        with shown(notes, f"{damage}, {share:.0%}") as progress:
            tried = revise_damaged(
                lm,
                kept,
                damage,
                share,
                noise_rate=revising.noise_rate,
                looks=revising.looks,
                seed=source.seed,
                options=options,
                progress=progress,
            )
        rows.append({"damage": damage, "share": share, **restored(tried, source.seed)})
    _show(rows, lm.name, revising, as_json=asked.json)
    return 0


def _leading(lm: DiffusionLM, text: str, count: int) -> str:
    """The first `count` tokens of a text, as a text."""
    head = int(lm.format.begin_id is not None)
    return "".join(lm.format.given(text, holes=False)[: head + count]).rstrip()


def _show(rows: Sequence[Row], model: str, revising: Revising, *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps({"model": model, "noise_rate": revising.noise_rate, **row}))
        return
    out = Console(highlight=False)
    table = Table("", *_COLUMNS.values(), "calls", title=_title(rows, model, revising), title_justify="left")
    for damage, listed in groupby(rows, lambda row: str(row["damage"])):
        for row in listed:
            cells = (_percent(row, name) for name in _COLUMNS)
            table.add_row(f"{damage}, {row['share']:.0%}", *cells, f"{row['calls']:.0f}")
        table.add_section()
    out.print(table)
    out.print(
        "In percent. Restored: of the damaged tokens. Spoilt: of the others. Right changes: of all changes. "
        "Gained: restored less spoilt, of all tokens. ± is the standard error over texts.",
        style="dim",
    )


def _title(rows: Sequence[Row], model: str, revising: Revising) -> str:
    texts, tokens = rows[0]["texts"], rows[0]["tokens"]
    return f"{model}, {texts} texts, {tokens:,} tokens, a noise rate of {revising.noise_rate:g}"


def _percent(row: Row, name: str) -> str:
    value, error = row[name], row[f"{name}_error"]
    if value is None:
        return ""
    return f"{100 * value:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")
