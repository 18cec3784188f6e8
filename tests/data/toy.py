"""A tokenizer of bytes that any process loads in no time, and preparations with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textdiffusion.data.prepared import Plan, PreparedFolder, Tokenising, Vocabulary, prepare

PAD, BEGIN, END = 0, 1, 2
SIZE = 3 + 256


def encode(texts: list[str]) -> list[list[int]]:
    """Begin, three more than each byte, end."""
    return [[BEGIN, *(3 + byte for byte in text.encode()), END] for text in texts]


def save(folder: Path) -> None:
    """What stands for a copy of the tokenizer."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def toy(**changes: Any) -> Tokenising:
    """The tokenizer, with some of what it says of itself changed."""
    told = {"name": "toy", "sha256": "0", "size": SIZE, "begin_id": BEGIN, "end_id": END, "pad_id": PAD}
    return Tokenising(Vocabulary(**{**told, **changes}), encode, save)


def write_jsonl(path: Path, texts: Sequence[str]) -> str:
    """A file of the texts, one a line."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def make(folder: Path, texts: Sequence[str], name: str = "arrays", **options: Any) -> PreparedFolder:
    """The texts prepared in a folder; options are those of the plan, or of `prepare`."""
    folder.mkdir(exist_ok=True)
    own = ("workers", "engine", "resume", "watch", "command")
    how = {key: options.pop(key) for key in own if key in options}
    source = options.pop("source", None) or write_jsonl(folder / f"{name}.jsonl", texts)
    tokenising = options.pop("tokenising", toy())
    return prepare(Plan(source=source, **options), folder / name, tokenising, **how)


def arrays(folder: PreparedFolder | Path) -> dict[str, bytes]:
    """The bytes of each array."""
    path = folder if isinstance(folder, Path) else folder.path
    return {file.stem: file.read_bytes() for file in sorted(path.glob("*.bin"))}
