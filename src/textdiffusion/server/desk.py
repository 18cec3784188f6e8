"""What all endpoints share: the engine, tokenizers of their own, and the checks that come before a queue."""

import threading
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from ..errors import SettingsError
from ..generation import Decoding
from ..guidance import Classifier
from ..language_model import DiffusionLM
from ..registry import did_you_mean
from ..serving import Engine, Handle
from .failures import Failure, Refused
from .protocol import Asked
from .settings import ServerSettings
from .writing import Tells, Text, Wanted

T = TypeVar("T")
Guides = Callable[[str], Classifier]
"""From a label to what steers texts to it."""


class Desk:
    """Where requests are made out and handed to the engine.

    A tokenizer is told from call to call how to treat special tokens, so that two threads cannot share one:
    requests are made out one at a time with one of our own, texts are read in the event loop with another,
    and the third is the engine's.
    """

    def __init__(
        self, lm: DiffusionLM, engine: Engine, settings: ServerSettings, guides: Guides | None = None
    ) -> None:
        """The engine must be of this model."""
        self.engine, self.settings = engine, settings
        self.format = replace(lm.format, tokenizer=deepcopy(lm.format.tokenizer))
        self._writer = copy(lm)
        self._writer.format = replace(lm.format, tokenizer=deepcopy(lm.format.tokenizer))
        self._lock = threading.Lock()
        self._guides, self._guide_of = guides, dict[str, Classifier]()
        self.vocab_size = lm.vocab_size
        folder = Path(lm.name).is_dir()
        self.model = settings.served_name or (Path(lm.name).resolve().name if folder else lm.name)

    async def prepared(self, make: Callable[[DiffusionLM], T]) -> T:
        """What is made of the model without asking its network, in a thread and one at a time."""
        return await run_in_threadpool(self._made, make)

    def _made(self, make: Callable[[DiffusionLM], T]) -> T:
        with self._lock:
            return make(self._writer)

    def check_model(self, name: str | None) -> None:
        """Refuse another model than the one that is served."""
        if name in (None, self.model):
            return
        said = f"there is no model {name!r} here.{did_you_mean(name, [self.model])} Served: {self.model}."
        raise Refused(Failure(404, said, code="model_not_found", param="model"))

    def check_texts(self, number: int) -> None:
        """Refuse more texts than one request may have."""
        most = self.settings.max_texts
        if number > most:
            raise SettingsError(
                f"the request asks for {number} texts, and one may have {most}: ask in parts."
            )

    def decoding(self, lm: DiffusionLM, body: Asked, *, tells: bool) -> Decoding:
        """The settings that a request asks for; `tells` if it wants to hear how probable its tokens were.

        Raises:
            SettingsError, UnknownNameError: they cannot be.
        """
        steps = body.options.get("steps", 0)
        if steps > self.settings.max_steps:
            raise SettingsError(f"steps is {steps}; at most {self.settings.max_steps} are allowed here.")
        decoding = lm.decoding(None, body.options)
        sampler = decoding.recipe().sampler
        if tells and not sampler.keeps(lm.process(sampler)):
            raise SettingsError(
                f"logprobs: the sampler {decoding.sampler} writes places more than once, so that no "
                "probability belongs to a token; leave logprobs out or take another sampler."
            )
        return decoding

    def guide(self, label: str | None) -> Classifier | None:
        """What steers to a label, loaded at its first use; to be called where requests are made out.

        Raises:
            SettingsError, UnknownNameError: there is none.
        """
        if label is None:
            return None
        if self._guides is None:
            raise SettingsError(
                "label: this server has no classifier; start it with --classifier, or leave it out."
            )
        if label not in self._guide_of:
            self._guide_of[label] = self._guides(label)
        return self._guide_of[label]

    def texts(
        self, body: Asked, wanted: Sequence[Wanted], stops: Sequence[str], *, tokens: bool
    ) -> list[Text]:
        """The queued texts of a request, each as it will be told; `tokens` if one by one too.

        Raises:
            EngineFull, EngineClosed, SettingsError: as `Engine.submit`.
        """
        tells = Tells(tokens, bool(body.stream and body.stream_steps))
        handles = self.submit(wanted)
        return [
            Text(one, handle, self.format, stops, tells) for one, handle in zip(wanted, handles, strict=True)
        ]

    def submit(self, wanted: Sequence[Wanted]) -> list[Handle]:
        """Queue all texts of a request, or none.

        Raises:
            EngineFull, EngineClosed, SettingsError: as `Engine.submit`.
        """
        handles = list[Handle]()
        try:
            for one in wanted:
                handles.append(self.engine.submit(one.order))
        except BaseException:
            for handle in handles:
                handle.cancel()
            raise
        return handles
