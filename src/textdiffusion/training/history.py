"""What a training has logged, read back from its newest checkpoint."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .levels import ACCURACY_TO, LOSS_AT
from .resume import CHECKPOINTS, STATE, checkpoints, last_checkpoint

HELD_OUT = "eval_"
"""What transformers puts before the figures of held-out text."""
Row = Mapping[str, Any]
"""A `step` and figures of it: `loss`, `accuracy`, losses by level, accuracies by bucket, and others."""


@dataclass(frozen=True)
class History:
    """The reports of a training, oldest first."""

    name: str
    """Of its folder."""
    trained: Sequence[Row]
    """Of the text that was learnt from, each the mean since the report before."""
    held_out: Sequence[Row]
    """Of held-out text, with the `standard_error` of the loss over the texts; under the same names."""

    @property
    def best(self) -> Row | None:
        """The measurement of held-out text with the lowest loss, if there is one."""
        return min(self.held_out, key=lambda row: float(row["loss"]), default=None)


def by_level(row: Row) -> dict[float, float]:
    """Loss by the share of the text that is masked, in nats per masked token."""
    return _shares(row, LOSS_AT)


def by_bucket(row: Row) -> dict[float, float]:
    """Accuracy on masked tokens by the upper edge of the bucket of that share."""
    return _shares(row, ACCURACY_TO)


def read_history(folder: Path) -> History:
    """The history of the training in a folder, or up to a checkpoint that is named itself.

    Raises:
        DataError: there is no whole checkpoint.
    """
    inside = folder if checkpoints(folder) else folder / CHECKPOINTS
    newest = folder if (folder / STATE).is_file() else last_checkpoint(inside)
    try:
        entries = json.loads((newest / STATE).read_text(encoding="utf-8"))["log_history"] if newest else None
    except (OSError, ValueError, KeyError, TypeError):
        entries = None
    if entries is None:
        raise DataError(
            f"there is no training in {folder}: its reports lie in {CHECKPOINTS}/, in a checkpoint that is "
            "whole; name the --output of a training."
        )
    reports = [entry for entry in entries if "loss" in entry]
    measured = [entry for entry in entries if f"{HELD_OUT}loss" in entry]
    own = [{key.removeprefix(HELD_OUT): value for key, value in entry.items()} for entry in measured]
    return History(folder.resolve().name, reports, own)


def _shares(row: Row, prefix: str) -> dict[float, float]:
    found = {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}
    return dict(sorted((int(percent) / 100, float(value)) for percent, value in found.items()))
