"""-log p of any tokens given others: bounds with their Monte Carlo error, and what is exact."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..canvas import Canvas, check_ids
from ..corruptions import Absorbing, Corruption
from ..denoisers import Denoiser, as_denoiser
from ..errors import SettingsError
from ..language_model import DiffusionLM
from ..objectives import BlockNelbo, NextToken, Objective
from ..objectives.nelbo import whole_text_bound
from ..randomness import RowGenerator
from ..shapes import PerText, Tokens, Where
from .batches import TOKENS_AT_ONCE, in_batches


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate for each text, in nats per sequence."""

    mean: PerText
    standard_error: PerText
    """Standard error of the mean over the samples; 0 where one tells all, else nan with a single one."""


@dataclass(frozen=True)
class Passage:
    """Tokens of which some are scored, given the others."""

    ids: Sequence[int]
    scored: Sequence[bool]
    """One flag for each token."""
    seed: int = 0
    """Of the noise that is drawn for it, whatever else is scored with it."""

    @classmethod
    def answer(cls, prompt: Sequence[int], answer: Sequence[int], seed: int = 0) -> "Passage":
        """An answer that is scored given its prompt."""
        return cls([*prompt, *answer], [False] * len(prompt) + [True] * len(answer), seed)


class Method(ABC):
    """A way to measure -log p."""

    samples: int = 1
    """Draws of noise for each passage, unless one tells all."""
    antithetic: bool = False
    """Whether draws come in pairs that mask what the other one shows."""

    @abstractmethod
    def noise(self, lm: DiffusionLM) -> Corruption:
        """The noise under which a model is measured."""

    @abstractmethod
    def check(self, network: Denoiser, corruption: Corruption) -> None:
        """Raise IncompatibleError or SettingsError if the method has no meaning for the network."""

    @abstractmethod
    def exact(self, network: Denoiser, corruption: Corruption, scored: int) -> bool:
        """Whether one draw tells all about a passage of so many scored tokens."""

    @abstractmethod
    def nats(self, network: Denoiser, corruption: Corruption, canvas: Canvas, draws: RowGenerator) -> PerText:
        """An unbiased estimate of the bound, or the exact -log p, of the editable tokens of each text."""


@dataclass(frozen=True)
class Bound(Method):
    """The evidence lower bound in the form with the least variance, or the likelihood where a network has it.

    By counts (LLaDA, arXiv:2502.09992 eq. 6), block by block where the network reads blocks, and exact where
    it predicts the next token.
    """

    samples: int = 8
    """Draws of noise for each text; one where a single one tells all."""
    antithetic: bool = True
    """Draw them in pairs that mask what the other one shows: less variance for the same cost."""
    objective: Objective | None = None
    """Another form, e.g. `Nelbo()` for the integral over time."""

    def __post_init__(self) -> None:
        """Refuse no samples."""
        if self.samples < 1:
            raise SettingsError(f"samples is {self.samples}; at least 1 is needed.")

    def noise(self, lm: DiffusionLM) -> Corruption:
        return lm.corruption

    def check(self, network: Denoiser, corruption: Corruption) -> None:
        self._rule(network, corruption).check(corruption)

    def exact(self, network: Denoiser, corruption: Corruption, scored: int) -> bool:
        return self._rule(network, corruption).exact(scored)

    def nats(self, network: Denoiser, corruption: Corruption, canvas: Canvas, draws: RowGenerator) -> PerText:
        return self._rule(network, corruption)(network, corruption, canvas, draws).nats.sum(1)

    def _rule(self, network: Denoiser, corruption: Corruption) -> Objective:
        return self.objective or bound_of(network, corruption)


def score(
    lm: DiffusionLM,
    passages: Sequence[Passage],
    method: Method | None = None,
    *,
    tokens_at_once: int = TOKENS_AT_ONCE,
    progress: Callable[[float], None] | None = None,
) -> Estimate:
    """-log p of the scored tokens of each passage given its others, in nats, in order; `Bound()` by default.

    With the default that of an answer is LLaDA's estimator of conditional likelihood, but for its stratified
    and paired draws. Passages of any length go together: padding is not seen, not scored, and changes
    nothing. Batches that the memory does not hold are halved.

    Raises:
        SettingsError: a passage without tokens or longer than the network's positions, a mask where a token
            is scored, or a first token that the network cannot be asked about.
        IncompatibleError: the method has no meaning for the model.
    """
    way = Bound() if method is None else method
    run = _Run(lm.denoiser, way.noise(lm), way, lm.format.pad_id, lm.model.device, tokens_at_once, progress)
    return run.score(passages)


