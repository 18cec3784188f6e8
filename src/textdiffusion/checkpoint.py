"""Model folders: weights, tokenizer and `diffusion.json`, which says how the model was made noise of."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .corruptions import CORRUPTIONS, Corruption
from .denoisers import transformer  # registers our network with the Auto classes
from .errors import CheckpointError, IncompatibleError, SettingsError
from .schedules import SCHEDULES
from .settings import from_mapping, to_mapping

SETTINGS_FILE = "diffusion.json"
STARTER = Path(__file__).parent / "starter"
DiffusionTransformerForMaskedLM = transformer.DiffusionTransformerForMaskedLM


@dataclass(frozen=True)
class ModelSettings:
    """What a diffusion model must say of itself beyond its network and tokenizer."""

    noise: str = "absorbing"
    """What struck tokens became in training."""
    noise_schedule: str = "linear"
    """alpha(t) of the training noise."""
    noise_schedule_settings: Mapping[str, float] = field(default_factory=dict)
    """The schedule's own settings, e.g. {"power": 3}."""
    length: int | None = None
    """Longest text seen in training, in tokens; the default canvas. The network's limit when left out."""
    learns_end: bool = False
    """Whether the end-of-text token was learnt, so that the model can end a text."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a generation that suit this model; they yield to what the user says."""

    def corruption(self, mask_id: int, vocab_size: int) -> Corruption:
        """The forward process of the training."""
        try:
            schedule = SCHEDULES[self.noise_schedule](**self.noise_schedule_settings)
        except TypeError as error:
            raise SettingsError(f"noise schedule {self.noise_schedule}: {error}.") from None
        return CORRUPTIONS[self.noise](mask_id, vocab_size, schedule)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model folder."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: ModelSettings


def load_checkpoint(name: str, *, dtype: str = "auto") -> Checkpoint:
    """Load `starter`, a folder or a Hub id; weights from safetensors only, no code from the folder.

    Raises:
        CheckpointError: nothing there, or something is missing, truncated or unsafe.
        IncompatibleError: no masked language model, or tokenizer and weights do not belong together.
    """
    place = find(name)
    settings = _read_settings(place, name)
    tokenizer = _guarded(name, "tokenizer", lambda: AutoTokenizer.from_pretrained(place))
    model = _guarded(
        name, "weights", lambda: AutoModelForMaskedLM.from_pretrained(place, use_safetensors=True, dtype=dtype)
    )
    check_vocabulary(model, tokenizer)
    return Checkpoint(model.eval(), tokenizer, settings)


def find(name: str) -> str:
    """The folder of a model, or the Hub id itself when it can only be one.

    Raises:
        CheckpointError: a folder that does not exist or lacks its files.
    """
    if name == STARTER.name:
        path = STARTER
    else:
        path = Path(name).expanduser()
        if not path.exists() and _may_be_hub_id(name):
            return name
    if not path.is_dir():
        raise CheckpointError(
            f"no model at {name!r}: give a folder written by `textdiffusion train` or save_pretrained, a Hub id "
            "like owner/name, or starter."
        )
    missing = [part for part, found in _parts(path).items() if not found]
    if missing:
        raise CheckpointError(
            f"the model folder {name!r} is incomplete: it has no {' and no '.join(missing)}. If a training wrote "
            "it, take one of its checkpoint folders or train on with --resume."
        )
    return str(path)


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise IncompatibleError if the tokenizer knows ids for which the network has no vector."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise IncompatibleError(
            f"the tokenizer has {len(tokenizer)} tokens but the model only {rows}: they do not belong together; "
            "save both from one training, or resize the model's embeddings."
        )


def write_atomically(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder, then put it in the place of `folder`; on failure nothing changes.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(fresh)
        _replace(fresh, folder)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"cannot write {folder}: {error}; what stood there before is unchanged.") from error
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write weights, tokenizer and settings so that a crash leaves the old folder or the new one, never half."""

    def write(fresh: Path) -> None:
        checkpoint.model.save_pretrained(fresh)
        checkpoint.tokenizer.save_pretrained(fresh)
        write_settings(fresh, checkpoint.settings)

    write_atomically(folder, write)


def write_settings(folder: Path, settings: ModelSettings) -> None:
    """Write `diffusion.json` into a folder."""
    text = json.dumps(to_mapping(settings), indent=2, ensure_ascii=False)
    (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


def _replace(fresh: Path, folder: Path) -> None:
    os.chmod(fresh, 0o755)
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        os.replace(folder, old / folder.name)
    os.replace(fresh, folder)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read_settings(place: str, name: str) -> ModelSettings:
    path = Path(place) / SETTINGS_FILE
    if not path.exists():
        return ModelSettings()  # a plain masked language model, which may be sampled from as it is
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); the model folder {name!r} is damaged.") from None
    return from_mapping(ModelSettings, data, where=f"{path}: ")


def _guarded(name: str, part: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except SafetensorError as error:
        raise CheckpointError(
            f"the weights of {name!r} are damaged ({error}); copy or train the model again."
        ) from None
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, json.JSONDecodeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(f"cannot load the {part} of {name!r}: {first}") from None


def _parts(path: Path) -> dict[str, bool]:
    names = {entry.name for entry in path.iterdir()}
    return {
        "config.json": "config.json" in names,
        "safetensors weights": any(n.endswith((".safetensors", ".safetensors.index.json")) for n in names),
        "tokenizer": bool(names & {"tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model"}),
    }


def _may_be_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= 2 and not name.startswith((".", "/", "~")) and all(p and p[0].isalnum() for p in parts)


def config_of(name: str) -> Any:
    """The network's configuration of a model folder or Hub id, without its weights."""
    place = find(name)
    return _guarded(name, "configuration", lambda: AutoConfig.from_pretrained(place))
