"""Who may look at whom: boolean masks, True where a query may see a key."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from .shapes import Attend


def block_causal(
    length: int, block: int, device: torch.device | str | None = None, *, start: int = 0
) -> Bool[Tensor, "query length"]:
    """A position sees its own block and all earlier ones; `block` 1 is causal (BD3-LM, arXiv:2503.09573).

    The queries are the positions from `start` on.
    """
    index = torch.arange(length, device=device) // block
    return index[start:, None] >= index[None, :]


def noisy_and_clean(
    length: int, block: int, device: torch.device | str | None = None
) -> Bool[Tensor, "twice twice"]:
    """Who sees whom in [x_t ; x_0], where one call scores every block (BD3-LM, arXiv:2503.09573).

    A noisy block sees itself and the clean blocks before it; a clean block sees clean blocks up to itself.
    """
    index = torch.arange(length, device=device) // block
    same, before = index[:, None] == index[None, :], index[:, None] > index[None, :]
    noisy = torch.cat([same, before], dim=1)
    clean = torch.cat([torch.zeros_like(same), same | before], dim=1)
    return torch.cat([noisy, clean], dim=0)


def opened(uniform: Float[Tensor, "#batch query key"], share: float) -> Bool[Tensor, "#batch query key"]:
    """A position sees what stands before it, itself, and a `share` of what stands behind it, by chance.

    Attention annealing of DiffuLLaMA (arXiv:2410.17891): 0 is causal, 1 sees all.
    """
    length = uniform.shape[-1]
    causal = torch.ones(length, length, dtype=torch.bool, device=uniform.device).tril()
    return causal | (uniform < share)


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


def in_tiles(mask: Bool[Tensor, "#batch 1 #query key"], batch: int, query: int) -> BlockMask:
    """A mask for torch's flex_attention, which leaves out tiles of 128 x 128 where nothing may be seen.

    Any number of queries and keys will do. Where a tile is seen in part the mask itself is read, which must
    not change meanwhile.
    """
    whole = mask.expand(batch, 1, query, mask.shape[-1])
    return create_block_mask(
        lambda row, head, i, j: whole[row, 0, i, j],
        B=None if len(mask) == 1 else batch,
        H=None,
        Q_LEN=query,
        KV_LEN=mask.shape[-1],
        device=mask.device,
    )
