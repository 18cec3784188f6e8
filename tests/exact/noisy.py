"""The denoiser that knows a joint, for noise that cannot be seen: each token as the others tell it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from scipy.stats import chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Corruption
from textdiffusion.denoisers import Denoiser
from textdiffusion.generation import Decoding, denoise
from textdiffusion.randomness import RowGenerator
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where

SAMPLES = 6000


@dataclass(frozen=True)
class Joint:
    """Probabilities of texts of equal length; the mask is the token after the words."""

    texts: Tensor
    chance: Tensor
    words: int

    @classmethod
    def random(cls, length: int = 2, words: int = 3, seed: int = 0) -> "Joint":
        """All texts, with ties between neighbours."""
        texts = torch.tensor(list(product(range(words), repeat=length)))
        noise = torch.randn(len(texts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        ties = (texts[:, :-1] == texts[:, 1:]).double().sum(1)
        return cls(texts, (0.7 * noise + ties).softmax(0), words)

    @property
    def vocab(self) -> int:
        return self.words + 1

    @property
    def states(self) -> Tensor:
        """All noisy texts, [vocab ** length, length], in the order of `place`."""
        return torch.tensor(list(product(range(self.vocab), repeat=self.texts.shape[1])))

    def place(self, tokens: Tensor) -> Tensor:
        """Number of each noisy text."""
        length = tokens.shape[1]
        return (tokens * self.vocab ** torch.arange(length - 1, -1, -1)).sum(1)

    def kernel(self, corruption: Corruption, t: float) -> Tensor:
        """q(x_t | x_0) of one token, [words, vocab]."""
        x0 = torch.arange(self.words)[:, None]
        time = torch.full((self.words, 1), t, dtype=torch.float64)
        return corruption.marginal(x0, time, self.vocab)[:, 0]

    def reach(self, corruption: Corruption, t: float) -> Tensor:
        """q(x_t | x_0) of whole texts, [texts, states]."""
        q = self.kernel(corruption, t)
        states = self.states
        return torch.stack([q[self.texts[:, i]][:, states[:, i]] for i in range(self.texts.shape[1])]).prod(0)

    def law(self, corruption: Corruption, t: float) -> Tensor:
        """q(x_t), [states]."""
        return self.chance @ self.reach(corruption, t)

    def told(self, corruption: Corruption, t: float) -> Tensor:
        """p(x_0 at i | x_t elsewhere) for every noisy text, [states, length, vocab]."""
        q, states, length = self.kernel(corruption, t), self.states, self.texts.shape[1]
        each = torch.stack([q[self.texts[:, i]][:, states[:, i]] for i in range(length)])
        found = torch.zeros(len(states), length, self.vocab, dtype=torch.float64)
        for i in range(length):
            others = each[[j for j in range(length) if j != i]].prod(0) * self.chance[:, None]
            found[:, i].index_add_(1, self.texts[:, i], others.T.contiguous())
        words = torch.arange(self.vocab) < self.words
        # Of what cannot have come about anything may be said.
        found = torch.where(found.sum(-1, keepdim=True) > 0.0, found, words.double())
        return found / found.sum(-1, keepdim=True)


Told = Callable[[float], Tensor]
"""What is said at a time of every noisy text, [states, length, vocab], as probabilities."""


@dataclass(frozen=True)
class Says(Denoiser):
    """Answers by the time; all texts of a call may have their own."""

    joint: Joint
    told: Told

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        logits = torch.empty(*xt.shape, self.joint.vocab)
        for time in t[:, 0].unique().tolist():
            rows = t[:, 0] == time
            logits[rows] = self.told(time)[self.joint.place(xt[rows])].log().float()
        return logits if where is None else logits[where]


def noisy_oracle(joint: Joint, corruption: Corruption) -> Says:
    """The denoiser that knows the joint, and each token as the others tell it."""
    return Says(joint, lambda time: joint.told(corruption, time))


def frames(joint: Joint, corruption: Corruption, steps: int, sampler: str, **settings: float) -> list[Tensor]:
    """x_t after each step, of many texts, from the oracle."""
    tokens = torch.full((SAMPLES, joint.texts.shape[1]), joint.words)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    decoding = Decoding().changed({"sampler": sampler, "steps": steps, "temperature": 1.0, **settings})
    rows, oracle = RowGenerator.for_rows(range(SAMPLES)), noisy_oracle(joint, corruption)
    canvas = Canvas(tokens, everywhere, everywhere)
    return [frame.tokens for frame in denoise(oracle, corruption, canvas, decoding, rows)]


def fit(joint: Joint, tokens: Tensor, law: Tensor) -> float:
    """p-value of noisy texts under their law; what cannot happen does not."""
    seen = joint.place(tokens).bincount(minlength=len(law)).double()
    assert not bool(seen[law <= 0.0].any())
    often = law > 5 / SAMPLES
    cells = [torch.cat([part[often], part[~often].sum()[None]]) for part in (seen, law * SAMPLES)]
    return float(chisquare(*(part[cells[1] > 0.0].numpy() for part in cells)).pvalue)
