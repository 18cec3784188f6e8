"""Damaged texts given to a model to revise, and how many of their tokens it put right or spoilt."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...drafts import Draft
from ...errors import DataError
from ...language_model import DiffusionLM
from ..intervals import Means, Row, bootstrap, column, ratio
from .damages import DAMAGES, Vocabulary
from .units import Count, Unit

_TOKENS, _DAMAGED, _RESTORED, _BROKEN, _CHANGED, _CALLS = range(6)
"""Columns of a table with a line for each text."""


@dataclass(frozen=True)
class Tried:
    """What became of one text."""

    count: Count
    changed: int
    """Tokens of the draft that were replaced."""
    calls: int
    """Network calls for it alone."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """All of them, in the order of the columns."""
        own = self.count
        return own.tokens, own.damaged, own.restored, own.broken, self.changed, self.calls


def revise_damaged(
    lm: DiffusionLM,
    texts: Sequence[str],
    damage: str,
    share: float,
    *,
    noise_rate: float,
    looks: int,
    seed: int,
    options: Mapping[str, Any],
    progress: Callable[[float], None] | None = None,
) -> list[Tried]:
    """Damage a share of each text and let the model revise it as `textdiffusion revise` would.

    What is damaged hangs on the seed and the text's number alone, not on the model's settings.

    Raises:
        DataError: nothing in the texts can be damaged so.
        UnknownNameError, SettingsError, IncompatibleError: see `DiffusionLM.revision`.
    """
    banned = set(lm.format.banned(lm.vocab_size, learns_end=False)) | {*lm.format.ends, lm.format.mask_id}
    vocabulary = Vocabulary(lm.format, [id for id in range(lm.vocab_size) if id not in banned])
    found = list[Tried]()
    for number, text in enumerate(texts):
        units = DAMAGES[damage](text, share, np.random.default_rng([seed, number]), vocabulary)
        found.append(
            _tried(lm, units, noise_rate=noise_rate, looks=looks, seed=seed + number, options=options)
        )
        if progress is not None:
            progress((number + 1) / len(texts))
    if share > 0.0 and not any(tried.count.damaged for tried in found):
        raise DataError(f"nothing in {len(texts)} texts can be damaged by {damage}; choose another damage.")
    return found


def restored(tried: Sequence[Tried], seed: int) -> Row:
    """Shares over all texts with their errors and intervals, texts being drawn anew.

    `damaged` of all tokens, `restored` of the damaged, `broken` of the others, `gained` (restored less broken
    ones) and `changed` of all; `right_changes`, restored ones by all that were changed.
    """
    table = np.array([each.numbers for each in tried], dtype=np.float64)
    found: Row = {"texts": len(tried), "tokens": sum(each.count.tokens for each in tried)}
    for name, measured in bootstrap(table, _SHARES, seed).items():
        found |= measured.row(name)
    if not any(each.count.damaged for each in tried):  # a share of nothing
        found |= {name: None for name in found if name.startswith("restored")}
    return found


def _of(over: int, *under: int) -> Callable[[Means], Means]:
    """A column by another one, less those that follow."""
    first, *less = under
    return lambda means: ratio(means[..., over], means[..., first] - sum(means[..., name] for name in less))


def _gained(means: Means) -> Means:
    return ratio(means[..., _RESTORED] - means[..., _BROKEN], means[..., _TOKENS])


_SHARES = {
    "damaged": _of(_DAMAGED, _TOKENS),
    "restored": _of(_RESTORED, _DAMAGED),
    "broken": _of(_BROKEN, _TOKENS, _DAMAGED),
    "gained": _gained,
    "changed": _of(_CHANGED, _TOKENS),
    "right_changes": _of(_RESTORED, _CHANGED),
    "calls": column(_CALLS),
}


def _tried(
    lm: DiffusionLM,
    units: Sequence[Unit],
    *,
    noise_rate: float,
    looks: int,
    seed: int,
    options: Mapping[str, Any],
) -> Tried:
    draft = Draft.of_ids([id for unit in units for id in unit.found], lm.format, lm.longest)
    task = lm.revision(draft, noise_rate=noise_rate, looks=looks, seed=seed, options=options)
    (found,) = lm.results(task, list(deque(lm.stream(task), maxlen=1)))
    count, place = Count(), 0
    for unit in units:
        now = found.token_ids[place : place + len(unit.found)]
        count, place = count + unit.count(now, lm.format.decode), place + len(unit.found)
    return Tried(count, len(found.changes), found.nfe)
