"""The documents in one file: plain text, JSON lines, JSON, CSV and Parquet."""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..registry import did_you_mean
from .files import COMPRESSIONS, file_errors, open_bytes, open_seekable, read_lines

LONGEST_PIECE = 4_000_000
"""Characters after which a plain text without other marks is handed out, so that memory stays bounded."""
TEXT_FIELDS = ("text", "content")
"""Fields taken for the text when none is named, best first."""
STRING_KINDS = ("string", "large_string", "string_view")
"""Types of columns that hold text, as Arrow and the package `datasets` call them."""
END_OF_TEXT = "<|endoftext|>"
"""A line that holds only this ends a document of a plain text file."""

_HEADING = re.compile(r" ?= (?!= )[^;]+(?<! =) = ?")
_PEEK = 16


def split_text(lines: Iterable[str]) -> Iterator[str]:
    """Documents of a plain text: the whole text is one, unless it says where others begin.

    A new one begins at a WikiText article heading (`` = Title = ``, after a blank line if the text has any
    blank lines) and after a line `<|endoftext|>`. A text longer than `LONGEST_PIECE` is cut at the end of a
    line. Blank lines at both ends of a document are dropped.
    """
    piece: list[str] = []
    size, any_blank, after_blank = 0, False, True
    for line in lines:
        blank = not line.strip()
        begins = bool(_HEADING.fullmatch(line)) and (after_blank or not any_blank)
        ends = line.strip() == END_OF_TEXT
        if begins or ends or size >= LONGEST_PIECE:
            yield _joined(piece)
            piece, size = [], 0
        if not ends:
            piece.append(line)
            size += len(line) + 1
        any_blank, after_blank = any_blank or blank, blank
    yield _joined(piece)


def _joined(lines: list[str]) -> str:
    """The lines as one text, without blank lines at its ends."""
    filled = [index for index, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]) if filled else ""


def regroup_lines(texts: Iterable[str]) -> Iterator[str]:
    """The texts as they are, or, where each is a line of WikiText (as on the Hub), the articles they form."""
    rest = iter(texts)
    first = list(islice(rest, _PEEK))
    lines = [text.removesuffix("\n") for text in first]
    every = chain(first, rest)
    if any(_HEADING.fullmatch(line) for line in lines) and not any("\n" in line for line in lines):
        return split_text(text.removesuffix("\n") for text in every)
    return every


def choose_field(fields: Sequence[str], strings: Sequence[str], *, wanted: str | None, where: str) -> str:
    """Name of the field that holds the text: the wanted one, `text`, `content`, or the only one of strings.

    Raises:
        DataError: there is no such field, or several could be meant.
    """
    known = ", ".join(fields)
    if wanted is not None:
        if wanted not in fields:
            raise DataError(
                f"{where} has no field {wanted!r}.{did_you_mean(wanted, fields)} Fields: {known}."
            )
        return wanted
    for field in TEXT_FIELDS:
        if field in fields:
            return field
    if "messages" in fields:
        raise DataError(
            f"{where} holds conversations (field 'messages'), not texts; train on them by --chat."
        )
    if len(strings) == 1:
        return strings[0]
    raise DataError(
        f"{where} does not say which field is the text; name one with text_field. Fields: {known or 'none'}."
    )


@dataclass(frozen=True)
class Repeats:
    """How often the documents of each group are read in one pass: a way to weigh sources."""

    field: str | None = None
    """Field that names the group; None reads every document once."""
    times: Mapping[str, float] = dataclass_field(default_factory=dict)
    """Times per pass by group, any number from 0."""
    others: float = 1.0
    """Times per pass of groups that are not named."""

    def counter(self) -> Callable[[Mapping[str, object]], int]:
        """A function that says how often the next row is to be read; fractions add up over a group's rows."""
        owed: dict[str, float] = {}

        def times(row: Mapping[str, object]) -> int:
            group = str(row.get(self.field)) if self.field is not None else ""
            owed[group] = owed.get(group, 0.0) + self.times.get(group, self.others)
            whole = math.floor(owed[group] + 1e-9)
            owed[group] -= whole
            return whole

        return times

    def once(self) -> "Repeats":
        """Each document once, but those of groups that are never read."""
        times = {group: float(times > 0.0) for group, times in self.times.items()}
        return Repeats(self.field, times, float(self.others > 0.0))


@dataclass(frozen=True)
class Fields:
    """Which parts of a row matter."""

    text: str | None = None
    """Field of the text; found when None."""
    repeats: Repeats = Repeats()
    """How often each row is read."""


def texts_of_rows(rows: Iterable[tuple[str, object]], fields: Fields) -> Iterator[str]:
    """The text of each row; `rows` are pairs of the place (for messages) and a mapping or a bare string.

    The first mapping decides the field. An empty (null) text is passed over.

    Raises:
        DataError: a row has no such field, or something else than a text in it.
    """
    field: str | None = None
    times = fields.repeats.counter()
    for where, row in rows:
        if isinstance(row, str):
            yield row
            continue
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected an object with a text field, found {type(row).__name__}.")
        if field is None or field not in row:
            strings = [name for name, value in row.items() if isinstance(value, str)]
            field = choose_field(list(row), strings, wanted=field or fields.text, where=where)
        text = row[field]
        if isinstance(text, str):
            yield from repeat(text, times(row))
        elif text is not None:
            raise DataError(
                f"{where}: field {field!r} holds {type(text).__name__}, not text; name another text_field."
            )


def _read_text(path: Path, fields: Fields) -> Iterator[str]:
    """Documents of a plain text file; it has no fields."""
    return split_text(line for _, line in read_lines(path))


def _read_json_lines(path: Path, fields: Fields) -> Iterator[str]:
    """Documents of a file with one JSON object or string a line; blank lines are passed over."""
    return regroup_lines(texts_of_rows(_line_rows(path), fields))


