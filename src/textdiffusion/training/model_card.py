"""A trained model as a model of the Hub: which files, and a card that says what it is and how it was made."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..data.card import CARD
from ..data.publish import Publication, PublishedFile, check_repo, uploadable
from ..errors import CheckpointError, DataError, SettingsError
from ..folders import parts
from ..model_settings import SETTINGS_FILE
from .history import History, read_history
from .resume import CHECKPOINTS, RECIPE_FILE, last_checkpoint

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Files that run what is in them when they are loaded; nobody is given one."""
_TOLD = ("objective", "noise", "steps", "batch_size", "length", "optimizer", "learning_rate", "seed")
"""What of a recipe a reader wants first; the rest is in the recipe."""


@dataclass(frozen=True)
class AboutModel:
    """What nobody can read off the files."""

    license: str = ""
    """Terms of use as an identifier of the Hub, e.g. apache-2.0, or `other`."""
    language: str = "en"
    """Language that it writes."""
    base_model: str = ""
    """Model of the Hub from whose weights it was trained, if it was."""
    trained_on: str = ""
    """The text that it has learnt from, in a sentence or a name of the Hub."""
    name: str = ""
    """Name of the model for people; that of the folder when left out."""


def plan_model(folder: Path, repo: str, about: AboutModel) -> Publication:
    """What would be uploaded of a model folder, without a word to the network.

    Checkpoints, hidden files and what could only be unpickled stay here. A card that is there already is
    taken as it is.

    Raises:
        SettingsError: the name is none for a repository, or a new card lacks the terms of use.
        CheckpointError: the folder is no whole model.
    """
    missing = [part for part, there in parts(folder).items() if not there]
    if missing:
        raise CheckpointError(
            f"{str(folder)!r} is no whole model: there is no {missing[0]}; name the --output of a training."
        )
    check_repo(repo)
    written = folder / CARD
    card = written.read_text(encoding="utf-8") if written.is_file() else card_of_model(folder, repo, about)
    top = {path.name for path in folder.iterdir() if path.is_file() and path.suffix not in PICKLED} - {CARD}
    own = [file for file in uploadable(folder) if file.name in top]
    files = [PublishedFile(CARD, len(card.encode())), *own]
    return Publication(folder, repo, tuple(files), card, not written.is_file(), kind="model")


def card_of_model(folder: Path, repo: str, about: AboutModel) -> str:
    """A card in Markdown, with the metadata that the Hub reads.

    Raises:
        SettingsError: the terms of use are not said.
        CheckpointError: a file of the folder is damaged.
    """
    if not about.license:
        raise SettingsError(
            "say under which terms others may use the model, e.g. --license apache-2.0 or --license other; "
            f"or write {folder / CARD} yourself."
        )
    name = about.name or folder.resolve().name
    use = f'import textdiffusion as td\n\nlm = td.load("{repo}")\nprint(lm.generate("", length=64).text)'
    sections = [
        _metadata(about),
        f"# {name}",
        "A language model that writes by diffusion, made with textdiffusion.",
        f"```python\n{use}\n```",
        _table("What it is", _network(folder)),
        _table("How it was trained", _training(folder, about)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _metadata(about: AboutModel) -> str:
    import yaml  # loaded only when a card is made

    told: dict[str, Any] = {
        "license": about.license,
        "language": [about.language],
        "library_name": "textdiffusion",
        "pipeline_tag": "text-generation",
        "tags": ["diffusion-language-model", "text-generation"],
        **({"base_model": about.base_model} if about.base_model else {}),
    }
    text: str = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---"


def _network(folder: Path) -> Iterator[tuple[str, str]]:
    kinds = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if kinds.get("architectures"):
        yield "network", str(kinds["architectures"][0])
    yield "parameters in the files", f"{sum(map(_parameters, folder.glob('*.safetensors'))):,}"
    if (folder / SETTINGS_FILE).is_file():
        settings = _json(folder / SETTINGS_FILE)
        shown = {"noise": "noise", "noise_schedule": "noise schedule", "length": "tokens in a canvas"}
        yield from ((said, str(settings[key])) for key, said in shown.items() if key in settings)


def _training(folder: Path, about: AboutModel) -> Iterator[tuple[str, str]]:
    if about.trained_on:
        yield "text", about.trained_on
    newest = last_checkpoint(folder / CHECKPOINTS)
    if newest is not None and (newest / RECIPE_FILE).is_file():
        recipe = _json(newest / RECIPE_FILE)
        yield from ((key.replace("_", " "), str(recipe[key])) for key in _TOLD if key in recipe)
    history = _history(folder)
    if history is not None and history.best is not None:
        best, error = history.best, history.best.get("standard_error")
        spread = "" if error is None else f" ± {error:.3f}"
        yield "held-out loss", f"{best['loss']:.3f}{spread} nats per token, at step {best['step']}"


def _history(folder: Path) -> History | None:
    try:
        return read_history(folder)
    except DataError:
        return None


def _parameters(path: Path) -> int:
    """The numbers in a file of weights, by its head alone."""
    try:
        with safe_open(path, framework="pt") as weights:
            names = weights.keys()
            shapes = [weights.get_slice(name).get_shape() for name in names]
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); the model folder is damaged.") from None
    return sum(map(math.prod, shapes))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); the model folder is damaged.") from None
    return found


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = [f"| {key} | {value} |" for key, value in rows]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines]) if lines else ""
