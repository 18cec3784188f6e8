"""Where text comes from: a file, a folder of splits, a data set of the Hub, or one saved by `datasets`."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..registry import did_you_mean
from .files import COMPRESSIONS, PREPARED, UNFINISHED
from .formats import (
    ROWS,
    STRING_KINDS,
    Fields,
    Repeats,
    choose_field,
    kind_of,
    read_file,
    regroup_lines,
    texts_of_rows,
)
from .working import WORKING

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""The splits, and the words by which file names and data sets say them."""

_SPLIT_OF_WORD = {word: split for split, words in SPLIT_NAMES.items() for word in words}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(_SPLIT_OF_WORD, key=len, reverse=True))})(?![a-z])")
_HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*(/\w[\w.-]*)?)(:(?P<config>[\w.-]+))?")


@dataclass(frozen=True)
class Documents:
    """The texts of a source, read anew and one at a time at each iteration; blank ones are left out."""

    source: str
    """The file, folder or name that was asked for."""
    read: Callable[[], Iterable[str]]
    """Begins reading; can be sent to another process."""
    files: tuple[Callable[[], Iterable[str]], ...] = ()
    """Begin reading each file by itself, in order, where the source is files."""

    def __iter__(self) -> Iterator[str]:
        """Read from the start.

        Raises:
            DataError: what there is to read is broken, or holds no text at all.
        """
        empty = True
        for text in self.read():
            if text.strip():
                empty = False
                yield text
        if empty:
            raise DataError(f"{self.source} holds no text; give a file or folder with at least one document.")


def read_documents(
    source: str, *, split: str = "train", text_field: str | None = None, repeats: Repeats | None = None
) -> Documents:
    """The documents of `source`, to be iterated as often as needed without loading them all.

    `source` is one of:

    - a file: .txt, .jsonl, .json (a list, or lines), .csv, .tsv or .parquet, plain or packed as .xz, .gz or
      .zst; any `split` is the whole file; `split_text` says what a document of a plain text is;
    - a folder whose file or folder names say the split (`train.jsonl.xz`, `valid-00000-of-00002.parquet`,
      `wiki.test.txt`, `dev/part1.txt`); other files in it are left alone. Without such
      names all are train;
    - a folder written by `save_to_disk` of the package `datasets`;
    - a data set of the Hub, read as a stream: `name`, `owner/name` or `owner/name:config`.

    `text_field` names the column of the text; without it `text`, `content`, or the only column of strings is
    taken. `repeats` reads the documents of some groups more often than once, or not at all.

    Raises:
        DataError: nothing is there under that name, or not that split; what is inside is checked while read.
    """
    fields = Fields(text_field, repeats or Repeats())
    path = Path(source).expanduser()
    if path.is_file():
        return _documents_of_files(source, (path,), fields)
    if path.is_dir():
        if _is_saved(path):
            return Documents(source, partial(_read_saved, path, split, fields))
        found = _files_by_split(path)
        chosen = _choose_split(list(found), split, source)
        _refuse_twins(found[chosen], chosen)
        return _documents_of_files(source, tuple(found[chosen]), fields)
    if not _may_be_hub_name(source):
        raise DataError(f"No file or folder {source!r}.{_near_names(path)}")
    return Documents(source, partial(_read_hub, source, split, fields))


