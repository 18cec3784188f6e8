"""How `evaluate generation` shows and saves what it found."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...evaluation.intervals import Measured
from ...evaluation.quality.judging import told
from ...evaluation.quality.study import Judged, Study
from ...language_model import DiffusionLM
from ...views.files import write_whole, writer_for
from ...views.frontier import Norm, Point, save_frontier
from ...views.plotting import ENDINGS, require_matplotlib

_ENTROPY = "token-entropy"
_AT_ONCE = 4
"""Metrics in a table, so that it fits into a terminal."""


def check_savers(paths: Sequence[Path]) -> None:
    """Refuse files that nothing can be written in.

    Raises:
        SettingsError: of that ending, or without the library that draws.
        DataError: in a folder that is not there.
    """
    for path in paths:
        if writer_for(path, _SAVERS) is _draw:
            require_matplotlib()


def save(path: Path, study: Study, found: Sequence[Judged]) -> None:
    """Write the picture, or the rows with all texts, as the ending says.

    Raises:
        DataError: the file cannot be written.
    """
    writer_for(path, _SAVERS)(path, study, found)


def show(study: Study, found: Sequence[Judged], lm: DiffusionLM, notes: Console, *, as_json: bool) -> None:
    """Rows on standard output; what should be known of them beside it."""
    if as_json:
        for each in (study.human, *found):
            print(json.dumps(row_of(study, each, lm)))
    else:
        _print(study, found)
    for line in (
        *told((doubt for each in found for doubt in each.suspicions), study.metrics),
        *_known(study, found, lm),
    ):
        notes.print(line, markup=False, soft_wrap=True)


def row_of(study: Study, judged: Judged, lm: DiffusionLM) -> dict[str, object]:
    """One line of JSON."""
    scorer = study.material.scorer
    told: dict[str, object] = {"model": lm.name, "scorer": None, "scorer_exact": None, "same_tokenizer": None}
    if scorer is not None:
        told |= {"scorer": scorer.lm.name, "scorer_exact": scorer.exact, "same_tokenizer": scorer.same_ids}
    return {**told, "quality": study.quality, **judged.row()}


def _print(study: Study, found: Sequence[Judged]) -> None:
    console, names = Console(highlight=False), [name for name in study.metrics if name != study.quality]
    table = Table("", "calls", "seconds a text", "best by", f"{study.quality}")
    for each in (study.human, *found):
        table.add_row(Text(each.name), *_cost(each), _cell(each, study.quality or ""))
    console.print(table)
    for first in range(0, len(names), _AT_ONCE):
        own = names[first : first + _AT_ONCE]
        table = Table("", *own)
        for each in (study.human, *found):
            table.add_row(Text(each.name), *(_cell(each, name) for name in own))
        console.print(table)


def _cost(judged: Judged) -> tuple[str, str, str]:
    if judged.written is None:
        return "", "", ""
    seconds = judged.written.seconds
    marks = {"calls": judged.best_by_calls, "seconds": judged.best_by_seconds}
    spread = f"({min(seconds):.3g}-{max(seconds):.3g})"
    best = ", ".join(name for name, here in marks.items() if here)
    return f"{judged.written.nfe:.1f}", f"{judged.written.median:.3g} {spread}", best


def _cell(judged: Judged, name: str) -> str:
    figure = judged.figures[name]
    doubtful = any(each.metric == name for each in judged.suspicions)
    error = "" if figure.error is None else f" ± {figure.error:.2g}"
    return f"{figure.value:.3g}{error}{' !' if doubtful else ''}"


def _known(study: Study, found: Sequence[Judged], lm: DiffusionLM) -> Iterator[str]:
    """What a reader of the figures should know."""
    scorer = study.material.scorer
    if scorer is None:
        yield "no --scorer: likelihood is not measured"
    else:
        if scorer.lm is lm:
            yield "the scorer is the model itself, which finds its own slips likely: name another one"
        if not scorer.exact:
            yield f"{scorer.lm.name} knows no likelihood, but a bound: perplexity is at most what is shown"
        if not scorer.same_ids:
            yield f"{scorer.lm.name} reads the text by its own tokenizer, whose tokens perplexity is of"
    for name, metric in study.metrics.items():
        if len(study.human.texts) < metric.least:
            yield f"{name} of {len(study.human.texts)} texts says little; take {metric.least:,} or more"
        unseen = [guard for guard in metric.guards if guard not in study.metrics]
        if unseen and len(unseen) == len(metric.guards):
            yield (
                f"{name} may deceive ({metric.gamed}), and nothing that would show it is measured: add "
                f"{unseen[0]}"
            )
    if any(each.written is not None and len(each.written.seconds) < 2 for each in found):
        yield "seconds are those of a single round; lower --batch for more rounds"
    yield (
        "± is the standard error over texts; ! may deceive, see above. Variety hangs on how many texts there "
        "are and how long: only compare what had equal room."
    )


def _draw(path: Path, study: Study, found: Sequence[Judged]) -> None:
    assert study.quality is not None
    points = [_point(study, each) for each in found]
    value, entropy = study.human.figures[study.quality], study.human.figures.get(_ENTROPY)
    norm = Norm(value.value, value.low, value.high, None if entropy is None else entropy.value)
    save_frontier(path, points, norm, f"{study.quality} (hollow: may deceive)")


def _point(study: Study, judged: Judged) -> Point:
    assert judged.written is not None and study.quality is not None
    figure: Measured = judged.figures[study.quality]
    entropy = judged.figures.get(_ENTROPY)
    group, _, label = judged.name.partition(", ")
    return Point(
        group,
        label.replace(" steps", ""),
        judged.written.nfe,
        judged.written.median,
        figure.value,
        None if entropy is None else entropy.value,
        figure.low,
        figure.high,
        study.believed(judged),
        best_by_calls=judged.best_by_calls,
        best_by_seconds=judged.best_by_seconds,
    )


def _keep(path: Path, study: Study, found: Sequence[Judged]) -> None:
    content = {
        "rows": [each.row() for each in (study.human, *found)],
        "texts": {
            each.name: [
                {"prompt": prompt, "text": text}
                for prompt, text in zip(each.texts.prompts, each.texts.texts, strict=True)
            ]
            for each in (study.human, *found)
        },
    }
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=1).encode())


_SAVERS: Mapping[str, Callable[[Path, Study, Sequence[Judged]], None]] = {
    ".json": _keep,
    **dict.fromkeys(ENDINGS, _draw),
}
