"""A tokenizer of one's own: BPE over characters, trained on the text that the model will learn."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL = {"pad_token": "[PAD]", "mask_token": "[MASK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
"""Spell, in UTF-8, a character that has no token; the names are SentencePiece's."""

ALPHABET_SHARE = 2 / 3
"""How much of the vocabulary beyond the bytes single characters may take; merges get the rest."""

_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Where merges stop, as in GPT-2. No word has all of "<0x41>", so that no text can spell a byte's token."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, longest: int) -> PreTrainedTokenizerBase:
    """BPE whose alphabet is the frequent characters, the others being spelt in bytes (SentencePiece's way).

    Any text is encoded without loss, and a frequent character is never torn apart, as byte-level BPE does to
    Chinese. Special tokens take the first ids (padding, mask, begin and end of text), bytes the next 256; all
    together are `vocab_size` at most, unless that is less than these 260.
    """
    listed = list(texts)
    alphabet = _alphabet(listed, round(ALPHABET_SHARE * (vocab_size - len(SPECIAL) - len(BYTES))))
    trained = Tokenizer(models.BPE(byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL.values(), *BYTES],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(listed, trainer)
    tokenizer = Tokenizer(trained.model)  # anew, as bytes are special to the trainer alone
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **SPECIAL)


def _alphabet(texts: Iterable[str], size: int) -> list[str]:
    """The `size` most frequent characters; equals go by code point, as the trainer's own choice is random."""
    seen = Counter[str]()
    for text in texts:
        seen.update(text)
    return sorted(seen, key=lambda character: (-seen[character], character))[: max(0, size)]