def nelbo(
    denoiser: Denoiser | Callable[[Tensor], Tensor],
    tokens: Tokens,
    *,
    mask_id: int,
    samples: int,
    generator: torch.Generator | None = None,
    editable: Where | None = None,
    objective: Objective | None = None,
    antithetic: bool = True,
) -> Estimate:
    """Negative evidence lower bound on log p(tokens), nats per sequence, each [batch].

    By default the count form (LLaDA, arXiv:2502.09992 eq. 6), which has the least variance, block by block
    where the network reads blocks, and the exact likelihood where it predicts the next token; `Nelbo()` gives
    the integral over time. `editable` are the tokens that are scored, given the others: by default all, but
    the first where the network says each token from the one before it. The samples of each text are
    stratified, which makes the standard error an upper estimate, and come in `antithetic` pairs. Without a
    `generator` the draws are those of seed 0.

    Raises:
        SettingsError: no ids, texts of no tokens, a mask where a token is scored, or too few samples.
    """
    check_ids(tokens)
    network, way = as_denoiser(denoiser), Bound(samples, antithetic, objective)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    seeds = torch.randint(2**62, (len(tokens),), generator=source, device=source.device).tolist()
    if editable is not None and editable.shape != tokens.shape:
        raise SettingsError(
            f"editable has shape {tuple(editable.shape)}; give one flag for each of the tokens "
            f"{tuple(tokens.shape)}."
        )
    holes = (_all_said(network, tokens) if editable is None else editable).tolist()
    passages = [Passage(*row) for row in zip(tokens.tolist(), holes, seeds, strict=True)]
    return _Run(network, Absorbing(mask_id), way, 0, tokens.device, TOKENS_AT_ONCE).score(passages)


def bound_of(network: Denoiser, corruption: Corruption) -> Objective:
    """What measures a network of this kind, with the least variance that is to be had."""
    if network.next_token:
        return NextToken()
    if network.block_size is not None:
        return BlockNelbo(network.block_size)
    return whole_text_bound(corruption)


def _all_said(network: Denoiser, tokens: Tokens) -> Where:
    """All tokens that the network can be asked about."""
    said = torch.ones_like(tokens, dtype=torch.bool)
    said[:, :1] = not network.shift
    return said


@dataclass(frozen=True)
class _Run:
    """All that scoring needs beside the passages."""

    network: Denoiser
    corruption: Corruption
    method: Method
    pad_id: int
    device: torch.device
    tokens_at_once: int
    progress: Callable[[float], None] | None = None

    def score(self, passages: Sequence[Passage]) -> Estimate:
        """The estimate for each passage, every draw of each a row of some batch."""
        self._check(passages)
        told = [self._exact(passage) for passage in passages]
        counts = [1 if exact else self.method.samples for exact in told]
        of = np.repeat(np.arange(len(passages)), counts)
        sample = np.concatenate([np.arange(count) for count in counts]) if counts else of
        sizes = np.array([len(passage.ids) for passage in passages], dtype=np.int64)[of]
        rows = in_batches(
            lambda rows: self._nats([passages[of[row]] for row in rows], sample[rows].tolist()),
            sizes.tolist(),
            self.tokens_at_once,
            progress=self.progress,
        )
        parts = np.split(np.array(rows), np.cumsum(counts)[:-1]) if counts else []
        errors = [0.0 if exact else self._error(part) for exact, part in zip(told, parts, strict=True)]
        mean = torch.tensor([float(part.mean()) for part in parts], dtype=torch.float64)
        return Estimate(mean, torch.tensor(errors, dtype=torch.float64))

    def _exact(self, passage: Passage) -> bool:
        return self.method.exact(self.network, self.corruption, sum(passage.scored))

    @torch.inference_mode()
    def _nats(self, passages: Sequence[Passage], sample: list[int]) -> list[float]:
        rows, scored = [p.ids for p in passages], [p.scored for p in passages]
        canvas = Canvas.from_rows(rows, scored, pad_id=self.pad_id).to(self.device)
        draws = RowGenerator.for_samples(
            [passage.seed for passage in passages],
            sample,
            self.method.samples,
            antithetic=self.method.antithetic,
            device=self.device,
        )
        nats = self.method.nats(self.network, self.corruption, canvas, draws)
        found: list[float] = nats.cpu().double().tolist()
        return found

    def _error(self, nats: NDArray[np.float64]) -> float:
        """Standard error of the mean; draws of a pair hang together and count as one."""
        size = 2 if self.method.antithetic else 1
        means = np.array([nats[first : first + size].mean() for first in range(0, len(nats), size)])
        return float(means.std(ddof=1) / len(means) ** 0.5) if len(means) > 1 else float("nan")

    def _check(self, passages: Sequence[Passage]) -> None:
        self.method.check(self.network, self.corruption)
        mask, longest = self.corruption.mask_id, self.network.longest
        for ids, scored in ((passage.ids, passage.scored) for passage in passages):
            if not ids:
                raise SettingsError("the texts have no tokens; give at least one token to each.")
            if longest is not None and len(ids) > longest:
                raise SettingsError(
                    f"a text of {len(ids)} tokens is longer than the network's {longest} positions; cut it."
                )
            if any(token == mask and here for token, here in zip(ids, scored, strict=True)):
                raise SettingsError(
                    f"a token to be scored is the mask itself (id {mask}), which is no text; give whole "
                    "texts, or leave it out of what is scored."
                )
            if self.network.shift and scored[0]:
                raise SettingsError(
                    "the first token is to be scored, but this network says each token from the one before "
                    "it; leave it out of what is scored."
                )
