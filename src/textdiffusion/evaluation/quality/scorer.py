"""The model before which texts are judged: any that the package loads."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ...canvas import Canvas
from ...errors import SettingsError
from ...language_model import DiffusionLM
from ..batches import TOKENS_AT_ONCE, in_batches
from ..documents import split_ids
from ..likelihood import Bound, Passage, score
from .texts import Texts

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Scorer:
    """A model that reads texts, and remembers what it found."""

    lm: DiffusionLM
    same_ids: bool
    """Whether it reads the very ids that were written; else it reads the text by its own tokenizer."""
    method: Bound = field(default_factory=Bound)
    tokens_at_once: int = TOKENS_AT_ONCE
    _nats: dict[tuple[int, ...], float] = field(default_factory=dict, repr=False)
    _features: dict[tuple[int, ...], Features] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        lm: DiffusionLM,
        writer: DiffusionLM,
        *,
        samples: int = Bound.samples,
        tokens_at_once: int = TOKENS_AT_ONCE,
    ) -> "Scorer":
        """The scorer of what another model writes; a bound takes so many `samples` of noise for each text."""
        same = lm is writer or lm.format.fingerprint() == writer.format.fingerprint()
        return cls(lm, same, Bound(samples), tokens_at_once)

    @property
    def exact(self) -> bool:
        """Whether it knows the likelihood itself, as autoregressive models do, and not an upper bound."""
        return self.method.exact(self.lm.denoiser, self.method.noise(self.lm), scored=2)

    def nats(self, texts: Texts) -> list[tuple[float, float, float]]:
        """-log p of each text given its prompt, in nats, how many tokens that was said of, and its bytes.

        Ends of texts are not scored. Of a text of no tokens all three are 0.

        Raises:
            SettingsError: a text does not fit into the scorer.
        """
        passages = self._passages(texts)
        new = {
            _key(passage): passage
            for passage in passages
            if any(passage.scored) and _key(passage) not in self._nats
        }
        found = score(self.lm, list(new.values()), self.method, tokens_at_once=self.tokens_at_once)
        self._nats.update(zip(new, found.mean.tolist(), strict=True))
        return [
            (self._nats.get(_key(passage), 0.0), float(sum(passage.scored)), float(len(text.encode())))
            for passage, text in zip(passages, texts.texts, strict=True)
        ]

    def features(self, texts: Texts) -> Features:
        """The mean over each text of its last hidden states there, [texts, width]; zeros for no text.

        Raises:
            SettingsError: a text does not fit into the scorer.
            IncompatibleError: it has no hidden states that can be read.
        """
        passages = self._passages(texts)
        new = list(
            {_key(passage): passage for passage in passages if _key(passage) not in self._features}.values()
        )
        rows = in_batches(
            lambda rows: self._means([new[row] for row in rows]),
            [len(passage.ids) for passage in new],
            self.tokens_at_once,
        )
        self._features.update(zip(map(_key, new), rows, strict=True))
        return np.stack([self._features[_key(passage)] for passage in passages])

    def _passages(self, texts: Texts) -> list[Passage]:
        found = [self._passage(texts, row) for row in range(len(texts))]
        longest = max((len(passage.ids) for passage in found), default=0)
        if longest > self.lm.longest:
            raise SettingsError(
                f"a text has {longest} tokens of the scorer {self.lm.name}, which holds {self.lm.longest}: "
                "name a scorer with more context, or lower --length or --given."
            )
        return found

    def _passage(self, texts: Texts, row: int) -> Passage:
        if self.same_ids:
            start, rest = list(texts.given[row]), list(texts.written[row])
        else:
            start, rest = split_ids(self.lm.format, texts.prompts[row], texts.texts[row])
        ids = start + rest
        unasked = max(len(start), int(self.lm.denoiser.shift))
        seed = zlib.crc32(np.asarray(ids, dtype=np.int64).tobytes())  # its own, whatever else is scored
        return Passage(ids, [place >= unasked for place in range(len(ids))], seed)

    @torch.inference_mode()
    def _means(self, passages: Sequence[Passage]) -> list[Features]:
        rows = [passage.ids or [self.lm.format.pad_id] for passage in passages]
        scored = [passage.scored or [False] for passage in passages]
        canvas = Canvas.from_rows(rows, scored, pad_id=self.lm.format.pad_id).to(self.lm.model.device)
        now = torch.zeros(len(rows), 1, device=self.lm.model.device)
        where = canvas.editable
        states = self.lm.denoiser.hidden(
            canvas.tokens, now, attend=canvas.attend, positions=canvas.positions, where=where
        )
        sums = torch.zeros(len(rows), states.shape[-1], device=states.device)
        sums.index_add_(0, where.nonzero()[:, 0], states.float())
        means = sums / where.sum(1, keepdim=True).clamp(min=1)
        return list(means.cpu().numpy())


def _key(passage: Passage) -> tuple[int, ...]:
    """What tells passages apart: the ids, and how many of them are given."""
    return (passage.scored.count(True), *passage.ids)
