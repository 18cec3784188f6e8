"""`textdiffusion data inspect`: what a folder of arrays says of itself, and some of its text."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console

from ...checkpoint import load_tokenizer
from ...data.prepared import PreparedFolder, open_prepared
from ...errors import SettingsError
from ...settings import to_mapping
from ..flags import TEXT, Parser, build
from ..quiet import quiet_libraries
from .figures import arrays_table


@dataclass(frozen=True)
class Look:
    """What is shown."""

    split: str = "train"
    """Split that the samples are from."""
    samples: int = 5
    """Samples to show: rows, or windows of 64 tokens of a packed array."""
    seed: int = 0
    """Of their choice."""
    verify: bool = False
    """Read every byte, and compare it with what was written."""
    interactive: bool = False
    """Show a sample, and another at each Enter."""
    json: bool = False
    """Print one JSON object per line: the metadata, then the samples."""

    def __post_init__(self) -> None:
        """Refuse what cannot be shown.

        Raises:
            SettingsError: see the message.
        """
        for name in ("samples", "seed"):
            if self.__dict__[name] < 0:
                raise SettingsError(f"{name} is {self.__dict__[name]}; it must be 0 or more.")
        if self.interactive and (self.json or not sys.stdin.isatty()):
            raise SettingsError("--interactive is for a terminal; leave it out with --json and in pipes.")


@dataclass(frozen=True)
class Sample:
    """A piece of an array."""

    split: str
    row: int
    token_ids: list[int]
    text: str
    """With its special tokens."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Look into the folder that `argv` names."""
    parser = Parser(prog, "Show what a folder of arrays holds, and some of its text.", takes="FOLDER")
    parser.add_fields(Look)
    given = parser.read(argv)
    look = build(Look, given)
    if TEXT not in given:
        raise SettingsError("no folder to look into; name one that `textdiffusion data prepare` made.")
    folder = open_prepared(given[TEXT])
    folder.split(look.split)  # raises before anything is printed
    if look.verify:
        folder.verify()
    quiet_libraries()
    samples = read_samples(folder, look)
    if look.json:
        print(json.dumps(to_mapping(folder.metadata)))
        for sample in islice(samples, look.samples):
            print(json.dumps(to_mapping(sample)))
        return 0
    console = Console(highlight=False)
    _print_metadata(folder, console, verified=look.verify)
    shown = _asked_for(samples, console) if look.interactive else islice(samples, look.samples)
    for sample in shown:
        console.print(f"\n{sample.split} {sample.row:,}: {len(sample.token_ids)} tokens", style="bold")
        console.print(sample.text, markup=False, soft_wrap=True)
    return 0


def read_samples(folder: PreparedFolder, look: Look) -> Iterator[Sample]:
    """Samples of a split, without their padding, until all was shown."""
    tokenizer = load_tokenizer(str(folder.tokenizer))
    for row, ids in folder.split(look.split).samples(look.seed):
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # a list only comes back for a batch
        yield Sample(look.split, row, ids, text)


def _asked_for(samples: Iterator[Sample], console: Console) -> Iterator[Sample]:
    """The next sample at each Enter; any word ends it."""
    for sample in samples:
        yield sample
        try:
            if console.input("[dim]Enter shows another, q ends: [/dim]").strip():
                return
        except EOFError:
            return


def _print_metadata(folder: PreparedFolder, console: Console, *, verified: bool) -> None:
    told = folder.metadata
    rows = "" if told.length is None else f", rows of {told.length} tokens"
    lines = {
        "folder": str(folder.path),
        "source": told.source,
        "command": told.command,
        "created": told.created,
        "tokenizer": f"{told.tokenizer.name}, {told.tokenizer.size:,} tokens, sha256 {told.tokenizer.sha256}",
        "arrays": f"{told.kind}{rows}, {told.dtype}" + (", every byte verified" if verified else ""),
        "options": ", ".join(f"{name} {value}" for name, value in told.options.items() if value),
    }
    for name, value in lines.items():
        console.print(f"{name:<10} {value}", markup=False, soft_wrap=True)
    console.print()
    console.print(arrays_table(folder))
