"""`textdiffusion data clean`: documents by rules, and what each rule did."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...data.cleaning import Cleaning, CleaningReport, clean, report_of
from ...data.document_rules import FOR_POEMS, RULES, said_of
from ...errors import SettingsError
from ...settings import to_mapping
from ..flags import IN_A_ROW, TEXT, Parser, build
from ..listing import described


@dataclass(frozen=True)
class Work:
    """Where the documents go, and what is shown."""

    output: Path | None = None
    """File of JSON lines for the cleaned documents; it must not exist. A report is put beside it."""
    json: bool = False
    """Print the report as one JSON object; with --list, one for each rule."""
    list: bool = False
    """Show the rules and what each takes away."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Clean the file that `argv` names."""
    about = "Clean documents by rules, those for Chinese poems when none are given, and count what each does."
    parser = Parser(prog, about, takes="FILE", tuples=IN_A_ROW)
    parser.add_fields(Work)
    parser.add_fields(Cleaning, title="rules")
    given = parser.read(argv)
    work, cleaning = build(Work, given), build(Cleaning, given)
    if work.list:
        _list(work)
        return 0
    if TEXT not in given or work.output is None:
        raise SettingsError(
            "give a file and --output FILE: `data clean poems.jsonl --output poems/train.jsonl`."
        )
    report = clean(given[TEXT], work.output, cleaning)
    if work.json:
        print(json.dumps({"output": str(work.output), **to_mapping(report)}, ensure_ascii=False))
        return 0
    Console(stderr=True, highlight=False).print(counts_table(report))
    print(f"{report.read:,} documents were read; {report.kept:,} are in {work.output}, clean.")
    print(f"What each rule did stands in {report_of(work.output)}, too.")
    return 0


def counts_table(report: CleaningReport) -> Table:
    """One line per rule."""
    table = Table(box=None, pad_edge=False)
    table.add_column("rule")
    for name in ("changed", "dropped", "added", "characters less"):
        table.add_column(name, justify="right")
    for count in report.rules:
        numbers = (count.changed, count.dropped, count.added, count.characters)
        table.add_row(count.rule, *(f"{number:,}" for number in numbers))
    return table


def _list(work: Work) -> None:
    if work.json:
        for name in RULES:
            row = {"name": name, "summary": said_of(name), "for_poems": name in FOR_POEMS}
            print(json.dumps(row, ensure_ascii=False))
        return
    note = ["for poems, when no rules are given"]
    Console(highlight=False).print(
        described((name, said_of(name), note * (name in FOR_POEMS)) for name in RULES)
    )