def _line_rows(path: Path) -> Iterator[tuple[str, object]]:
    """The value of each line that is not blank, with its place."""
    for number, line in read_lines(path):
        if line.strip():
            yield f"{path}, line {number}", _parse_json(line, path, number)


def _parse_json(text: str, path: Path, first_line: int) -> object:
    """The value of a JSON text that begins at line `first_line` of `path`."""
    try:
        value: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line, why = first_line, "nested too deeply"
        if isinstance(error, json.JSONDecodeError):
            line, why = first_line + error.lineno - 1, f"{error.msg} at column {error.colno}"
        raise DataError(f"{path}, line {line}: bad JSON ({why}); mend or remove the line.") from error
    return value


def _read_json(path: Path, fields: Fields) -> Iterator[str]:
    """Documents of a .json file."""
    return regroup_lines(texts_of_rows(_list_rows(path), fields))


def _list_rows(path: Path) -> Iterator[tuple[str, object]]:
    """The entries of a list, which is loaded whole, with their places; or of JSON lines, if it is these."""
    with file_errors(path), open_bytes(path) as file:
        start = file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith(b"["):
        yield from _line_rows(path)
        return
    rows = _parse_json("\n".join(line for _, line in read_lines(path)), path, 1)
    assert isinstance(rows, list)
    yield from ((f"{path}, entry {number}", row) for number, row in enumerate(rows, start=1))


def _read_csv(path: Path, fields: Fields) -> Iterator[str]:
    """Documents of a table with a header line, separated by commas, or by tabs in a .tsv file."""
    return regroup_lines(texts_of_rows(_table_rows(path), fields))


def _table_rows(path: Path) -> Iterator[tuple[str, object]]:
    """The rows of such a table with their places, each cell a text."""
    delimiter = "\t" if kind_of(path) == ".tsv" else ","
    table = csv.DictReader((line + "\n" for _, line in read_lines(path)), delimiter=delimiter)
    try:
        for row in table:
            yield f"{path}, line {table.line_num}", {name: row[name] for name in table.fieldnames or ()}
    except csv.Error as error:
        raise DataError(
            f"{path}, line {table.line_num}: bad table ({error}); mend it or use .jsonl."
        ) from error


def _read_parquet(path: Path, fields: Fields) -> Iterator[str]:
    """Documents of a Parquet file, batch by batch; only the column of the text is read."""
    with _parquet(path) as table:
        names = table.schema_arrow.names
        kinds = zip(names, table.schema_arrow.types, strict=True)
        strings = [name for name, kind in kinds if str(kind) in STRING_KINDS]
        field = choose_field(names, strings, wanted=fields.text, where=str(path))
        group = fields.repeats.field
        columns = [name for name in dict.fromkeys((field, group)) if name is not None and name in names]
        rows = _rows_of_parquet(table, path, columns)
        yield from regroup_lines(texts_of_rows(rows, replace(fields, text=field)))


def _parquet_rows(path: Path) -> Iterator[tuple[str, object]]:
    """The rows of a Parquet file, all columns of them."""
    with _parquet(path) as table:
        yield from _rows_of_parquet(table, path, None)


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """The opened table; what is wrong with it becomes a DataError."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with file_errors(path), open_seekable(path) as file:
            yield pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path} is damaged or not really Parquet; fetch or write it again.") from error


def _rows_of_parquet(table: Any, path: Path, columns: Sequence[str] | None) -> Iterator[tuple[str, object]]:
    for batch in table.iter_batches(batch_size=256, columns=columns):
        yield from ((str(path), row) for row in batch.to_pylist())


def _text_rows(path: Path) -> Iterator[tuple[str, object]]:
    """The lines of a plain text that are not blank, each a row with the field `text`."""
    for number, line in read_lines(path):
        if line.strip():
            yield f"{path}, line {number}", {"text": line}


JSON_ROWS: Mapping[str, Callable[[Path], Iterator[tuple[str, object]]]] = {
    ".jsonl": _line_rows,
    ".ndjson": _line_rows,
    ".json": _list_rows,
}
"""How to read the rows of a kind of file that may hold more than texts, each with its place for messages."""

ROWS: Mapping[str, Callable[[Path], Iterator[tuple[str, object]]]] = {
    **JSON_ROWS,
    **dict.fromkeys((".txt", ".text"), _text_rows),
    **dict.fromkeys((".csv", ".tsv"), _table_rows),
    ".parquet": _parquet_rows,
}
"""The same of every kind of file that holds rows, with all their fields; of plain text a row is a line."""

READERS: Mapping[str, Callable[[Path, Fields], Iterator[str]]] = {
    ".txt": _read_text,
    ".text": _read_text,
    ".raw": _read_text,
    ".tokens": _read_text,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
"""How to read each kind of file, by the ending of its name (before that of its packing)."""


def kind_of(path: Path) -> str | None:
    """The key into `READERS` of a file, by its name, or None if it is no file of text."""
    name = Path(path.stem) if path.suffix.lower() in COMPRESSIONS else path
    return name.suffix.lower() if name.suffix.lower() in READERS else None


def read_file(path: Path, fields: Fields) -> Iterator[str]:
    """The documents of one file, read as they are asked for.

    Raises:
        DataError: the kind of file is unknown, or (while reading) it is broken; see `read_documents`.
    """
    kind = kind_of(path)
    if kind is None:
        raise DataError(
            f"{path} is of no known kind. Known: {', '.join(READERS)}, each plain or packed as "
            f"{', '.join(COMPRESSIONS)}; rename a plain text to .txt, and give an array of token ids to "
            "`textdiffusion data prepare`."
        )
    return READERS[kind](path, fields)
