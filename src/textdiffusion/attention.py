"""Who may look at whom: boolean masks, True where a query may see a key."""

import torch
from jaxtyping import Bool
from torch import Tensor

from .shapes import Attend


def block_causal(
    length: int, block: int, device: torch.device | str | None = None
) -> Bool[Tensor, "length length"]:
    """A position sees its own block and all earlier ones; `block` 1 is causal (BD3-LM, arXiv:2503.09573)."""
    index = torch.arange(length, device=device) // block
    return index[:, None] >= index[None, :]


def combine(
    attend: Attend | None, pattern: Bool[Tensor, "query key"] | None
) -> Bool[Tensor, "batch 1 #query key"] | None:
    """One mask for scaled_dot_product_attention, or None where everything may be seen.

    A query that may see nothing at all (padding) sees everything instead: it is never read, and a fully
    masked row would give nan.
    """
    if attend is None:
        return None if pattern is None else pattern[None, None]
    mask = attend[:, None, None, :] if attend.ndim == 2 else attend[:, None]
    if pattern is not None:
        mask = mask & pattern[None, None]
    return mask | ~mask.any(-1, keepdim=True)
