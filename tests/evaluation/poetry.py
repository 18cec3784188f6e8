"""A few lines of poems, a tokenizer of their characters, and models that know them or know nothing."""

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from textdiffusion.checkpoint import Checkpoint
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import set_reading
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

POEMS = [
    "轻轻的我走了，\n\n正如我轻轻的来；\n\n我轻轻的招手，\n\n作别西天的云彩。",  # 徐志摩
    "那河畔的金柳，\n\n是夕阳中的新娘；\n\n波光里的艳影，\n\n在我的心头荡漾。",
    "这是一沟绝望的死水，\n\n清风吹不起半点漪沦。\n\n不如多扔些破铜烂铁，\n\n爽性泼你的剩菜残羹。",  # 闻一多
]
LINES = ["/".join(line for line in poem.split("\n") if line) for poem in POEMS]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
LONGEST = 64


def characters(*more: str) -> PreTrainedTokenizerFast:
    """A token for each character of the poems, and for each of the words `more`; special ones as in BERT."""
    words = [*SPECIAL.values(), *dict.fromkeys([*"".join(LINES), *more])]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    cut = "|".join([*more, r"[\s\S]"])
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(cut), "isolated")
    inner.decoder = decoders.Fuse()
    ends = [(word, words.index(word)) for word in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=inner, **SPECIAL)


def of(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name: str) -> DiffusionLM:
    """A model of these parts."""
    checkpoint = Checkpoint(network.eval(), tokenizer, ModelSettings(length=LONGEST))
    return DiffusionLM(checkpoint, name=name, device=torch.device("cpu"))


def masked(tokenizer: PreTrainedTokenizerFast | None = None) -> DiffusionLM:
    """A small diffusion model of random weights."""
    tokenizer = characters() if tokenizer is None else tokenizer
    config = DiffusionTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=LONGEST,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DiffusionTransformerForMaskedLM(config)
    return of(network, tokenizer, "diffusion")


def causal(tokenizer: PreTrainedTokenizerFast | None = None) -> DiffusionLM:
    """A small GPT-2 of random weights."""
    tokenizer = characters() if tokenizer is None else tokenizer
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": LONGEST}
    config = GPT2Config(
        vocab_size=len(tokenizer), **sizes, initializer_range=0.4, bos_token_id=None, eos_token_id=None
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = GPT2LMHeadModel(config)
    return of(network, tokenizer, "gpt2")


def own_causal() -> DiffusionLM:
    """Our own network, made to predict the next token."""
    lm = masked()
    set_reading(lm.model, block_size=1, shift=True)
    return lm


@dataclass(frozen=True)
class Recites(Denoiser):
    """Knows whole rows by heart, and finds the one that is meant by what is shown."""

    rows: Tokens
    vocab: int

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        width = xt.shape[1]
        alike = (xt[:, None] == self.rows[None, :, :width]).sum(-1)
        meant = self.rows[alike.argmax(1), :width]
        logits = 30.0 * torch.nn.functional.one_hot(meant, self.vocab).float()
        return logits if where is None else logits[where]


def reciter() -> DiffusionLM:
    """A model that knows the poems, joined by strokes, by heart."""
    lm = masked()
    ids = lm.format.document(LINES)
    rows = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
    for number, row in enumerate(ids):
        rows[number, : len(row)] = torch.tensor(row)
    lm.denoiser = Recites(rows, lm.vocab_size)
    return lm
