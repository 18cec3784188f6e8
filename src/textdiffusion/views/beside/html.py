"""One web page that plays several texts on one clock, complete in itself."""

from html import escape
from pathlib import Path

from ..cells import visible
from ..files import write_whole
from ..html import changes, embedded, filled
from .comparison import Comparison


def page(comparison: Comparison) -> str:
    """The page as text; it loads nothing from anywhere."""
    labels = [contestant.label for contestant in comparison.contestants]
    parts = {
        "@TITLE@": escape(" and ".join(labels)),
        "@TEXT@": "".join(
            f'<h2>{escape(contestant.label)}</h2><p class="text">{escape(visible(contestant.trace.text))}</p>'
            for contestant in comparison.contestants
        ),
        "@COMPARISON@": embedded(
            {
                "speed": comparison.speed,
                "seconds": comparison.seconds,
                "contestants": [
                    {
                        **changes(contestant.trace),
                        "label": contestant.label,
                        "unit": contestant.unit,
                        "pace": contestant.speed,
                    }
                    for contestant in comparison.contestants
                ],
            }
        ),
    }
    return filled("comparison.html", parts)


def save_html(comparison: Comparison, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        DataError: the folder is missing or not writable.
    """
    write_whole(path, page(comparison).encode())
