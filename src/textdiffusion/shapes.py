"""Names for the tensors that travel through the package (checked in the tests by jaxtyping and beartype)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Int[Tensor, "batch length"]
"""Token ids."""
Logits = Float[Tensor, "*asked vocab"]
"""Unnormalised log-probabilities of x_0; `*asked` is (batch, length), or one axis with `where`."""
Times = Float[Tensor, "batch #length"]
"""Diffusion time in [0, 1]: 0 is clean, 1 is noise; one per text, block or token."""
PerToken = Float[Tensor, "batch length"]
"""A number per token, in nats where it is a loss."""
PerText = Float[Tensor, " batch"]
"""A number per text."""
PerAsked = Float[Tensor, " asked"]
"""A number per position that the network was asked about, in nats where it is a loss."""
Where = Bool[Tensor, "batch length"]
"""A choice of positions."""
Attend = Bool[Tensor, "batch length"] | Bool[Tensor, "batch query key"]
"""True where a key may be seen: for all queries of the text, or query by query."""
Positions = Int[Tensor, "batch length"]
"""Index of each token in its own text, from 0."""
