"""What a tokenizer's special ids mean to diffusion: how texts begin, end, are hidden and are read back."""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from .canvas import Canvas
from .chat_template import ChatTemplate
from .errors import IncompatibleError, SettingsError
from .fillers import FILLERS, add_filler, end_of
from .shapes import Where

logger = logging.getLogger(__name__)
MASK_TOKEN = "[MASK]"
HOLE = re.compile(r" ?(?:\[MASK(?::(\d+))?\]|_{2,})")
CJK = r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
_MOST_DIGITS = 7
"""Of the tokens of a hole."""
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_SPACE_IN_CJK = re.compile(f"(?<={CJK}) (?={CJK})")
"""Between such characters a hole has no space, though the decoder of a word piece model writes one."""
_PROBE = (
    'The quick Brown fox  paid $1,234.50 to "Zo\u00eb"\tat 9 o\'clock, na\u00efve cafe\u0301!\n\n'
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u4f60\u597d\uff0c\u4e16\u754c\u3002 \u05e9\u05dc\u05d5\u05dd "
    "\ufb01ne x\u00b2 \U0001f98a <b>if (a != b) {}</b>"
)
"""Spaces, cases, accents and scripts that tokenizers of one vocabulary may still treat differently."""


@dataclass(frozen=True)
class TextFormat:
    """How text becomes ids and ids become text; training and sampling use the same one."""

    tokenizer: PreTrainedTokenizerBase
    mask_id: int
    pad_id: int
    """Fills rows up; never attended, noised or scored, so that any id will do where there is no own one."""
    begin_id: int | None
    """Stands before each document: the tokenizer's bos or cls."""
    end_id: int | None
    """Stands after each document: the tokenizer's eos or sep."""
    special_ids: frozenset[int]
    """Ids that are no text."""
    filler_id: int | None = None
    """Stands behind the end up to the end of the row, where that is learnt as text is."""
    turn_end_id: int | None = None
    """Stands after each answer of a conversation, where the tokenizer has a template for these."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, after_end: str = "") -> "TextFormat":
        """Read the special ids of a tokenizer; `after_end` names the one that fills rows, if any does.

        Raises:
            IncompatibleError: it has no mask or filler, or its mask is also another special token.
            UnknownNameError: there is no such filler.
        """
        mask = tokenizer.mask_token_id
        if mask is None:
            raise IncompatibleError(
                "the tokenizer has no mask token; `textdiffusion train` adds one, or name one with "
                "tokenizer.add_special_tokens({'mask_token': '[MASK]'}) and resize the embeddings."
            )
        begin = _first(tokenizer.bos_token_id, tokenizer.cls_token_id)
        end = end_of(tokenizer)
        others = {begin, end, tokenizer.pad_token_id, tokenizer.unk_token_id}
        if mask in others:
            raise IncompatibleError(
                f"the mask token {tokenizer.mask_token!r} (id {mask}) is also another special token of the "
                "tokenizer; the mask must be an id of its own."
            )
        pad = _first(tokenizer.pad_token_id, end, 0)
        special = frozenset(tokenizer.all_special_ids)
        filler = FILLERS[after_end].id_of(tokenizer) if after_end else None
        if after_end and filler is None:
            raise IncompatibleError(
                f"the tokenizer has no {FILLERS[after_end].what}, with which rows were filled behind the end "
                "of their texts; take the one that the model was saved with."
            )
        turn_end = ChatTemplate(tokenizer).end_id if tokenizer.chat_template else None
        return cls(tokenizer, mask, pad or 0, begin, end, special, filler, turn_end)

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids at which a text is over: its end, that of an answer, and what may stand behind them."""
        ids = (self.end_id, self.turn_end_id, self.filler_id)
        return tuple(dict.fromkeys(id for id in ids if id is not None))

    def document(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole documents, with their begin and end."""
        head = [] if self.begin_id is None else [self.begin_id]
        tail = [] if self.end_id is None else [self.end_id]
        return [[*head, *ids, *tail] for ids in self._plain(texts)]

    def fingerprint(self) -> str:
        """A hash in hexadecimal digits, equal for tokenizers that give texts the same ids.

        It is taken of the vocabulary as it was before tokens were added to it, and of the ids of an odd text:
        neither an added mask, nor a word that is made the mask, nor the form of the files changes it.
        """
        own = self.tokenizer.vocab_size
        words = sorted(pair for pair in self.tokenizer.get_vocab().items() if pair[1] < own)
        told = json.dumps([words, self.document([_PROBE])])
        return hashlib.sha256(told.encode()).hexdigest()

    def prompt(self, text: str) -> list[int]:
        """Ids of a text that goes on: its begin, but no end."""
        return ([] if self.begin_id is None else [self.begin_id]) + self._plain([text])[0]

    def template(self, text: str) -> tuple[list[int], list[bool]]:
        """Ids of a document with holes, and which of them are holes.

        ``[MASK]`` and ``____`` (two or more underscores) are one token each, ``[MASK:n]`` is n. One space
        before a hole belongs to the hole, as subword tokens carry the space before them.

        Raises:
            SettingsError: there is no hole, or one of no tokens.
        """
        gaps, rest = _gaps(text)
        if not gaps:
            raise SettingsError("the text has no hole; write [MASK], [MASK:3] for three tokens, or ____.")
        return self._laid(gaps, rest)

    def between(self, before: str, size: int, after: str) -> tuple[list[int], list[bool]]:
        """As `template`, of a text with one hole of `size` tokens; what else looks like one is text."""
        return self._laid([_Gap.behind(before, size)], after)

    def inserted(self, before: str, ids: Sequence[int]) -> str:
        """What ids in the hole behind a text say, to be put between that text and what follows."""
        gap = _Gap.behind(before, len(ids))
        piece = self._piece(list(ids), spaced=gap.spaced, first=not gap.before)
        return piece.removeprefix(" ") if gap.spaced else piece

    def _laid(self, gaps: Sequence["_Gap"], rest: str) -> tuple[list[int], list[bool]]:
        ids = self.prompt("")
        holes = [False] * len(ids)
        for gap in gaps:
            before = self._plain([gap.before])[0]
            ids += [*before, *[self.mask_id] * gap.size]
            holes += [False] * len(before) + [True] * gap.size
        tail = self._plain([rest])[0] + ([] if self.end_id is None else [self.end_id])
        return ids + tail, holes + [False] * len(tail)

    def given(self, text: str, *, holes: bool) -> list[str]:
        """The given text in pieces, one per id of `prompt`, or of `template` and outside its `holes`.

        Joined they are what was given, where the ids may say it in lower case.
        """
        gaps, rest = _gaps(text) if holes else ([], text)
        pieces = [piece for part in [*(gap.before for gap in gaps), rest] for piece in self._cut(part)]
        begin, end = self.begin_id is not None, holes and self.end_id is not None
        return [""] * begin + pieces + [""] * end

    def filled(self, text: str, ids: Sequence[int]) -> str:
        """The template `text` with `ids`, one for each masked token, in its holes, and else unchanged."""
        gaps, rest = _gaps(text)
        left, whole = list(ids), ""
        for gap in gaps:
            whole += gap.before
            whole += self._piece(left[: gap.size], spaced=gap.spaced, first=not whole)
            left = left[gap.size :]
        return whole + rest

    def frame(self, text: str) -> tuple[list[tuple[str, int]], str]:
        """What `filled` puts before each hole, with the hole's tokens, and what it puts behind the last."""
        gaps, rest = _gaps(text)
        spaces = self.loses_spaces
        return [(gap.before + " " * (gap.spaced and spaces), gap.size) for gap in gaps], rest

    @property
    def loses_spaces(self) -> bool:
        """Whether ids do not say if a space stands before a word, so that a hole's is written apart."""
        return self._plain(["a"]) == self._plain([" a"])

    def _piece(self, ids: list[int], *, spaced: bool, first: bool) -> str:
        """What ids in a hole say; `spaced` where a space stands before it, `first` where nothing does."""
        before = self._plain(["a"])[0]
        base, whole = self.decode(before), self.decode([*before, *ids])
        # Decoders drop a space at the start, or put one between all words: a neighbour shows which.
        piece = whole[len(base) :] if whole.startswith(base) else self.decode(ids)
        if not self.loses_spaces:
            return self.decode(ids) if first else piece
        return (" " if spaced and ids else "") + _SPACE_IN_CJK.sub("", piece.strip())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens left out."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # a list only comes back for a batch
        return text

    def continued(self, prompt: Sequence[int], written: Sequence[int]) -> str:
        """What new ids add to the text; decoded together, as pieces depend on what stands before them."""
        before, whole = self.decode(prompt), self.decode([*prompt, *written])
        return whole[len(before) :] if whole.startswith(before) else self.decode(written)

    def written(self, ids: Sequence[int]) -> list[int]:
        """The ids up to the first end of text, or what fills a row behind it."""
        listed, ends = list(ids), self.ends
        return listed[: next((place for place, id in enumerate(listed) if id in ends), len(listed))]

    def steady(self, ids: Sequence[int]) -> list[int]:
        """The ids without the bytes at their end: a byte that does not fit spoils all bytes before it."""
        left = list(ids)
        while left and _BYTE.fullmatch(str(self.tokenizer.convert_ids_to_tokens(left[-1]))):
            left.pop()
        return left

    def banned(self, vocab: int, *, learns_end: bool) -> list[int]:
        """Ids that a sampler must never write: special ones, and rows of the network that are no token."""
        kept = set(self.ends) if learns_end else set()
        return sorted((self.special_ids | set(range(len(self.tokenizer), vocab))) - kept)

    def told(self, canvas: Canvas) -> Where:
        """What is given of each text and no special token: what a guidance scale weighs."""
        special = torch.tensor(sorted(self.special_ids), dtype=torch.int64, device=canvas.tokens.device)
        return canvas.valid & ~canvas.editable & ~torch.isin(canvas.tokens, special)

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._encoded(texts)["input_ids"]
        return ids

    def _cut(self, text: str) -> list[str]:
        """A piece of the text per id; a character of several ids belongs to the last."""
        fast = self.tokenizer.is_fast
        found = self._encoded([text], return_offsets_mapping=fast)
        # A tokenizer in Python does not say where its ids come from: all is the first one's.
        later = [begin for begin, _ in found["offset_mapping"][0][1:]] if fast else []
        later += [len(text)] * (len(found["input_ids"][0]) - len(later))
        return [text[a:b] for a, b in pairwise([0, *later])]

    def _encoded(self, texts: Sequence[str], **options: bool) -> BatchEncoding:
        # Split, so that a text which spells out "[MASK]" is made of ordinary tokens like any other.
        found: BatchEncoding = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
            **options,
        )
        return found


