"""`textdiffusion data crawl`: from a site of poems to a file of JSON lines."""

import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ...data.crawling import CrawlReport, Limits, Manners, crawl, find_site
from ...errors import SettingsError
from ...registry import did_you_mean
from ...settings import to_mapping
from ..flags import TEXT, Parser, build

LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")


@dataclass(frozen=True)
class Work:
    """Where the poems go, and what is said meanwhile."""

    output: Path = Path("modern_poems.jsonl")
    """File for the poems; it must not exist."""
    resume: bool = False
    """Go on with a crawl that was interrupted; give the same options."""
    log_level: str = "INFO"
    """What is said on standard error: CRITICAL, ERROR, WARNING, INFO (each page) or DEBUG."""
    json: bool = False
    """Print what was found as one JSON object."""

    def __post_init__(self) -> None:
        """Refuse a level that there is not.

        Raises:
            SettingsError: see the message.
        """
        if self.log_level.upper() not in LEVELS:
            near = did_you_mean(self.log_level.upper(), LEVELS)
            raise SettingsError(
                f"there is no log level {self.log_level!r}.{near} Known: {', '.join(LEVELS)}."
            )


def run(prog: str, argv: Sequence[str]) -> int:
    """Crawl the site that `argv` names."""
    about = "Collect the poems of a site: a YAML file that describes it, or the name of one that comes along."
    parser = Parser(prog, about, takes="SITE")
    parser.add_fields(Work)
    parser.add_fields(Limits, title="how much")
    parser.add_fields(Manners, title="manners")
    given = parser.read(argv)
    work, limits, manners = build(Work, given), build(Limits, given), build(Manners, given)
    if TEXT not in given:
        raise SettingsError("no site to crawl; name a YAML file that describes it, or `shigeku`.")
    site = find_site(given[TEXT])
    with _logged(work.log_level):
        try:
            report = crawl(site, work.output, limits=limits, manners=manners, resume=work.resume)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command with --resume goes on.") from None
    if work.json:
        print(json.dumps({"output": str(work.output), **to_mapping(report)}, ensure_ascii=False))
        return 0
    _print_skipped(report, Console(stderr=True, highlight=False))
    print(f"{report.poems:,} poems of {report.authors:,} authors are in {work.output}. Clean them:")
    print(f"  textdiffusion data clean {shlex.quote(str(work.output))} --output poems/train.jsonl")
    return 0


def _print_skipped(report: CrawlReport, notes: Console) -> None:
    counts = {
        **{f"pages skipped, {reason}": count for reason, count in report.skipped.items()},
        "pages of authors without a poem": report.without_poems,
        "links to other hosts, not followed": report.links_off_site,
    }
    for name, count in counts.items():
        if count:
            notes.print(f"{count:,} {name}", markup=False, soft_wrap=True)


@contextmanager
def _logged(level: str) -> Iterator[None]:
    """Let the crawler speak on standard error, and nobody else."""
    logger, handler = logging.getLogger("textdiffusion.data.crawling"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
