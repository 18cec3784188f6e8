"""The checkpoints of a training: which are whole, and which one to go on from."""

import json
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"checkpoint-(\d+)")
CHECKPOINTS = "checkpoints"
"""Their folder in that of a training."""
RECIPE_FILE = "recipe.json"
"""What a checkpoint was trained by; `--config` reads it."""
STATE = "trainer_state.json"
"""What the Trainer writes last, its reports in it; when it can be read, all the rest is there."""


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder; None where there is none."""
    whole = [path for path in checkpoints(folder).values() if is_whole(path)]
    return whole[-1] if whole else None


def remove_halves(folder: Path) -> None:
    """Remove what a crash or a full disk left half-written."""
    for path in checkpoints(folder).values():
        if not is_whole(path):
            remove(path)


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint; what is left of it if that is interrupted does not count as a whole one."""
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end."""
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their step, the oldest first, whole or not."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("checkpoint-*") if path.is_dir())
    return dict(sorted((int(name[1]), path) for name, path in found if name))
