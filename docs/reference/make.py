"""Write the reference pages from the tables of the package and the docstrings of what stands in them.

python docs/reference/make.py
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from textdiffusion.cli.flags import field_docs
from textdiffusion.cli.schedules import STEPS, grid_rows
from textdiffusion.corruptions import CORRUPTIONS, Mixture
from textdiffusion.generation import Decoding
from textdiffusion.generation.memory import CACHES
from textdiffusion.guidance import GUIDANCE_METHODS
from textdiffusion.mask_rates import MASK_RATES
from textdiffusion.objectives import DIVERGENCES, OBJECTIVES
from textdiffusion.samplers import SAMPLERS, Recipe, setting_fields
from textdiffusion.schedules import SCHEDULES, Linear
from textdiffusion.training import TrainingRecipe
from textdiffusion.training.decays import DECAYS

HERE = Path(__file__).resolve().parent
COMMAND = "python docs/reference/make.py"
NOTE = f"*Made by `{COMMAND}` from the tables of the package; what is to be changed stands there.*"
Setting = tuple[str, Any, str]
"""Name, default and what it says."""


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    made = {name: page() for name, page in PAGES.items()}
    return {"index.md": index(made), **made}


def index(made: Mapping[str, str]) -> str:
    """What the pages are, each with its first sentence."""
    lines = []
    for name, text in made.items():
        title, _, rest = text.partition("\n")
        lines.append(f"- [{title.removeprefix('# ')}]({name}): {rest.strip().splitlines()[0]}")
    more = [
        "Every command says its flags by `--help`; `textdiffusion samplers --json` and "
        "`textdiffusion schedules --json` give two of these lists to programs.",
        "The classes and their methods stand in [the architecture](../architecture.md).",
    ]
    return page("Reference", "All names and settings, from the code.", "\n".join(lines), *more)


def samplers() -> str:
    """The table of samplers."""
    about = (
        f"The {len(SAMPLERS)} rules by which noise becomes text, `--sampler NAME`. "
        "[Choose a sampler](../how-to/choose-a-sampler.md) says which is for what."
    )
    return page("Samplers", about, *(sampler(name, recipe) for name, recipe in SAMPLERS.items()))


def sampler(name: str, recipe: Recipe) -> str:
    """One row of it."""
    facts = [f"Source: {prose(recipe.source)}.", sentence(recipe.exact)]
    if recipe.one_per_call:
        facts.append("One token a call, whatever the number of steps.")
    if recipe.defaults:
        told = ", ".join(f"`{key}: {value}`" for key, value in recipe.defaults.items())
        facts.append(f"Published with {told}; it is so unless a generation asks for something else.")
    own = table(policy_settings(recipe.sampler), flags=True)
    return section(name, f"{sentence(recipe.summary)} {' '.join(facts)}", own)


def policy_settings(part: Any) -> Iterator[Setting]:
    """The settings of a rule and of its policies, each with its docstring."""
    for name, (policy, value) in setting_fields(part).items():
        yield name, value, field_docs(policy).get(name, "")


def schedules() -> str:
    """Step grids and noise schedules."""
    grids = [(row["name"], row["summary"], row["source"], row["levels"]) for row in grid_rows()]
    levels = [
        "| grid | what | source | " + " | ".join(str(step) for step in range(1, STEPS + 1)) + " |",
        "|---" * (3 + STEPS) + "|",
        *(
            f"| `{name}` | {cell(what)} | {cell(where)} | {' | '.join(f'{level:.2f}' for level in shares)} |"
            for name, what, where, shares in grids
        ),
    ]
    return page(
        "Schedules",
        "Two things are called so: the grid of the sampling steps, and how the noise of a training grows.",
        f"## Step grids\n\n`--schedule NAME` of a generation. Share of the text that is noise before each of "
        f"{STEPS} steps; other numbers of steps lie on straight lines between these.",
        "\n".join(levels),
        "## Noise schedules\n\n`noise_schedule` of a training, with `noise_schedule_settings`: the chance "
        "alpha(t) that a token is still clean at time t.",
        *(
            section(name, documented(schedule), table(of_class(schedule)), "###")
            for name, schedule in SCHEDULES.items()
        ),
    )


def noises() -> str:
    """The corruptions, each class explained where it comes first."""
    said, parts = dict[type, str](), []
    for name, build in CORRUPTIONS.items():
        kind = type(build(3, 8, Linear()))
        parts.append(noise(name, build, said.get(kind)))
        said.setdefault(kind, name)
    about = "What becomes of a token that noise strikes: `noise` of a training, with `noise_settings`."
    return page("Noises", about, *parts)


def noise(name: str, build: Callable[..., Any], like: str | None) -> str:
    """One of them, by the class that it makes, or as another one of that class."""
    made = build(3, 8, Linear())
    said = documented(type(made)) if like is None else f"As [{like}](#{like}), with other settings."
    if isinstance(made, Mixture):
        shares = ", ".join(
            f"{entry.name} {getattr(made.shares, entry.name)}" for entry in fields(made.shares)
        )
        said = f"What a struck token becomes: {shares}.\n\n{said}"
    own = [*inspect.signature(build).parameters.values()][3:]
    docs = field_docs(type(made))
    return section(name, said, table((key.name, key.default, docs.get(key.name, "")) for key in own))


def objectives() -> str:
    """Losses, and what they choose among."""
    return page(
        "Objectives",
        "What a training makes small: `objective` of a recipe, with `objective_settings`.",
        *(section(name, documented(cls), table(of_class(cls))) for name, cls in OBJECTIVES.items()),
        "## Mask rates\n\nThe distribution of the share that is hidden, for `cross-entropy`: `mask_rates`, "
        "with `mask_rate_settings`.",
        *(section(name, documented(cls), table(of_class(cls)), "###") for name, cls in MASK_RATES.items()),
        "## Divergences\n\nHow far a student is from its teacher, for `sdtt` and `dcd`.",
        *(section(name, documented(rule), "", "###") for name, rule in DIVERGENCES.items()),
    )


def decoding() -> str:
    """The settings of a generation."""
    caches = [(name, rule) for name, rule in CACHES.items() if rule is not None]
    return page(
        "Decoding",
        "Settings of one generation: flags of `generate`, `fill`, `compare` and others, keywords of "
        "`lm.generate`, keys of `decoding` in a recipe.",
        table(of_class(Decoding), flags=True),
        "A sampler's own settings are flags too; they stand with [the samplers](samplers.md).",
        *choices("Caches", caches),
        *choices("Ways to ask a classifier", GUIDANCE_METHODS.items()),
    )


def choices(title: str, rows: Iterable[tuple[str, Any]]) -> list[str]:
    """What one of the settings chooses among: classes, or objects with what is set in them."""
    lines = []
    for name, part in rows:
        own = [] if isinstance(part, type) else [(key.name, getattr(part, key.name)) for key in fields(part)]
        told = "".join(f" `{key}` is {value(given)}." for key, given in own if isinstance(given, bool))
        lines.append(f"- `{name}`: {first(part)}{told}")
    return [f"## {title}", "\n".join(lines)]


def training() -> str:
    """The keys of a recipe, under the headings that the code has."""
    docs = field_docs(TrainingRecipe)
    parts: dict[str, list[Setting]] = {}
    heads = headings(TrainingRecipe)
    for entry in fields(TrainingRecipe):
        parts.setdefault(heads[entry.name], []).append((entry.name, default(entry), docs.get(entry.name, "")))
    return page(
        "Training",
        "Keys of a recipe: each is a flag of `textdiffusion train` too, and a flag wins over the recipe.",
        *(f"## {title}\n\n{table(rows, flags=True)}" for title, rows in parts.items()),
        *choices("Ways in which the learning rate moves", DECAYS.items()),
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "samplers.md": samplers,
    "schedules.md": schedules,
    "noises.md": noises,
    "objectives.md": objectives,
    "decoding.md": decoding,
    "training.md": training,
}


# -- reading the code ------------------------------------------------------------------------------------


def headings(cls: type) -> dict[str, str]:
    """For each field the comment of one line above it that heads its group."""
    found, title = {}, "What, and where to"
    for line in inspect.getsource(cls).splitlines():
        if head := re.fullmatch(r"    # (\w[\w ]*)", line):
            title = head[1]
        elif name := re.match(r"    (\w+): ", line):
            found[name[1]] = title
    return found


def of_class(cls: type) -> list[Setting]:
    """The fields of a dataclass that can be set by name and value."""
    docs = field_docs(cls)
    return [
        (entry.name, default(entry), docs.get(entry.name, ""))
        for entry in fields(cls)
        if entry.init and not dataclasses.is_dataclass(default(entry))
    ]


def fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Those of a dataclass; none of another class."""
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def default(entry: dataclasses.Field[Any]) -> Any:
    """What a field is when it is left out."""
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return None if entry.default is dataclasses.MISSING else entry.default


