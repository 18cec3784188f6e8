"""What a folder of arrays says of itself, and the file in which it says so."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError, SettingsError
from ...settings import from_mapping, to_mapping
from ..files import PREPARED

VERSION = 1
"""Of the format; raised when an older reader would misread a newer folder."""


@dataclass(frozen=True)
class Vocabulary:
    """What arrays must know of their tokenizer."""

    name: str
    """As it was asked for: a folder or a Hub id."""
    sha256: str
    """`TextFormat.fingerprint`: equal for tokenizers that give every text the same ids."""
    size: int
    """Ids are below this."""
    begin_id: int | None
    end_id: int | None
    pad_id: int


@dataclass(frozen=True)
class Counts:
    """What became of the documents that were dealt to one array."""

    documents_read: int = 0
    documents_kept: int = 0
    documents_left_out: int = 0
    """Too long for their row."""
    tokens: int = 0
    """In the array, padding included."""
    text_tokens: int = 0
    """Without begin, end and padding."""
    largest_id: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(
            self.documents_read + other.documents_read,
            self.documents_kept + other.documents_kept,
            self.documents_left_out + other.documents_left_out,
            self.tokens + other.tokens,
            self.text_tokens + other.text_tokens,
            max(self.largest_id, other.largest_id),
        )

    def averages(self) -> dict[str, float]:
        """Tokens and tokens of text in a document that was kept."""
        kept = max(1, self.documents_kept)
        return {
            "tokens_per_document": round(self.tokens / kept, 3),
            "text_tokens_per_document": round(self.text_tokens / kept, 3),
        }


@dataclass(frozen=True)
class ArrayMetadata:
    """One array: its file, what is in it, and how to see that it is whole."""

    file: str
    bytes: int
    sha256: str
    ends_sha256: str
    """Of the first and the last MiB, which are read whenever the array is opened."""
    counts: Counts
    averages: Mapping[str, float]


@dataclass(frozen=True)
class Metadata:
    """A folder of arrays; the field that comes first in the file says whether the rest can be understood."""

    version: int
    source: str
    command: str
    created: str
    """When it was finished, in UTC."""
    tokenizer: Vocabulary
    kind: str
    """A name in `KINDS`."""
    length: int | None
    """Tokens per row, where documents have rows of their own."""
    dtype: str
    """A name in `DTYPES`; the lowest byte of a number comes first."""
    arrays: Mapping[str, ArrayMetadata]
    """By split: train, validation, test."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The other settings of the preparation."""


def read_metadata(folder: Path) -> Metadata:
    """What the folder says of itself.

    Raises:
        DataError: it says nothing, or nothing that can be understood.
    """
    path = folder / PREPARED
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{folder} holds no arrays of `textdiffusion data prepare`: it has no {PREPARED}."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy or prepare the folder again.") from None
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise DataError(
            f"{path} is of format version {version!r}, but this program reads version {VERSION}; prepare the "
            "text again, or use the program that wrote it."
        )
    try:
        return from_mapping(Metadata, data)
    except (SettingsError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); copy or prepare the folder again.") from None


def write_json(path: Path, settings: Any) -> None:
    """Write a dataclass into a file, whole or not at all, and wait until the disk has it."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(to_mapping(settings), indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
