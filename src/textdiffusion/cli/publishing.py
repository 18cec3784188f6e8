"""What the commands that upload something to the Hub share."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from ..data.publish import Publication, publish
from ..errors import SettingsError
from ..settings import to_mapping
from .flags import TEXT, Parser, build

About = TypeVar("About")


@dataclass(frozen=True)
class Work:
    """Where it goes."""

    repo: str = ""
    """Name on the Hub: USER/NAME. It is made if it is not there."""
    private: bool = False
    """Make it one that only you can see; this does not change one that is there."""
    dry_run: bool = False
    """Show the files and the card, and do nothing else: no network, no new file."""
    json: bool = False
    """Print what is or would be uploaded as one JSON object."""


def upload(
    prog: str,
    argv: Sequence[str],
    what: str,
    about: type[About],
    plan: Callable[[Path, str, About], Publication],
) -> int:
    """Upload the folder that `argv` names, `what` it is, as `plan` has it with what is said about it."""
    parser = Parser(
        prog,
        f"Upload {what} to the Hub, with a card. The token is HF_TOKEN, or that of `hf auth login`.",
        takes="FOLDER",
    )
    parser.add_fields(Work)
    parser.add_fields(about, title="the card, if there is no README.md")
    given = parser.read(argv)
    work = build(Work, given)
    if TEXT not in given or not work.repo:
        raise SettingsError(f"give a folder and a name on the Hub: `{prog} FOLDER --repo USER/NAME`.")
    planned = plan(Path(given[TEXT]).expanduser(), work.repo, build(about, given))
    if not work.json:
        _print(planned, work, Console(stderr=not work.dry_run, highlight=False))
    address = None if work.dry_run else publish(planned, private=work.private)
    if work.json:
        told = {"address": address, "private": work.private, **to_mapping(planned)}
        print(json.dumps(told, ensure_ascii=False))
    elif address is not None:
        print(f"Now at {address}")
    return 0


def _print(planned: Publication, work: Work, console: Console) -> None:
    private = ", private if it is new" if work.private else ""
    size = sum(file.bytes for file in planned.files)
    console.print(
        f"{planned.repo}{private}: {len(planned.files)} files, {size:,} bytes", markup=False, soft_wrap=True
    )
    for file in planned.files:
        console.print(f"{file.bytes:>15,}  {file.name}", markup=False, soft_wrap=True)
    if work.dry_run:
        console.print(f"\n{planned.card}", markup=False, soft_wrap=True)
        console.print("Nothing was uploaded, as --dry-run was given.")
