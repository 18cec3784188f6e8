"""Two halves of a training text that share no document, for models and for the judges of their samples."""

import hashlib
import json
from pathlib import Path

from textdiffusion.data.sources import read_documents


def half(data: str, folder: Path, which: int) -> Path:
    """A folder with half 0 or 1 of the training documents; documents of equal text are in the same half."""
    found = folder / str(which) / "train.jsonl"
    if not found.exists():
        found.parent.mkdir(parents=True, exist_ok=True)
        part = found.with_suffix(".part")
        with part.open("w", encoding="utf-8") as lines:
            for text in read_documents(data, split="train"):
                if hashlib.sha256(text.encode()).digest()[0] % 2 == which:
                    lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        part.replace(found)
    return found.parent
