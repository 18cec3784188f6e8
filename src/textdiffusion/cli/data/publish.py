"""`textdiffusion data publish`: a folder of text becomes a data set of the Hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ...data.card import About
from ...data.publish import Publication, plan_publication, publish
from ...errors import SettingsError
from ...settings import to_mapping
from ..flags import TEXT, Parser, build


@dataclass(frozen=True)
class Work:
    """Where it goes."""

    repo: str = ""
    """Name of the data set on the Hub: USER/NAME. It is made if it is not there."""
    private: bool = False
    """Make it one that only you can see; this does not change one that is there."""
    dry_run: bool = False
    """Show the files and the card, and do nothing else: no network, no new file."""
    json: bool = False
    """Print what is or would be uploaded as one JSON object."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Upload the folder that `argv` names."""
    about = (
        "Upload a folder of text to the Hub, with a card. The token is HF_TOKEN, or that of `hf auth login`."
    )
    parser = Parser(prog, about, takes="FOLDER")
    parser.add_fields(Work)
    parser.add_fields(About, title="the card, if there is no README.md")
    given = parser.read(argv)
    work = build(Work, given)
    if TEXT not in given or not work.repo:
        raise SettingsError("give a folder and a name on the Hub: `data publish poems --repo USER/NAME`.")
    plan = plan_publication(Path(given[TEXT]).expanduser(), work.repo, build(About, given))
    if not work.json:
        _print_plan(plan, work, Console(stderr=not work.dry_run, highlight=False))
    address = None if work.dry_run else publish(plan, private=work.private)
    if work.json:
        print(
            json.dumps({"address": address, "private": work.private, **to_mapping(plan)}, ensure_ascii=False)
        )
    elif address is not None:
        print(f"The data set is at {address}")
    return 0


def _print_plan(plan: Publication, work: Work, console: Console) -> None:
    private = ", private if it is new" if work.private else ""
    size = sum(file.bytes for file in plan.files)
    console.print(
        f"{plan.repo}{private}: {len(plan.files)} files, {size:,} bytes", markup=False, soft_wrap=True
    )
    for file in plan.files:
        console.print(f"{file.bytes:>15,}  {file.name}", markup=False, soft_wrap=True)
    if work.dry_run:
        console.print(f"\n{plan.card}", markup=False, soft_wrap=True)
        console.print("Nothing was uploaded, as --dry-run was given.")
