"""What may fill a row behind the end of its text and is learnt, so that a model can say when it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from .errors import IncompatibleError
from .registry import Registry

PAD_TOKEN = "[PAD]"


@dataclass(frozen=True)
class Filler:
    """What may stand behind the end of a text and be learnt."""

    what: str
    id_of: Callable[[PreTrainedTokenizerBase], int | None]
    added: Mapping[str, str] = field(default_factory=dict)
    """The special token that a tokenizer without it is given."""


def _own_pad(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The padding token, unless it means something else too."""
    pad: int | None = tokenizer.pad_token_id
    others = (
        tokenizer.bos_token_id,
        tokenizer.cls_token_id,
        tokenizer.eos_token_id,
        tokenizer.sep_token_id,
        tokenizer.mask_token_id,
        tokenizer.unk_token_id,
    )
    return None if pad in others else pad


def end_of(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends a text: eos, else sep."""
    end: int | None = tokenizer.eos_token_id
    return tokenizer.sep_token_id if end is None else end


FILLERS: Registry[Filler] = Registry(
    "filler",
    {
        "pad": Filler("padding of its own", _own_pad, {"pad_token": PAD_TOKEN}),
        "end": Filler("end of text", end_of),
    },
)
"""Padding, or the end of text again (as in the tuning of LLaDA, arXiv:2502.09992)."""


def add_filler(tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Give the tokenizer that filler; False if it had one.

    Raises:
        IncompatibleError: it has none, and none can be added.
        UnknownNameError: there is no such filler.
    """
    filler = FILLERS[name]
    if filler.id_of(tokenizer) is not None:
        return False
    if not filler.added:
        raise IncompatibleError(f"the tokenizer has no {filler.what} to fill rows with (after_end {name}).")
    tokenizer.add_special_tokens(dict(filler.added))
    return True
