"""LoRA: small trainable matrices beside the frozen ones of a model, by peft (arXiv:2106.09685)."""

import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.peft import MIN_PEFT_VERSION
from transformers.pytorch_utils import Conv1D
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import check_peft_version

from .errors import CheckpointError, SettingsError
from .registry import did_you_mean
from .tokens import embeddings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_NAME = "default"
"""What peft calls the adapters of a model that has only these."""
ADAPTER = "lora_"
"""How peft's names of what stands beside a layer begin."""
_TRAINED_ROWS = "trainable_tokens_"
"""How peft's names of trained rows of an embedding begin."""


@dataclass(frozen=True)
class LoraSettings:
    """The shape of the adapters, and what becomes of them."""

    rank: int = 16
    """Inner width of the two matrices beside a layer."""
    alpha: int = 32
    """Their product is scaled by alpha / rank."""
    dropout: float = 0.0
    """Of what goes into them."""
    targets: tuple[str, ...] = ()
    """Layers that get them, by names or the ends of names; all linear ones of the body when left out."""
    merge: bool = True
    """Save an ordinary model, with the adapters added to its weights; else the adapters alone."""

    def __post_init__(self) -> None:
        """Refuse what is no adapter."""
        if self.rank < 1 or self.alpha < 1 or not 0.0 <= self.dropout < 1.0:
            raise SettingsError(
                f"lora has rank {self.rank}, alpha {self.alpha} and dropout {self.dropout}; rank and alpha "
                "must be at least 1, and dropout from 0 to below 1."
            )


@dataclass(frozen=True)
class Adapters:
    """Adapters that were saved without the model that they belong to."""

    folder: Path
    base: str
    """Folder or Hub id of that model."""

    @classmethod
    def at(cls, place: str) -> "Adapters | None":
        """Those in a folder or of a Hub id; None for an ordinary model.

        Raises:
            CheckpointError: they do not say what they belong to, or their weights are no safetensors.
        """
        quiet = {
            "_raise_exceptions_for_missing_entries": False,
            "_raise_exceptions_for_connection_errors": False,
        }
        config = cached_file(place, CONFIG_FILE, **quiet)
        if config is None:
            return None
        base = json.loads(Path(config).read_text(encoding="utf-8")).get("base_model_name_or_path")
        folder = Path(config).parent
        if not base or (Path(base).is_dir() and Path(base).samefile(folder)):
            raise CheckpointError(
                f"the adapters in {place} do not say to which model they belong; name it in {CONFIG_FILE} as "
                "base_model_name_or_path."
            )
        if cached_file(place, WEIGHTS_FILE, **quiet) is None:
            raise CheckpointError(f"the adapters in {place} have no {WEIGHTS_FILE}; save them again.")
        return cls(folder, base)

    def put_on(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, merge: bool
    ) -> PreTrainedModel:
        """The model with the adapters added to its weights, or beside them and trainable.

        Rows are added where the tokenizer has more tokens than the model.
        """
        if len(tokenizer) > embeddings(model).num_embeddings:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        if not merge:
            model.load_adapter(str(self.folder), is_trainable=True)
            return model
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it asks transformers by names that have changed
            adapted = PeftModel.from_pretrained(model, str(self.folder))
        merged: PreTrainedModel = adapted.merge_and_unload()
        return merged.requires_grad_(True)  # as any model; peft has frozen all but the adapters


def add_adapters(
    model: PreTrainedModel,
    settings: LoraSettings,
    *,
    base: str,
    seen: Sequence[int] = (),
    said: Sequence[int] = (),
) -> None:
    """Freeze a network and put trainable adapters, which change nothing yet, beside its layers.

    Of the ids that are `seen` the network knows nothing yet, those that are `said` it has never said: their
    vectors are trained too. `base` is the name by which the model is found when adapters alone are loaded.

    Raises:
        SettingsError: a target is the name of no linear layer.
    """
    from peft import LoraConfig

    targets = list(_targets(model, settings.targets))
    table, head = embeddings(model), model.get_output_embeddings()
    rows = {_name_of(model, table): list(seen)}
    if head is not None and head.weight is not table.weight:
        rows[_name_of(model, head)] = list(said)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in targets),
        trainable_token_indices={name: ids for name, ids in rows.items() if ids} or None,
    )
    model.add_adapter(config)
    place = Path(base).expanduser()
    model.peft_config[_NAME].base_model_name_or_path = str(place.resolve()) if place.is_dir() else base


def write_adapters(model: PreTrainedModel, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Save the adapters of a network alone, in the form of peft.

    `weights` take the place of the network's own. transformers would add the whole table of embeddings where
    a row was added; a row that was trained is among the adapters.
    """
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(
        model, state_dict=weights, adapter_name=_NAME, save_embedding_layers=False
    )
    named = {f"base_model.model.{name}": weight.contiguous() for name, weight in found.items()}
    save_file(named, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    model.peft_config[_NAME].save_pretrained(folder)


def has_adapters(model: nn.Module) -> bool:
    """Whether a network has adapters beside its weights."""
    return bool(getattr(model, "peft_config", None))


def trained_rows(model: nn.Module) -> list[Tensor]:
    """The vectors of single tokens that are trained beside adapters."""
    return [p for name, p in model.named_parameters() if _TRAINED_ROWS in name]


def check_peft() -> None:
    """Raise SettingsError where adapters cannot be had."""
    if importlib.util.find_spec("peft") is None:
        raise SettingsError(
            "adapters need the package peft, which is not installed; install textdiffusion[lora]."
        )
    try:
        check_peft_version(MIN_PEFT_VERSION)
    except ValueError:
        raise SettingsError(
            f"adapters need the package peft in version {MIN_PEFT_VERSION} or later; install it anew, as "
            "textdiffusion[lora] does."
        ) from None


def changed(before: Mapping[str, Any], model: PreTrainedModel) -> dict[str, Any]:
    """What is new in the configuration of a network; adapters are saved without it."""
    return {key: value for key, value in model.config.to_dict().items() if before.get(key) != value}


def _name_of(model: PreTrainedModel, part: nn.Module) -> str:
    (name,) = (name for name, module in model.named_modules() if module is part)
    return str(name)


def _targets(model: PreTrainedModel, given: Sequence[str]) -> Iterator[str]:
    """The names of the layers that get adapters."""
    head = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    for target in given:
        if not any(_ends(name, target) for name in linear):
            near = did_you_mean(target, {part for name in linear for part in name.split(".")})
            raise SettingsError(f"lora.targets: no linear layer is called {target!r}.{near}")
    body = set(model.base_model.modules())
    for name, module in linear.items():
        if any(_ends(name, target) for target in given) if given else module in body:
            yield name


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)
