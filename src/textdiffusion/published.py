"""Diffusion models that others published: how to know them, and what their files do not say of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

from .denoisers.adapt import set_reading
from .model_settings import ModelSettings
from .tokens import name_mask

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Published:
    """A causal language model that was trained to denoise whole texts, and says each token one ahead."""

    mask_id: int
    """The ordinary token that serves as the mask where the tokenizer names none."""
    names: Mapping[str, str] | None = None
    """How the names of its weights begin (as regular expressions), and how transformers has them."""
    settings: ModelSettings = field(
        default_factory=lambda: ModelSettings(decoding={"temperature": 0.95, "top_p": 0.9})
    )
    """Its noise is the mask, all linear; temperature and cut are those of its authors' examples."""

    def adopt(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mask_id: int | None) -> None:
        """Make of the loaded parts what they were at home.

        Raises:
            SettingsError: `mask_id` cannot be the mask.
        """
        if mask_id is None and tokenizer.mask_token_id is None:
            mask_id = self.mask_id
        if mask_id is not None:
            name_mask(tokenizer, mask_id)
        set_reading(model, block_size=None, shift=True)
        vars(model)["_weight_conversions"] = []  # else it would be saved under its old names


_DIFFUGPT = Published(10541, {"^denoise_model\\.": "transformer.", "^embed_tokens\\.": "transformer.wte."})
_DIFFULLAMA = Published(811)
_BY_NAME = {"diffusionfamily/diffullama": _DIFFULLAMA}
_BY_FIRST_NAME = {"denoise_model.": _DIFFUGPT}
"""DiffuLLaMA, arXiv:2410.17891: DiffuGPT has names of its own, DiffuLLaMA those of a plain Llama."""


def published(name: str, place: str, config: PreTrainedConfig) -> Published | None:
    """What is known of a folder or Hub id that others made; None where it is none of these."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if config.model_type != "gpt2":
        return None
    names = list(_names(place))
    return next(
        (row for start, row in _BY_FIRST_NAME.items() if any(n.startswith(start) for n in names)), None
    )


def _names(place: str) -> Iterator[str]:
    """The names of the weights, without reading these; none where they lie in several files."""
    if Path(place).is_dir():
        found: str | None = str(Path(place) / _WEIGHTS)
    else:
        found = cached_file(place, _WEIGHTS, _raise_exceptions_for_missing_entries=False)
    if found is not None and Path(found).exists():
        with safe_open(found, framework="pt") as weights:
            yield from weights.keys()
