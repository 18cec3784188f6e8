"""Cleaning a file of documents by rules, each of which is counted, into a new file and a report beside it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingsError
from ..settings import from_mapping, read_mapping, to_mapping
from .document_rules import FOR_POEMS, RULES, Document
from .formats import JSON_ROWS, choose_field, kind_of
from .sources import read_documents
from .working import write_whole

REPORT = ".cleaning.yaml"
"""Ends the name of the report, which begins as that of the file does."""


@dataclass(frozen=True)
class RuleCount:
    """What a rule did."""

    rule: str
    changed: int = 0
    """Documents of which the text or another column is different now."""
    dropped: int = 0
    """Documents that are gone."""
    added: int = 0
    """Documents that there are more, as some were taken apart."""
    characters: int = 0
    """That texts lost, those of dropped documents among them; less than 0 where they grew."""


@dataclass(frozen=True)
class CleaningReport:
    """What became of a file."""

    source: str
    read: int
    kept: int
    characters: int
    """In the texts that were kept."""
    rules: tuple[RuleCount, ...]
    """In the order in which they were applied."""


@dataclass(frozen=True)
class Cleaning:
    """What is cleaned, and how."""

    rules: tuple[str, ...] = FOR_POEMS
    """Rules in their order; `--list` says what each takes away."""
    text_field: str | None = None
    """Field that holds the text; text, content or the only one of strings when left out."""
    split: str = "train"
    """Split of the source, where it has any."""

    def __post_init__(self) -> None:
        """Look the rules up.

        Raises:
            UnknownNameError: there is no such rule.
        """
        for name in self.rules:
            RULES[name]


def clean(source: str, output: Path, cleaning: Cleaning | None = None) -> CleaningReport:
    """Write the documents of a source as JSON lines, cleaned, and a report of what each rule did.

    The other columns of JSON lines stay, and each row gets all of them; of other kinds of files the text
    alone is taken. Both files appear when they are whole.

    Raises:
        DataError: there is nothing to read, nothing is left of it, or it cannot be written.
        SettingsError: `output` is no .jsonl file, or exists.
    """
    cleaning = cleaning or Cleaning()
    if output.suffix.lower() not in {".jsonl", ".ndjson"}:
        raise SettingsError(f"{output} is no file of JSON lines; give --output a name that ends in .jsonl.")
    for path in (output, report_of(output)):
        if path.exists():
            raise SettingsError(f"{path} exists already; choose another --output, or remove it.")
    counts = [_Counted(name) for name in cleaning.rules]
    lines, totals = _cleaned(read_rows(source, cleaning), counts), _Totals()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _write_rows(output, totals.watch(lines), totals.columns)
        report = CleaningReport(
            source,
            counts[0].read if counts else totals.kept,
            totals.kept,
            totals.characters,
            tuple(c.told() for c in counts),
        )
        _write_report(output, report)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"cannot write {output}: {error.strerror or error}; choose another --output."
        ) from error
    return report


def report_of(output: Path) -> Path:
    """The report on a cleaned file, which need not be there."""
    return output.with_name(output.name.partition(".")[0] + REPORT)


def read_report(path: Path) -> CleaningReport:
    """A report that was written.

    Raises:
        SettingsError: it cannot be read.
    """
    return from_mapping(CleaningReport, read_mapping(path), where=f"{path}: ")


@dataclass(frozen=True)
class Row:
    """A document, and the name of the column that holds its text."""

    document: Document
    text_field: str
    columns: Sequence[str] = ()
    """In their order in the source, the text among them."""


def read_rows(source: str, cleaning: Cleaning) -> Iterator[Row]:
    """The documents of a source, with their other columns where it is JSON.

    Raises:
        DataError: there is nothing to read, or it is broken.
    """
    path = Path(source).expanduser()
    kind = kind_of(path)
    if not path.is_file() or kind is None or kind not in JSON_ROWS:
        name = cleaning.text_field or "text"
        for text in read_documents(source, split=cleaning.split, text_field=cleaning.text_field):
            yield Row(Document(text, {}), name)
        return
    wanted = cleaning.text_field
    for where, row in JSON_ROWS[kind](path):
        if isinstance(row, str):
            yield Row(Document(row, {}), "text")
            continue
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected an object with a text field, found {type(row).__name__}.")
        if wanted is None or wanted not in row:
            strings = [key for key, value in row.items() if isinstance(value, str)]
            wanted = choose_field(list(row), strings, wanted=wanted, where=where)
        text = row[wanted]
        if not isinstance(text, str | None):
            raise DataError(f"{where}: field {wanted!r} holds {type(text).__name__}, not text; name another.")
        yield Row(
            Document(text or "", {key: value for key, value in row.items() if key != wanted}),
            wanted,
            list(row),
        )


@dataclass
class _Counted:
    """A rule at work, and its counts."""

    name: str
    read: int = 0
    changed: int = 0
    dropped: int = 0
    added: int = 0
    characters: int = 0

    def __post_init__(self) -> None:
        self._rule = RULES[self.name]()

    def apply(self, document: Document) -> Sequence[Document]:
        """What becomes of a document."""
        after = self._rule(document)
        self.read += 1
        self.dropped += not after
        self.added += max(0, len(after) - 1)
        self.changed += bool(after) and list(after) != [document]
        self.characters += len(document.text) - sum(len(each.text) for each in after)
        return after

    def told(self) -> RuleCount:
        """The counts."""
        return RuleCount(self.name, self.changed, self.dropped, self.added, self.characters)


@dataclass
class _Totals:
    kept: int = 0
    characters: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    """In the order of the source, and then those that rules have added."""

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count what goes by; nothing at all is an error."""
        for row in rows:
            self.kept += 1
            self.columns |= dict.fromkeys([*row.columns, row.text_field, *row.document.fields])
            self.characters += len(row.document.text)
            yield row
        if not self.kept:
            raise DataError("no document is left; see what each rule takes away with --list, and give fewer.")


def _cleaned(rows: Iterable[Row], counts: Sequence[_Counted]) -> Iterator[Row]:
    for row in rows:
        documents: Sequence[Document] = [row.document]
        for counted in counts:
            documents = [after for document in documents for after in counted.apply(document)]
        yield from (replace(row, document=document) for document in documents)


def _write_rows(output: Path, rows: Iterable[Row], columns: Mapping[str, None]) -> None:
    """Write rows as JSON lines that all have all columns, which are known when the last row has come."""
    draft = output.with_name(f".{output.name}.rows")
    try:
        write_whole(
            draft, (_line({**row.document.fields, row.text_field: row.document.text}) for row in rows)
        )
        with draft.open(encoding="utf-8", newline="\n") as lines:
            found = (json.loads(line) for line in lines)
            write_whole(output, (_line({name: row.get(name) for name in columns}) for row in found))
    finally:
        draft.unlink(missing_ok=True)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _write_report(output: Path, report: CleaningReport) -> None:
    import yaml  # loaded only when a report is written

    text: str = yaml.safe_dump(to_mapping(report), sort_keys=False, allow_unicode=True)
    write_whole(report_of(output), [text])
