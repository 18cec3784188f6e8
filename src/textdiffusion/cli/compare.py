"""`textdiffusion compare`: two models, or two ways of decoding, write side by side."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import SettingsError
from ..evaluation.turns import Run, first_settled, middle, seconds_of, take_turns
from ..generation import Decoding
from ..language_model import DiffusionLM, Generation, Task
from ..settings import check_at_least_one
from ..views import Drawing
from ..views.beside import Comparison, Contestant, followable, saver_for
from ..views.beside.terminal import replay
from ..views.cells import one_line, visible
from ..views.fonts import choose_files
from .entered import entered
from .flags import TEXT, Parser, build, rest
from .model import ModelChoice
from .order import add_decoding, settings_elsewhere
from .quiet import quiet_libraries
from .writing import reader_for

HEIGHT = 800
"""Pixels of a GIF from top to bottom; two texts stand in it, one below the other."""


@dataclass(frozen=True)
class Contest:
    """Against whom a model writes, and what is shown of it."""

    baseline: str | None = None
    """Model that it is compared with; the same one when left out."""
    baseline_settings: Mapping[str, Any] = field(default_factory=dict)
    """The baseline's own decoding, e.g. '{sampler: autoregressive, top_k: 50}'; the flags are the model's."""
    length: int = 64
    """New tokens of each text, counted by its own tokenizer."""
    rounds: int = 3
    """Rounds in which both write by turns, after one that warms up; the run of the middle time is shown."""
    seed: int = 0
    """Seed of both texts."""
    speed: float | None = None
    """Measured seconds in one second of what is shown: 1 is real time; one to follow when left out."""
    watch: bool = False
    """Show both texts as they condensed, on one clock."""
    save: tuple[Path, ...] = ()
    """Save an animation (.gif) or a page (.html) of both texts on one clock; may be repeated."""
    font_path: Path | None = None
    """Font for pictures; one that has the characters is found when left out."""
    json: bool = False
    """Print one JSON object per contestant on standard output, and nothing else there."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the work is done.

        Raises:
            SettingsError, DataError: see the message.
        """
        check_at_least_one(self, "length", "rounds")
        if self.speed is not None and not 0.0 < self.speed < float("inf"):
            raise SettingsError(f"speed is {self.speed}; give a number above 0, 1 for real time.")
        for path in self.save:
            saver_for(path)
        if self.font_path is not None:
            choose_files("", "", self.font_path)

    def check_sides(self, choice: ModelChoice, options: Mapping[str, Any]) -> None:
        """Raise what would be raised after loading, and SettingsError if both sides are one and the same."""
        ours, theirs = (Decoding().changed(side) for side in (options, self.other_options))
        for side in (ours, theirs):
            side.recipe()
        if self.baseline in (None, choice.model) and ours == theirs:
            raise SettingsError(
                "both sides are the same: name another model with --baseline, or another way of decoding "
                "with --baseline-settings '{sampler: confidence}'."
            )

    @property
    def other_options(self) -> dict[str, Any]:
        """The settings of the baseline; hyphens and underscores are equal in names."""
        return {str(name).replace("-", "_"): value for name, value in self.baseline_settings.items()}


@dataclass(frozen=True)
class Side:
    """One of the contestants before it has written."""

    lm: DiffusionLM
    task: Task
    label: str

    @classmethod
    def of(cls, lm: DiffusionLM, prompt: str, options: Mapping[str, Any], contest: Contest) -> "Side":
        """The task of a model with these options."""
        decoding = lm.decoding(None, dict(options))
        task = lm.continuation([prompt], length=contest.length, seeds=[contest.seed], decoding=decoding)
        told = [f"{name.replace('_', '-')} {options[name]}" for name in options if name not in _TOLD]
        return cls(lm, task, one_line(f"{Path(lm.name).name}: {', '.join([decoding.sampler, *told])}"))

    def result(self, run: Run) -> Generation:
        """The text of a run."""
        return self.lm.results(self.task, list(run))[0]

    def contestant(self, run: Run) -> Contestant:
        """A run as it is shown."""
        text, recipe = self.result(run), self.task.decoding.recipe()
        reader = reader_for(self.lm, self.task, 0)
        trace = reader.record(run, model=self.lm.name, sampler=text.sampler, seed=text.seed)
        unit = "Token" if recipe.one_per_call else "Step"
        return Contestant(self.label, trace, tokens=text.generated_tokens, unit=unit)


_TOLD = ("sampler",)
"""Options that a label names first, and without their names."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Let both write the prompt in `argv`, or the one on standard input, and show how."""
    about = (
        "Let two models, or one model in two ways, write by turns, and show both on the clock that was "
        "measured. PROMPT is asked for or read from a pipe when left out."
    )
    parser = Parser(prog, about, takes="PROMPT")
    for cls in (ModelChoice, Contest):
        parser.add_fields(cls)
    add_decoding(parser, argv)
    given = parser.read(argv, elsewhere=settings_elsewhere())
    choice, contest = build(ModelChoice, given), build(Contest, given)
    options = rest(given, (ModelChoice, Contest))
    contest.check_sides(choice, options)
    prompt = entered(given.get(TEXT), "Prompt:")
    quiet_libraries()
    notes = Console(stderr=True, highlight=False)
    sides = _sides(choice, contest, prompt, options, notes)
    found = take_turns([partial(side.lm.stream, side.task) for side in sides], contest.rounds)
    out = notes if contest.json else Console(highlight=False)
    _show(
        contest, [side.contestant(middle(runs)) for side, runs in zip(sides, found, strict=True)], out, notes
    )
    rows = list(_rows(contest, sides, found))
    if contest.json:
        for row in rows:
            print(json.dumps(row))
    else:
        _print(contest, rows, out)
    return 0


