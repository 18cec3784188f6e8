"""The folder that a contest leaves behind."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from ...errors import DataError
from ...evaluation.completion.contest import Result
from ...evaluation.completion.plot import drawn
from ...evaluation.completion.report import PUBLISHED, log, markdown
from ...views.files import write_whole

LOGS = "experiment"
"""Folder of the log files, as published."""


def save_report(
    folder: Path,
    prog: str,
    setup: Mapping[str, str],
    results: Sequence[Result],
    blanks: bytes,
    device: str,
) -> Iterator[Path]:
    """Write the report, the numbers, the plot, the blanks and the log files; each path as it is written.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    stamp = datetime.now()
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot make {folder / LOGS}: {error.strerror}. Give another --save.") from error
    quoted = {"published": PUBLISHED}
    numbers = {
        "setup": dict(setup),
        "results": [{**result.row, "samples": [asdict(s) for s in result.samples]} for result in results],
    }
    files = {
        "blanks.jsonl": blanks,
        "results.json": json.dumps(numbers, ensure_ascii=False, indent=1).encode(),
        "results.md": markdown(f"Completion by `{prog}`", setup, results, quoted).encode(),
        "accuracy.png": drawn([result.row for result in results], quoted),
    }
    for result in results:
        name, lines = log(result, device, stamp)
        files[f"{LOGS}/{name}"] = lines.encode()
    for name, content in files.items():
        write_whole(folder / name, content)
        yield folder / name