def documented(part: Any) -> str:
    """A docstring as paragraphs, up to what it raises."""
    paragraphs = inspect.cleandoc(part.__doc__ or "").partition("\nRaises:")[0].split("\n\n")
    return "\n\n".join(prose(paragraph.strip()) for paragraph in paragraphs if paragraph.strip())


def first(part: Any) -> str:
    """The first sentence of a docstring."""
    return documented(part).partition("\n")[0]


# -- writing ---------------------------------------------------------------------------------------------


def page(title: str, about: str, *parts: str) -> str:
    """A whole page; empty parts are left out."""
    return "\n\n".join(part for part in (f"# {title}", about, *parts, NOTE) if part) + "\n"


def section(name: str, said: str, settings: str, level: str = "##") -> str:
    """A heading with what stands below it."""
    return "\n\n".join(part for part in (f"{level} {name}", said, settings) if part)


def table(settings: Iterable[Setting], *, flags: bool = False) -> str:
    """Settings with their defaults; nothing where there are none."""
    rows = list(settings)
    if not rows:
        return ""
    shown = [
        f"| `{_flag(name) if flags else name}` | {value(given)} | {cell(said)} |"
        for name, given, said in rows
    ]
    head = ["| flag | default | what |" if flags else "| setting | default | what |", "|---|---|---|"]
    return "\n".join([*head, *shown])


def value(given: Any) -> str:
    """A default as a recipe would have it; a dash for nothing."""
    if given is None or given in ("", (), {}):
        return "-"
    if isinstance(given, bool):
        return "on" if given else "off"
    return f"`{', '.join(map(str, given)) if isinstance(given, tuple) else given}`"


def cell(text: str) -> str:
    """Prose within a table."""
    return prose(text).replace("|", "\\|")


def sentence(text: str) -> str:
    """A phrase as a sentence."""
    return f"{prose(text[:1].upper() + text[1:])}."


def prose(text: str) -> str:
    """Words of a docstring as Markdown: on one line, with papers linked."""
    plain = re.sub(r"\s+", " ", text).replace("``", "`")
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", plain)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


if __name__ == "__main__":
    main()
