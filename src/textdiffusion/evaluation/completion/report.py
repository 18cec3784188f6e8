"""A report in Markdown, and log files in the published form."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..intervals import Row
from .contest import Result, Sample

_SAID = {
    "argmax": "argmax",
    "sampled": "sampled",
    "top_1": "top 1",
    "top_5": "top 5",
    "top_10": "top 10",
    "words_argmax": "argmax, words",
    "punctuation_argmax": "argmax, punctuation",
    "words_sampled": "sampled, words",
    "punctuation_sampled": "sampled, punctuation",
    "character_f1": "character F1",
    "difference": "against the first",
}


@dataclass(frozen=True)
class Quoted:
    """Numbers that others published, in percent by ratio; not measured here."""

    name: str
    accuracies: Mapping[float, float]


PUBLISHED = (
    Quoted(
        "DiffusionBert with Prefix, 2025",
        {0.1: 54.37, 0.2: 49.97, 0.3: 41.44, 0.4: 35.31, 0.5: 26.25, 0.6: 20.21},
    ),
    Quoted("its GPT-2, not tuned", {0.1: 19.79, 0.2: 16.06, 0.3: 12.81, 0.4: 9.27, 0.5: 7.07, 0.6: 5.11}),
)
QUOTED_SAID = (
    "Rows in italics were measured by others, on other poems of the same kind. Their diffusion model had "
    "been trained on about nine in ten of these, as training and benchmark split the data apart anew."
)


def headline(row: Row) -> str:
    """The measure by which entrants of a protocol are compared."""
    return "argmax" if "argmax" in row else "sampled"


def markdown(
    title: str, setup: Mapping[str, str], results: Sequence[Result], quoted: Mapping[str, Sequence[Quoted]]
) -> str:
    """The whole report; `quoted` are others' numbers by protocol."""
    lines = [f"# {title}", "", *(f"- {name}: {said}" for name, said in setup.items()), ""]
    for protocol in _different(results, "protocol"):
        own = [result for result in results if result.row["protocol"] == protocol]
        lines += [f"## {protocol}", ""]
        lines += _overview([result.row for result in own], quoted.get(protocol, ()))
        for ratio in _different(own, "ratio"):
            lines += _details([result.row for result in own if result.row["ratio"] == ratio], float(ratio))
        lines += _worked(own)
    return "\n".join(lines).rstrip() + "\n"


def log(result: Result, device: str, stamp: datetime) -> tuple[str, str]:
    """Name and content of a log file, as the published benchmark writes it."""
    row = result.row
    label = row["name"] if row["protocol"] == "published" else f"{row['name']}-{row['protocol']}"
    safe = re.sub(r"[^\w.-]+", "-", str(label)).strip("-.").lower()
    content = (
        f"Model: {row['name']}\n"
        f"Device: {device}\n"
        f"Mask ratio: {row['ratio']:.2f}\n"
        f"Total masked tokens: {row['tokens']}\n"
        f"Token accuracy: {100.0 * row[headline(row)]:.2f}%\n"
    )
    return f"{safe}_mask{row['ratio']:.2f}_{stamp:%Y%m%d-%H%M%S}.txt", content


def sample_lines(sample: Sample, number: int) -> list[str]:
    """A worked example, in the published form."""
    return [
        f"Sample {number} accuracy: {100.0 * sample.accuracy:.2f}%",
        f"Original : {sample.original}",
        f"Masked   : {sample.masked}",
        f"Completed: {sample.completed}",
    ]


def percent(row: Row, name: str) -> str:
    """A measure in percent with its interval."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" [{100.0 * low:.1f}, {100.0 * high:.1f}]"
    return f"{100.0 * value:.2f}{ends}"


def _overview(rows: Sequence[Row], quoted: Sequence[Quoted]) -> Iterator[str]:
    ratios = list(dict.fromkeys(row["ratio"] for row in rows))
    measure = headline(rows[0])
    yield f"Accuracy in percent ({_SAID[measure]}) by share of blanks, with 95 % intervals over texts."
    yield ""
    yield from _table_head(["", *(f"{ratio:g}" for ratio in ratios)])
    for name in dict.fromkeys(row["name"] for row in rows):
        by_ratio = {row["ratio"]: percent(row, measure) for row in rows if row["name"] == name}
        yield _line([str(name), *(by_ratio.get(ratio, "") for ratio in ratios)])
    for other in quoted:
        numbers = [f"{other.accuracies[r]:.2f}" if r in other.accuracies else "" for r in ratios]
        yield _line([f"*{other.name}*", *numbers])
    yield ""
    if quoted:
        yield QUOTED_SAID
        yield ""


def _details(rows: Sequence[Row], ratio: float) -> Iterator[str]:
    measures = [name for name in _SAID if any(row.get(name) is not None for row in rows)]
    yield f"### {ratio:g} hidden"
    yield ""
    yield from _table_head(["", "blanks", "tokens", *(_SAID[name] for name in measures)])
    for row in rows:
        counts = [str(row["blanks"]), str(row["tokens"])]
        yield _line([str(row["name"]), *counts, *(percent(row, name) for name in measures)])
    yield ""


def _worked(results: Sequence[Result]) -> Iterator[str]:
    """Worked examples of every entrant at the ratio in the middle."""
    ratios = _different(results, "ratio")
    middle = ratios[len(ratios) // 2 - (len(ratios) % 2 == 0)]
    chosen = [result for result in results if result.row["ratio"] == middle and result.samples]
    if chosen:
        yield f"### Worked examples, {float(middle):g} hidden"
        yield ""
    for result in chosen:
        yield f"**{result.row['name']}**"
        yield ""
        yield "```text"
        for number, sample in enumerate(result.samples, start=1):
            yield from sample_lines(sample, number)
        yield "```"
        yield ""


def _different(results: Sequence[Result], name: str) -> list[Any]:
    return list(dict.fromkeys(result.row[name] for result in results))


def _table_head(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield _line(["---"] + ["---:"] * (len(cells) - 1))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