def read_rows(source: str, *, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a source with all their fields, each with its place for messages.

    Sources are those of `read_documents`; a row of a plain text is a line, its field `text`.

    Raises:
        DataError: as `read_documents`, and for what is no row of fields.
    """
    path = Path(source).expanduser()
    rows: Iterator[tuple[str, object]]
    if path.exists():
        files = split_files(source, split)
        kinds = [kind_of(file) or "" for file in files]
        for file, kind in zip(files, kinds, strict=True):
            if kind not in ROWS:
                raise DataError(f"{file} holds no rows; give one of {', '.join(ROWS)}.")
        rows = chain.from_iterable(ROWS[kind](file) for file, kind in zip(files, kinds, strict=True))
        if not files:
            rows = ((str(path), row) for row in _saved_table(path, split))
    elif _may_be_hub_name(source):
        rows = _hub_rows(source, split)
    else:
        raise DataError(f"No file or folder {source!r}.{_near_names(path)}")
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected an object with fields, found {type(row).__name__}.")
        yield where, row


def split_files(source: str, split: str) -> tuple[Path, ...]:
    """The files of a split that `read_documents` reads; none where the source is no file or folder of files.

    Raises:
        DataError: the folder has no such split, or no files of text.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return (path,)
    if not path.is_dir() or _is_saved(path):
        return ()
    found = _files_by_split(path)
    return tuple(found[_choose_split(list(found), split, source)])


def available_splits(source: str) -> tuple[str, ...]:
    """The splits of `source` under their usual names; a single file or saved table has none: ().

    Raises:
        DataError: nothing is there under that name.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return ()
    if path.is_dir():
        names: Sequence[str] = _saved_splits(path) if _is_saved(path) else list(_files_by_split(path))
    elif _may_be_hub_name(source):
        names = list(_load_hub(source))
    else:
        raise DataError(f"No file or folder {source!r}.{_near_names(path)}")
    return tuple(_SPLIT_OF_WORD.get(name, name) for name in names)


def _documents_of_files(source: str, paths: tuple[Path, ...], fields: Fields) -> Documents:
    each = tuple(partial(read_file, path, fields) for path in paths)
    return Documents(source, partial(_read_files, paths, fields), each)


def _read_files(paths: Sequence[Path], fields: Fields) -> Iterator[str]:
    """The documents of several files, one file after the other; an empty file among others is no error."""
    for path in paths:
        yield from read_file(path, fields)


def _choose_split(names: Sequence[str], split: str, source: str) -> str:
    """Which of `names` is `split`, itself or by another usual word.

    Raises:
        DataError: none is.
    """
    canonical = _SPLIT_OF_WORD.get(split, split)
    for word in (split, canonical, *SPLIT_NAMES.get(canonical, ())):
        if word in names:
            return word
    raise DataError(
        f"{source} has no split {split!r}.{did_you_mean(split, names)} It has: {', '.join(names)}."
    )


# Folders


def _files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The files of text below `folder`, sorted, by the split that their names say.

    Raises:
        DataError: there is none.
    """
    if any((folder / mark).is_file() for mark in (PREPARED, UNFINISHED)):
        raise DataError(f"{folder} holds token ids to train on, not text; give the text itself.")
    found: dict[str, list[Path]] = {}
    loose = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if kind_of(path) is None or not path.is_file() or any(map(_is_apart, inside.parts)):
            continue
        split = _split_of_path(inside)
        if split is None:
            loose.append(path)
        else:
            found.setdefault(split, []).append(path)
    if not found and not loose:
        raise DataError(f"{folder} holds no file of text (.txt, .jsonl, .json, .csv or .parquet).")
    return found or {"train": loose}


def _is_apart(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or not finished yet."""
    return name[0] in "._" or name.endswith(WORKING)


def _split_of_path(path: Path) -> str | None:
    """The split that a file's name says, or else the nearest folder's."""
    for part in reversed(path.parts):
        if match := _WORD.search(part.lower()):
            return _SPLIT_OF_WORD[match.group()]
    return None


def _refuse_twins(paths: Sequence[Path], split: str) -> None:
    """Refuse two versions of the same file, which would be read as two parts of the split.

    Names that are equal up to their first dot, and have no number after it, are versions of one file, such as
    `test.txt` and `test.raw.txt`.
    """
    seen: dict[tuple[Path, tuple[str, ...]], Path] = {}
    for path in paths:
        first, *others = path.name.lower().split(".")
        key = (
            path.parent,
            (first, *(part for part in others if any(map(str.isdigit, part)) or _WORD.search(part))),
        )
        if key in seen:
            raise DataError(
                f"{path.parent} holds {seen[key].name} and {path.name}, both {split}, which look like "
                "the same text twice; name one of the files."
            )
        seen[key] = path


def _near_names(path: Path) -> str:
    """A sentence about what there is instead of `path`: the nearest names in the last folder that exists."""
    missing, folder = path, path.parent
    while not folder.is_dir() and folder != folder.parent:
        missing, folder = folder, folder.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = did_you_mean(missing.name, names)
    return (
        near if near.strip() else f" {str(folder)!r} has nothing named like {missing.name!r}; check the path."
    )


# The package `datasets`


def _is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _saved_splits(folder: Path) -> list[str]:
    """The splits of a folder written by `save_to_disk`; none if it is a single table."""
    listing = folder / "dataset_dict.json"
    if not listing.is_file():
        return []
    try:
        return [str(name) for name in json.loads(listing.read_text(encoding="utf-8"))["splits"]]
    except (ValueError, KeyError) as error:
        raise DataError(f"{listing} is not a listing of splits; save the data set again.") from error


def _saved_table(folder: Path, split: str) -> Any:
    """A split of a folder written by `save_to_disk`; it stays on disk."""
    import datasets

    names = _saved_splits(folder)
    part = folder / _choose_split(names, split, str(folder)) if names else folder
    try:
        table = datasets.load_from_disk(str(part))
    except (OSError, ValueError) as error:
        raise DataError(f"{part} is not a whole data set ({_first_line(error)}); save it again.") from error
    assert isinstance(table, datasets.Dataset)
    return table


def _read_saved(folder: Path, split: str, fields: Fields) -> Iterator[str]:
    """The documents of a folder written by `save_to_disk`; its tables stay on disk."""
    import datasets

    table = _saved_table(folder, split)
    values = {name: kind for name, kind in table.features.items() if isinstance(kind, datasets.Value)}
    strings = [name for name, kind in values.items() if kind.dtype in STRING_KINDS]
    field = choose_field(table.column_names, strings, wanted=fields.text, where=str(folder))
    columns = [field] if fields.repeats.field is None else [field, fields.repeats.field]
    rows = ((str(folder), row) for row in table.select_columns(columns))
    return regroup_lines(texts_of_rows(rows, replace(fields, text=field)))


def _may_be_hub_name(source: str) -> bool:
    """Whether a name that is no path here could be one of the Hub: `[owner/]name[:config]`."""
    if not _HUB_NAME.fullmatch(source) or kind_of(Path(source)) is not None:
        return False
    return Path(source).suffix not in COMPRESSIONS and not ("/" in source and Path(source).parent.is_dir())


@contextmanager
def _hub_errors(source: str) -> Iterator[None]:
    """Turn what goes wrong between here and the Hub into a DataError of one line."""
    import datasets

    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        near = did_you_mean(source, [entry.name for entry in Path().iterdir()])
        raise DataError(
            f"{source!r} is no file or folder, and could not be had from the Hub ({_first_line(error)}); "
            f"check the name and the connection.{near}"
        ) from error


def _load_hub(source: str) -> Any:
    """The splits of a data set of the Hub, by name, as streams.

    Raises:
        DataError: it is not there, needs a configuration, or cannot be reached.
    """
    import datasets

    match = _HUB_NAME.fullmatch(source)
    assert match is not None
    with _hub_errors(source):
        return datasets.load_dataset(match["name"], match["config"], streaming=True)


def _read_hub(source: str, split: str, fields: Fields) -> Iterator[str]:
    """The documents of a data set of the Hub, as they arrive."""
    yield from regroup_lines(texts_of_rows(_hub_rows(source, split), fields))


def _hub_rows(source: str, split: str) -> Iterator[tuple[str, object]]:
    """The rows of a data set of the Hub, as they arrive."""
    streams = _load_hub(source)
    stream = streams[_choose_split(list(streams), split, source)]
    with _hub_errors(source):
        yield from ((source, row) for row in stream)


def _first_line(error: Exception) -> str:
    """What another package had to say, in one line and without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
