"""`textdiffusion explore masking`: what stays visible of a text at each level of noise."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from ...corruptions import Absorbing
from ...errors import DataError, SettingsError
from ...language_model import load
from ...randomness import RowGenerator
from ...tokens import TextFormat
from ...views.cells import joined
from ...views.masking import PREFIX_SHARE, PREFIXES, SHARES, Masking, masking_table
from ...views.pieces import split_pieces
from ...views.plotting import ENDINGS, require_matplotlib
from ..entered import entered
from ..flags import TEXT, Parser, build
from ..quiet import quiet_libraries
from ..schedules import grid_rows, print_grids

EXAMPLE = "Once upon a time there was a little fox who lived in the forest and loved to read."


@dataclass(frozen=True)
class Experiment:
    """What is masked, and how."""

    model: str | None = None
    """Model whose tokens are masked: folder or Hub id; `starter` when left out."""
    prefix_length: int = 0
    """Leading tokens that are never masked while the level changes."""
    seed: int = 0
    """Seed of the noise."""
    save: Path | None = None
    """Draw the curves of all schedules in a file (.png, .svg or .pdf)."""
    json: bool = False
    """Print one JSON object per line."""

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            SettingsError, DataError: see the message.
        """
        if self.prefix_length < 0:
            raise SettingsError(f"prefix_length is {self.prefix_length}; it must be 0 or more.")
        if self.save is not None and self.save.suffix.lower() not in ENDINGS:
            raise SettingsError(f"cannot draw {self.save.name!r}: the file must end in {', '.join(ENDINGS)}.")
        if self.save is not None and not self.save.parent.is_dir():
            raise DataError(
                f"there is no folder {self.save.parent} to save {self.save.name} in; make it first."
            )


def run(prog: str, argv: Sequence[str]) -> int:
    """Mask a text at each level, then with prefixes of several lengths, and show the schedules."""
    about = "See what stays visible of a text at each level of noise, and what a prefix keeps."
    parser = Parser(prog, about, takes="TEXT")
    parser.add_fields(Experiment)
    given = parser.read(argv)
    experiment, text = build(Experiment, given), entered(given.get(TEXT, EXAMPLE), "")
    if experiment.save is not None:
        require_matplotlib()  # an extra, which need not be there
    quiet_libraries()
    text_format = (load() if experiment.model is None else load(experiment.model)).format
    ids = text_format.prompt(text)[len(text_format.prompt("")) :]
    if not ids:
        raise SettingsError("there is nothing to mask; give a text of one word at least.")
    levels = [(share, experiment.prefix_length) for share in SHARES]
    maskings = [
        masked(ids, share, prefix, text_format.mask_id, experiment.seed)
        for share, prefix in [*levels, *((PREFIX_SHARE, prefix) for prefix in PREFIXES)]
    ]
    _print(text_format, ids, maskings, as_json=experiment.json)
    if experiment.save is not None:
        from .curves import save_curves

        save_curves(experiment.save)
        Console(stderr=True).print(f"saved {experiment.save}", markup=False, highlight=False, soft_wrap=True)
    return 0


def masked(ids: Sequence[int], share: float, prefix: int, mask_id: int, seed: int) -> Masking:
    """The text after noise at a fixed rate struck everything behind the prefix.

    The same seed strikes the same places first, so that a lower level shows all that a higher one did.
    """
    corruption = Absorbing(mask_id)
    time = corruption.schedule.inverse(torch.tensor([[1.0 - share]], dtype=torch.float64))
    struck = corruption.corrupt(torch.tensor([ids]), time, RowGenerator.for_rows([seed])).hit[0].tolist()
    spared = min(prefix, len(ids))
    return Masking(share, spared, (False,) * spared + tuple(struck[spared:]))


def _print(
    text_format: TextFormat, ids: Sequence[int], maskings: Sequence[Masking], *, as_json: bool
) -> None:
    pieces = [piece or "" for piece in split_pieces(ids, [False] * len(ids), text_format.decode)]
    if as_json:
        for masking in maskings:
            print(json.dumps(_plain(masking, pieces), ensure_ascii=False))
        for row in grid_rows():
            print(json.dumps(row))
        return
    console = Console(highlight=False)
    console.print(masking_table(pieces, maskings, console.width), "")
    print_grids(console)


def _plain(masking: Masking, pieces: Sequence[str]) -> dict[str, object]:
    return {
        "kind": "masking",
        "level": masking.share,
        "prefix": masking.prefix,
        "masked": sum(masking.masked),
        "tokens": len(masking.masked),
        "text": joined(masking.cells(pieces)),
    }
