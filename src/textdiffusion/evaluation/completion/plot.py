"""The accuracies of all entrants by ratio, as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...views import plotting
from ..intervals import Row
from .report import Quoted, headline


def drawn(rows: Sequence[Row], quoted: Mapping[str, Sequence[Quoted]]) -> bytes:
    """A PNG with a panel for each protocol; bars are 95 % intervals, dotted lines others' numbers."""
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    figure = plotting.new_figure(6.5 * len(protocols) + 2.5, 5.0)
    panels = figure.subplots(1, len(protocols), squeeze=False)[0]
    names = list(dict.fromkeys(row["name"] for row in rows))
    for panel, protocol in zip(panels, protocols, strict=True):
        own = [row for row in rows if row["protocol"] == protocol]
        for number, name in enumerate(names):
            line = [row for row in own if row["name"] == name]
            _draw(panel, line, name, f"C{number % 10}", (number - (len(names) - 1) / 2.0) * 0.004)
        for other, shade in zip(quoted.get(protocol, ()), ("0.35", "0.65"), strict=False):
            ratios = [ratio for ratio in other.accuracies if ratio in {row["ratio"] for row in own}]
            values = [other.accuracies[ratio] for ratio in ratios]
            panel.plot(ratios, values, color=shade, linestyle=":", label=f"{other.name} (quoted)")
        panel.set(title=protocol, xlabel="share hidden", ylabel=f"{headline(own[0])} accuracy, %")
        panel.set_ylim(bottom=0.0)
        panel.set_xticks(sorted({row["ratio"] for row in own}))
        panel.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for panel in panels:
        handles |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    labels = [*names, *(label for label in handles if label not in names)]
    figure.legend([handles[label] for label in labels], labels, loc="outside right upper", fontsize=8)
    return plotting.drawn(figure, "png")


def _draw(panel: Any, line: Sequence[Row], name: str, colour: str, shift: float) -> None:
    """One entrant, a little beside the others so that intervals stay apart."""
    measure = headline(line[0])
    values = [100.0 * row[measure] for row in line]
    spans = [
        [0.0 if row[end] is None else abs(100.0 * row[end] - 100.0 * row[measure]) for row in line]
        for end in (f"{measure}_low", f"{measure}_high")
    ]
    places = [row["ratio"] + shift for row in line]
    look = {"color": colour, "marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.2}
    panel.errorbar(places, values, yerr=spans, label=name, **look)
