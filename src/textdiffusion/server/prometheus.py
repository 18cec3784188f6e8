"""Numbers of the server in the text form of Prometheus."""

import dataclasses
from collections import Counter
from pathlib import Path

from ..serving import Metrics
from ..serving.metrics import Spread
from ..settings import field_docs

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GAUGES = {"queued", "running"}
_STATEMENT = Path("/proc/self/statm")


def exposition(metrics: Metrics, answers: Counter[tuple[str, int]]) -> str:
    """The engine's numbers, and answers by address and status."""
    texts, lines = field_docs(Metrics), list[str]()
    for entry in dataclasses.fields(metrics):
        value = metrics.__dict__[entry.name]
        about = texts.get(entry.name, f"Requests that {entry.name}.")
        if isinstance(value, Spread):
            name = f"textdiffusion_{entry.name}_seconds"
            lines += _head(name, "gauge", f"{about} Of the last requests, in seconds.")
            lines += [f'{name}{{quantile="{q}"}} {v!r}' for q, v in ((0.5, value.p50), (0.95, value.p95))]
        else:
            gauge = entry.name in _GAUGES
            name = f"textdiffusion_{entry.name}" + ("" if gauge else "_total")
            lines += [*_head(name, "gauge" if gauge else "counter", about), f"{name} {value!r}"]
    name = "textdiffusion_http_answers_total"
    lines += _head(name, "counter", "Answers by address and status.")
    lines += [
        f'{name}{{path="{path}",status="{status}"}} {n}' for (path, status), n in sorted(answers.items())
    ]
    resident = resident_bytes()
    if resident is not None:
        name = "process_resident_memory_bytes"
        lines += [*_head(name, "gauge", "Resident memory in bytes."), f"{name} {resident}"]
    return "\n".join(lines) + "\n"


def resident_bytes() -> int | None:
    """Memory of this process that is in use; None where the system does not say it so."""
    try:
        import resource

        return int(_STATEMENT.read_text().split()[1]) * resource.getpagesize()
    except (OSError, ImportError):
        return None


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
