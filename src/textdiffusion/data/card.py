"""The card of a data set: what the Hub shows of it, and what people need to know before they use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from .cleaning import REPORT, Cleaning, CleaningReport, read_report, read_rows
from .document_rules import said_of
from .sources import SPLIT_NAMES, available_splits, split_files

CARD = "README.md"
"""Name of the file of the card."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MORE = "n>1M"


@dataclass(frozen=True)
class About:
    """What nobody can read off the files."""

    license: str = ""
    """Terms of use as an identifier of the Hub, e.g. cc0-1.0, or `other`."""
    source: str = ""
    """Where the texts are from, in a sentence or an address."""
    language: str = "zh"
    """Language of the texts."""
    name: str = ""
    """Name of the data set for people; that of the folder when left out."""


@dataclass(frozen=True)
class SplitFigures:
    """What is in a split."""

    split: str
    files: tuple[str, ...]
    """Relative to the folder."""
    documents: int
    characters: int
    """In the texts."""
    authors: int
    fields: tuple[str, ...]


def figures_of(folder: Path) -> tuple[SplitFigures, ...]:
    """The splits of a folder, every document of them read.

    Raises:
        DataError: it holds no files of text, or one is broken.
    """
    found = []
    for split in sorted(available_splits(str(folder)), key=list(SPLIT_NAMES).index):
        files = split_files(str(folder), split)
        documents, characters = 0, 0
        authors, fields = set[str](), dict[str, None]()
        for file in files:
            for row in read_rows(str(file), Cleaning(rules=())):
                documents += 1
                characters += len(row.document.text)
                fields |= dict.fromkeys((*row.columns, row.text_field))
                if author := row.document.fields.get("author"):
                    authors.add(str(author))
        names = tuple(file.relative_to(folder).as_posix() for file in files)
        found.append(SplitFigures(split, names, documents, characters, len(authors), tuple(fields)))
    return tuple(found)


def reports_of(folder: Path) -> Mapping[str, CleaningReport]:
    """The reports of `data clean` that lie in a folder, by the name of their file.

    Raises:
        SettingsError: one cannot be read.
    """
    return {
        path.relative_to(folder).as_posix(): read_report(path) for path in sorted(folder.rglob(f"*{REPORT}"))
    }


def card_of(folder: Path, about: About) -> str:
    """A card in Markdown, with the metadata that the Hub reads.

    Raises:
        SettingsError: the terms of use are not said.
        DataError: the folder holds no files of text, or one is broken.
    """
    if not about.license:
        raise SettingsError(
            "say under which terms others may use the data, e.g. --license cc0-1.0 or --license other; or "
            f"write {folder / CARD} yourself."
        )
    figures = figures_of(folder)
    name = about.name or folder.resolve().name
    parts = [_metadata(name, about, figures), f"# {name}", _provenance(about), _table_of_splits(figures)]
    parts += [_fields(figures), *(_table_of_rules(report) for report in reports_of(folder).values())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(name: str, about: About, figures: Sequence[SplitFigures]) -> str:
    import yaml  # loaded only when a card is made

    documents = sum(each.documents for each in figures)
    data_files = [{"split": each.split, "path": list(each.files)} for each in figures]
    told = {
        "pretty_name": name,
        "license": about.license,
        "language": [about.language],
        "task_categories": ["text-generation"],
        "size_categories": [next((size for most, size in _SIZES if documents < most), _MORE)],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }
    text: str = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---"


def _provenance(about: About) -> str:
    terms = f"Terms of use: {about.license}. Texts may be in copyright of their own; see the source."
    return f"Source: {about.source or 'not said'}\n\n{terms}"


def _table_of_splits(figures: Sequence[SplitFigures]) -> str:
    head = "| split | documents | authors | characters |\n|---|---:|---:|---:|\n"
    rows = (f"| {f.split} | {f.documents:,} | {f.authors:,} | {f.characters:,} |" for f in figures)
    return head + "\n".join(rows)


def _fields(figures: Sequence[SplitFigures]) -> str:
    names = dict.fromkeys(name for each in figures for name in each.fields)
    return "Fields: " + ", ".join(f"`{name}`" for name in names) + "."


def _table_of_rules(report: CleaningReport) -> str:
    head = (
        f"## Cleaning of {Path(report.source).name}\n\n"
        f"{report.read:,} documents were read and {report.kept:,} kept, by `textdiffusion data clean`:\n\n"
        "| rule | changed | dropped | added | takes away |\n|---|---:|---:|---:|---|\n"
    )
    rows = (
        f"| {count.rule} | {count.changed:,} | {count.dropped:,} | {count.added:,} | {_said(count.rule)} |"
        for count in report.rules
    )
    return head + "\n".join(rows)


def _said(rule: str) -> str:
    return said_of(rule).replace("|", "\\|")