def _sides(
    choice: ModelChoice, contest: Contest, prompt: str, options: Mapping[str, Any], notes: Console
) -> list[Side]:
    with notes.status("loading"):
        ours = choice.load()
        theirs = ours if contest.baseline in (None, choice.model) else choice.load(contest.baseline)
    pairs = ((ours, options), (theirs, contest.other_options))
    return [Side.of(lm, prompt, mine, contest) for lm, mine in pairs]


def _rows(
    contest: Contest, sides: Sequence[Side], found: Sequence[Sequence[Run]]
) -> Iterable[dict[str, Any]]:
    for side, runs in zip(sides, found, strict=True):
        shown, seconds = middle(runs), [seconds_of(run) for run in runs]
        text, first = side.result(shown), first_settled(shown)
        yield {
            "name": side.label,
            "model": side.lm.name,
            "sampler": text.sampler,
            "seconds": round(text.seconds, 4),
            "fastest": round(min(seconds), 4),
            "slowest": round(max(seconds), 4),
            "first_token_seconds": None if first is None else round(first, 4),
            "nfe": text.nfe,
            "steps": text.steps,
            "generated_tokens": text.generated_tokens,
            "tokens_per_second": round(text.generated_tokens / text.seconds, 1) if text.seconds else None,
            "text": text.text,
            "prompt": text.prompt,
            "seed": text.seed,
            "rounds": contest.rounds,
        }


def _show(contest: Contest, contestants: Sequence[Contestant], out: Console, notes: Console) -> None:
    """The animations that were asked for."""
    longest = max(contestant.seconds for contestant in contestants)
    speed = followable(longest) if contest.speed is None else contest.speed
    comparison = Comparison(tuple(contestants), speed)
    if contest.watch:
        replay(comparison, out)
    for path in contest.save:
        saver_for(path)(comparison, path, Drawing(font_path=contest.font_path, height=HEIGHT))
        notes.print(f"saved {path}", markup=False, soft_wrap=True)


def _print(contest: Contest, rows: Sequence[Mapping[str, Any]], out: Console) -> None:
    table = Table("", "seconds", "calls", "tokens", "tokens/s", "first token")
    for row in rows:
        spread = f"{row['seconds']} ({row['fastest']}-{row['slowest']})"
        told = (row["nfe"], row["generated_tokens"], row["tokens_per_second"], row["first_token_seconds"])
        table.add_row(Text(row["name"]), spread, *("" if each is None else str(each) for each in told))
    out.print(table)
    rounds = f"{contest.rounds} round{'' if contest.rounds == 1 else 's'}"
    out.print(
        f"{rounds} in turn after one that warms up; the run of the middle time, in brackets the fastest and "
        "the slowest; loading and decoding left out. Tokens are each tokenizer's own, up to the end of the "
        "text.",
        style="dim",
    )
    if contest.watch and out.is_terminal:
        return  # the texts stand there already
    for row in rows:
        out.print(f"\n{row['name']}", style="bold", markup=False)
        out.print(visible(row["prompt"] + row["text"]), markup=False)
