"""A model that answers as lm-evaluation-harness asks, without needing the harness."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

from ..data.prompted import Prompted
from ..errors import DataError
from ..generation import Decoding
from ..language_model import DiffusionLM
from .answers import Option, greedy, greedy_options, scores, write
from .batches import TOKENS_AT_ONCE
from .documents import Windows, read_corpus
from .likelihood import Passage, score
from .methods import Scoring

logger = logging.getLogger(__name__)
NEW_TOKENS = 256
"""Most tokens of a text for which the task names no number, as in the harness."""
_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_CHANCE = ("temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Respondent:
    """A model and how it answers."""

    lm: DiffusionLM
    scoring: Scoring = Scoring()  # noqa: RUF009  frozen
    """How likelihood is measured."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of what is written, which go before what a task says."""
    seed: int = 0
    tokens_at_once: int = TOKENS_AT_ONCE
    """Tokens in a network call, padding included."""

    @classmethod
    def of(cls, lm: DiffusionLM, options: Mapping[str, Any], **others: Any) -> "Respondent":
        """One by options that are fields of `Scoring`, of `Decoding` or of a sampler, checked here.

        Raises:
            SettingsError, UnknownNameError: an option is unknown or out of range.
        """
        known, shared = _names(Scoring), _names(Scoring) & _names(Decoding)
        scoring = Scoring(**{name: value for name, value in options.items() if name in known})
        writing = {name: value for name, value in options.items() if name not in known - shared}
        Decoding().changed(writing).recipe()
        return cls(lm, scoring, writing, **others)

    def loglikelihood(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """The log p of each continuation, or a bound below it, and whether greedy decoding writes it."""
        options = [Option(*pair) for pair in pairs]
        method, at_once = self.scoring.chosen(), self.tokens_at_once
        found = scores(self.lm, options, method, seed=self.seed, tokens_at_once=at_once)
        right = greedy(self.lm, [each.placed for each in found], at_once)
        return [(-each.nats, here) for each, here in zip(found, right, strict=True)]

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """The log p of whole texts, or a bound below it, cut as `textdiffusion evaluate likelihood` does."""
        windows = Windows.of(self.lm)
        passages = [self._passages(text, windows) for text in texts]
        every = [passage for some in passages for passage in some]
        nats = iter(score(self.lm, every, self.scoring.chosen(), tokens_at_once=self.tokens_at_once).mean)
        return [0.0 - sum((float(next(nats)) for _ in some), 0.0) for some in passages]

    def generate(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """What is written behind each context, by the generation settings that stand beside it."""
        found: dict[int, str] = {}
        order = sorted(range(len(requests)), key=lambda number: repr(requests[number][1]))
        for _, group in groupby(order, key=lambda number: repr(requests[number][1])):
            numbers = list(group)
            texts = self._written([requests[number][0] for number in numbers], requests[numbers[0]][1])
            found |= zip(numbers, texts, strict=True)
        return [found[number] for number in range(len(requests))]

    def _written(self, contexts: Sequence[str], told: Mapping[str, Any]) -> list[str]:
        asked = next((int(told[name]) for name in _LENGTH_NAMES if told.get(name) is not None), NEW_TOKENS)
        length = min(asked, self.lm.longest // 2)
        if length < asked:
            logger.warning("%d new tokens instead of %d: the model holds %d", length, asked, self.lm.longest)
        until = told.get("until") or ()
        texts, _ = write(
            self.lm,
            contexts,
            length=length,
            decoding=self._decoding(told),
            until=[until] if isinstance(until, str) else list(until),
            seed=self.seed,
            tokens_at_once=self.tokens_at_once,
        )
        return texts

    def _decoding(self, told: Mapping[str, Any]) -> Decoding:
        """Greedy, unless the task wants samples; the options of the respondent go before both."""
        wanted = {name: told[name] for name in _CHANCE if told.get(name) is not None}
        drawn = bool(told.get("do_sample", float(wanted.get("temperature", 0.0)) > 0.0))
        return self.lm.decoding(None, {**(wanted if drawn else greedy_options(self.lm)), **self.options})

    def _passages(self, text: str, windows: Windows) -> list[Passage]:
        try:
            return read_corpus([Prompted(None, text)], self.lm, windows, ends=False, seed=self.seed).passages
        except DataError:  # nothing in it can be scored
            return []


def _names(cls: type) -> set[str]:
    return {entry.name for entry in fields(cls)}
