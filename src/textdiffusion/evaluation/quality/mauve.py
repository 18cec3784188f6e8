"""MAUVE, by the package of its authors, on features of the scorer."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import SettingsError
from .metric import Material
from .texts import Texts


def mauve(texts: Texts, material: Material) -> float:
    """How much the texts and human ones overlap, 0 to 1 (MAUVE, arXiv:2102.01454).

    Each text is the mean of the scorer's last hidden states over it; both sets are quantised together into a
    tenth as many clusters as there are texts in one, and the divergences of the two histograms make a curve
    whose area this is. Only compare numbers of the same scorer, the same number of texts and the same
    lengths; the authors advise thousands of texts.

    Raises:
        SettingsError: the package is missing, or there are too few human texts to compare with.
    """
    compute = _library()
    if len(material.human) < 2:
        raise SettingsError(
            "mauve compares with human texts beside those that are measured, and none are left: lower "
            "--limit, or give more --data."
        )
    ours, theirs = (material.judge.features(each) for each in (texts, material.human))
    with _silence():
        return float(compute(p_features=ours, q_features=theirs, verbose=False).mauve)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error: its clustering wants more points for each cluster than MAUVE ever has."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _library() -> Callable[..., Any]:
    try:
        from mauve import compute_mauve  # an extra, under a licence of its own
    except ImportError as error:
        raise SettingsError(
            "mauve needs mauve-text; install textdiffusion[mauve], or leave it out of --metrics."
        ) from error
    found: Callable[..., Any] = compute_mauve
    return found
