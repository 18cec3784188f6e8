"""A joint distribution small enough to write down, and the denoiser that knows all its conditionals."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import torch
from torch import Tensor

LENGTH, WORDS, MASK = 4, 3, 3
"""Texts of four tokens 0, 1, 2; the mask is token 3."""


@dataclass(frozen=True)
class Oracle:
    """p(x) over all 81 texts, with strong ties between neighbours and no cell below 0.1 %."""

    seed: int = 0

    @cached_property
    def texts(self) -> Tensor:
        return torch.tensor(list(product(range(WORDS), repeat=LENGTH)))

    @cached_property
    def joint(self) -> Tensor:
        x = self.texts
        noise = torch.randn(len(x), generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
        ties = (x[:, :-1] == x[:, 1:]).double().sum(1) + 1.5 * (x[:, 0] == x[:, 3]).double()
        return 0.9 * (0.7 * noise + 1.2 * ties).softmax(0) + 0.1 / len(x)

    @cached_property
    def table(self) -> Tensor:
        """log p(x_i = v | what else is visible) for each of the 256 partly masked texts: [256, 4, 3]."""
        rows = []
        for state in product(range(WORDS + 1), repeat=LENGTH):
            seen = torch.tensor(state)
            fits = (self.texts == seen) | (seen == MASK)
            for i in range(LENGTH):
                others = fits.clone()
                others[:, i] = True
                mass = self.joint * others.all(1)
                rows.append(torch.stack([mass[self.texts[:, i] == v].sum() for v in range(WORDS)]))
        return torch.stack(rows).view(-1, LENGTH, WORDS).log()

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits [batch, 4, 4]; the mask gets the highest, which nobody may ever read."""
        place = (tokens * (WORDS + 1) ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
        return torch.nn.functional.pad(self.table[place].float(), (0, 1), value=9.0)

    def counts(self, tokens: Tensor) -> Tensor:
        """How often each of the 81 texts occurs."""
        place = (tokens * WORDS ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
        return place.bincount(minlength=len(self.texts))

    def log_p(self, tokens: Tensor, given: Tensor | None = None) -> Tensor:
        """log p of each text, or of its tokens outside `given` when those inside are known."""
        found = []
        for row, text in enumerate(tokens):
            here = (self.texts == text).all(1)
            known = torch.zeros(LENGTH, dtype=torch.bool) if given is None else given[row]
            fits = ((self.texts == text) | ~known).all(1)
            found.append(self.joint[here].sum().log() - self.joint[fits].sum().log())
        return torch.stack(found)


@lru_cache
def oracle() -> Oracle:
    """The one joint that all tests share."""
    return Oracle()
