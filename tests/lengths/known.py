"""A language whose lengths are known, a denoiser that knows it, and a tokenizer of single characters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from textdiffusion.checkpoint import Checkpoint
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

PAD, MASK, BEGIN, END, A, B, IS = range(7)
VOCAB = 8
"""Seven tokens and a row of the network that is none."""
LENGTH = 24
SPECIAL = {"pad_token": "[PAD]", "mask_token": "[MASK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}


def tokenizer(special: Mapping[str, str] = SPECIAL) -> PreTrainedTokenizerFast:
    """A token for each character of "ab=" and for each special word."""
    words = [*SPECIAL.values(), "a", "b", "="]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="="))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


@dataclass(frozen=True)
class Known(Denoiser):
    """After n letters a and "=" come n letters b, the end, and what fills the row, with known chances."""

    sure: float = 0.95
    """Probability of the right token; the others but the mask share the rest."""
    filler: int = PAD
    seen: list[tuple[Tokens, Where]] | None = None
    """What it was asked, if somebody wants to know."""

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        place = torch.arange(xt.shape[1])[None] - (xt == IS).long().argmax(1, keepdim=True) - 1
        length = ((xt == A) & (place < 0)).sum(1, keepdim=True)
        right = torch.where(place < length, B, torch.where(place == length, END, self.filler))
        p = torch.full((*xt.shape, VOCAB), (1.0 - self.sure) / (VOCAB - 2))
        p[..., MASK] = 0.9  # which nobody may ever read
        logits = p.scatter(2, right[..., None], self.sure).log()
        if self.seen is not None and where is not None:
            self.seen.append((xt, where))
        return logits if where is None else logits[where]


def known_model(
    denoiser: Denoiser | None = None, *, after_end: str = "pad", length: int = LENGTH
) -> DiffusionLM:
    """A model of that language whose network is replaced by what is known."""
    lm = small_model(after_end=after_end, length=length)
    lm.denoiser = Known() if denoiser is None else denoiser
    return lm


def small_model(
    *, after_end: str = "pad", length: int = LENGTH, learns_end: bool = True, block_size: int | None = None
) -> DiffusionLM:
    """A small network with random weights."""
    config = DiffusionTransformerConfig(
        vocab_size=VOCAB,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        block_size=block_size,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DiffusionTransformerForMaskedLM(config).eval()
    settings = ModelSettings(length=length, learns_end=learns_end, after_end=after_end)
    return DiffusionLM(Checkpoint(network, tokenizer(), settings), name="small", device=torch.device("cpu"))


def rows(counts: Sequence[int], *, filler: int = PAD, length: int = LENGTH) -> torch.Tensor:
    """The texts of these counts, filled up: ids [batch, length]."""
    texts = [[BEGIN, *[A] * n, IS, *[B] * n, END] for n in counts]
    return torch.tensor([text + [filler] * (length - len(text)) for text in texts])


def without_sight(known: Known) -> Known:
    """The same, with a fresh list of what it is asked."""
    return replace(known, seen=[])
