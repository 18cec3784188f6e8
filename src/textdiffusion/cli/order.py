"""What a user asks of `generate` and `fill`, read from flags and checked before a model is loaded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..generation import Decoding
from ..samplers import SAMPLERS, setting_fields
from ..settings import check_at_least_one
from ..views import Drawing, saver_for
from ..views.fonts import choose_files
from .flags import TEXT, Parser, build, own, rest
from .model import ModelChoice


@dataclass(frozen=True)
class Order(ModelChoice):
    """Everything but the text and the settings of the decoding."""

    num_samples: int = 1
    """Texts to write, all at once."""
    seed: int = 0
    """Seed of the first text; each further one takes the next, and can be repeated alone by it."""
    compile: bool = False
    """Compile the layers with torch.compile first; it pays on GPUs and for long runs, seldom on a CPU."""
    classifier: str | None = None
    """Folder or Hub id of a classifier, of the model's tokens, that steers what is written; see `label`."""
    label: str | None = None
    """The classifier's label that the texts shall have."""
    watch: bool = False
    """Show the text as it condenses."""
    delay: float | None = None
    """Least seconds between two steps of --watch; 0.05 at a terminal and 0 elsewhere when left out."""
    save: tuple[Path, ...] = ()
    """Save all steps: an animation (.gif, .html), a picture (.png) or data (.json); may be repeated."""
    font_path: Path | None = None
    """Font for pictures; one that has the characters is found when left out."""
    json: bool = False
    """Print one JSON object per text on standard output, and nothing else there."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the work is done.

        Raises:
            SettingsError, DataError: see the message.
        """
        check_at_least_one(self, "num_samples")
        if (self.classifier is None) != (self.label is None):
            raise SettingsError("--classifier and --label belong together: give both or neither.")
        if self.delay is not None and not self.watch:
            raise SettingsError("--delay is the pace of --watch; give both or neither.")
        for path in self.save:
            saver_for(path)
        if self.font_path is not None:
            choose_files("", "", self.font_path)

    @property
    def seeds(self) -> list[int]:
        """A seed for each text."""
        return [self.seed + i for i in range(self.num_samples)]

    @property
    def drawing(self) -> Drawing:
        """How pictures look."""
        return Drawing(font_path=self.font_path)

    def files(self, number: int) -> Iterator[Path]:
        """Where text `number` (from 0) is saved; several texts are told apart by their number (from 1)."""
        for path in self.save:
            yield path if self.num_samples == 1 else path.with_stem(f"{path.stem}-{number + 1}")


def parser_for(
    prog: str,
    about: str,
    argv: Sequence[str],
    *,
    takes: str,
    others: Sequence[type] = (),
    skip: Collection[str] = (),
) -> Parser:
    """The parser of a command that writes text; a sampler named in `argv` adds its own settings.

    `takes` is the name of the text in the help; `others` hold flags of the command alone, which has none of
    those to `skip`.
    """
    parser = Parser(prog, f"{about} {takes} is asked for or read from a pipe when left out.", takes=takes)
    for cls in (*others, Order):
        parser.add_fields(cls, skip=skip)
    add_decoding(parser, argv)
    return parser


def add_decoding(parser: Parser, argv: Sequence[str]) -> None:
    """Add flags for the settings of a decoding; a sampler named in `argv` adds its own."""
    parser.add_fields(Decoding, title="decoding", skip={"settings"})
    sampler = _sampler_in(parser.prog, argv)
    rows = {} if sampler is None else setting_fields(SAMPLERS[sampler].sampler)
    if rows:
        group = parser.add_argument_group(f"settings of the sampler {sampler}")
        for name, (cls, value) in rows.items():
            parser.add_setting(group, cls, name, value)


def read_order(
    parser: Parser, argv: Sequence[str], others: Sequence[type] = ()
) -> tuple[Order, dict[str, Any], dict[str, Any]]:
    """The order, the options of the decoding, and what belongs to the command alone (`others` and its text).

    Raises:
        UnknownNameError, SettingsError, DataError: something in it cannot work.
    """
    given = parser.read(argv, elsewhere=settings_elsewhere())
    mine = {name for cls in others for name in own(cls, given)} | {TEXT}
    options = rest(given, (*others, Order))
    Decoding().changed(options).recipe()  # raises now what would be raised after loading
    return build(Order, given), options, {name: given[name] for name in mine if name in given}


def _sampler_in(prog: str, argv: Sequence[str]) -> str | None:
    first = Parser(prog, "", add_help=False)  # so that --help shows the settings of the sampler too
    first.add_argument("--sampler")
    known, _ = first.parse_known_args(argv)
    sampler: str | None = vars(known).get("sampler")
    return sampler


def settings_elsewhere() -> Mapping[str, str]:
    """A hint for each flag that is a setting of some sampler: of which."""
    homes: dict[str, list[str]] = {}
    for name, recipe in SAMPLERS.items():
        for setting in setting_fields(recipe.sampler):
            homes.setdefault(f"--{setting.replace('_', '-')}", []).append(name)
    return {flag: f" It belongs to --sampler {' or '.join(names)}." for flag, names in homes.items()}