@dataclass(frozen=True)
class _Gap:
    """Holes of a text that touch, with the text between them and those before."""

    before: str
    size: int
    """Tokens in all."""
    spaced: bool
    """Whether a space that belongs to the first hole stands there."""

    @classmethod
    def behind(cls, text: str, size: int) -> "_Gap":
        """The hole behind a text."""
        return cls(text.removesuffix(" "), size, text.endswith(" "))


def _gaps(text: str) -> tuple[list[_Gap], str]:
    """The holes of a text from left to right, and the text behind the last."""
    gaps, place = list[_Gap](), 0
    for found in HOLE.finditer(text):
        digits, hole = found.group(1) or "1", found.group().strip()
        if len(digits) > _MOST_DIGITS:
            raise SettingsError(
                f"the hole {hole:.24} is longer than any text; write [MASK:n] with a smaller n."
            )
        size = int(digits)
        if size < 1:
            raise SettingsError(f"the hole {hole!r} has no token; write [MASK:n] with n from 1.")
        if gaps and found.start() == place:
            gaps[-1] = replace(gaps[-1], size=gaps[-1].size + size)
        else:
            gaps.append(_Gap(text[place : found.start()], size, found.group().startswith(" ")))
        place = found.end()
    return gaps, text[place:]


def ensure_mask(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give the tokenizer a mask token and the network a vector for it, the mean of all; False if it had one.

    The output layer stays tied where it was, and the new row starts at the mean there too.
    """
    if not add_mask(tokenizer):
        return False
    _begin_at_mean(model, tokenizer, tokenizer.mask_token_id)
    return True


def ensure_filler(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Give the tokenizer that filler, and the network a vector for it as for a mask; False if it had one.

    Either way the vector is learnt from now on, which some networks spare that of padding.
    """
    added = add_filler(tokenizer, name)
    if added:
        new = FILLERS[name].id_of(tokenizer)
        assert new is not None
        _begin_at_mean(model, tokenizer, new)
    embeddings(model).padding_idx = None
    return added


def _begin_at_mean(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, new: int) -> None:
    """Let the vector of an added token, and its row of the output layer, begin at the mean of the others."""
    table = embeddings(model).weight
    mean, rows = table.detach().mean(0), table.shape[0]
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embeddings(model).weight.data[new] = mean
    head = model.get_output_embeddings()
    if isinstance(head, nn.Linear) and head.weight is not embeddings(model).weight:
        head.weight.data[new] = head.weight.data[:rows].mean(0)


def name_mask(tokenizer: PreTrainedTokenizerBase, mask_id: int) -> None:
    """Let an existing token serve as the mask, as checkpoints of others do; texts must not hold it.

    Raises:
        SettingsError: no such id, or it already means something else, or the tokenizer has another mask.
    """
    if tokenizer.mask_token_id == mask_id:
        return
    if tokenizer.mask_token_id is not None:
        raise SettingsError(
            f"mask_token_id is {mask_id}, but the tokenizer's mask is {tokenizer.mask_token!r} (id "
            f"{tokenizer.mask_token_id}); leave mask_token_id out."
        )
    if not 0 <= mask_id < len(tokenizer):
        raise SettingsError(
            f"mask_token_id {mask_id} is outside the vocabulary of {len(tokenizer)} tokens; leave it out to "
            "add a mask token."
        )
    token = tokenizer.convert_ids_to_tokens(mask_id)
    if mask_id in tokenizer.all_special_ids:
        raise SettingsError(
            f"mask_token_id {mask_id} is {token!r}, which already begins, ends or fills up texts; the mask "
            "must be an id of its own: leave it out to add one."
        )
    logger.warning(
        "the mask is the ordinary token %r (id %d): where a text holds it, it is neither learnt nor written",
        token,
        mask_id,
    )
    tokenizer.add_special_tokens({"mask_token": token})


def restore_mask(tokenizer: PreTrainedTokenizerBase, mask_id: int) -> None:
    """Tell a tokenizer which of its tokens is the mask, where it was saved without that word.

    Raises:
        SettingsError: it has no such token.
    """
    if not 0 <= mask_id < len(tokenizer):
        raise SettingsError(
            f"the mask of this model is token {mask_id}, but its tokenizer has {len(tokenizer)} tokens: they "
            "do not belong together."
        )
    tokenizer.add_special_tokens({"mask_token": tokenizer.convert_ids_to_tokens(mask_id)})


def embeddings(model: PreTrainedModel) -> nn.Embedding:
    """The table of a network's token vectors.

    Raises:
        IncompatibleError: it has none.
    """
    found = model.get_input_embeddings()
    parts = found.modules() if isinstance(found, nn.Module) else iter(())
    table = next((part for part in parts if isinstance(part, nn.Embedding)), None)  # adapters may wrap it
    if table is None:
        raise IncompatibleError(
            f"{type(model).__name__} has no table of token vectors; choose another model."
        )
    return table


def add_mask(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give the tokenizer a mask token; False if it had one."""
    if tokenizer.mask_token_id is not None:
        return False
    tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
    return True


def _first(*ids: int | None) -> int | None:
    return next((i for i in ids if i is not None), None)
