"""Two halves of a training text that share no document, for models and for the judges of their samples."""

import hashlib
import json
from pathlib import Path

from textdiffusion.data.sources import read_documents


def half(data: str, folder: Path, which: int, share: float = 1.0) -> Path:
    """A folder with half 0 or 1 of the training documents, or a share of it.

    Documents of equal text stay together.
    """
    found = folder / (str(which) if share == 1.0 else f"{which}-{share:g}") / "train.jsonl"
    if not found.exists():
        found.parent.mkdir(parents=True, exist_ok=True)
        part = found.with_suffix(".part")
        with part.open("w", encoding="utf-8") as lines:
            for text in read_documents(data, split="train"):
                digest = hashlib.sha256(text.encode()).digest()
                if digest[0] % 2 == which and int.from_bytes(digest[1:4]) < share * 2**24:
                    lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        part.replace(found)
    return found.parent
