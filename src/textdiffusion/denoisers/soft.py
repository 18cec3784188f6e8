"""Soft tokens for networks of transformers: weighted means of the rows of their input embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ..errors import IncompatibleError
from ..shapes import Attend, Logits, Positions, Times, Where
from ..soft_tokens import SoftTokens
from .base import Denoiser


class SoftReader(Denoiser):
    """A denoiser whose network looks its tokens up in a table, so that it can be given several at once."""

    network: PreTrainedModel

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        with softened(self.network, xt):
            return self(xt.largest, t, attend=attend, positions=positions, where=where)


@contextmanager
def softened(network: PreTrainedModel, xt: SoftTokens) -> Iterator[None]:
    """Within it the network, given ``xt.largest``, reads the soft tokens instead.

    Its table of embeddings is asked about all tokens of all places, and their mean takes the place of its
    answer; so whatever a family does with its embeddings is done as ever.

    Raises:
        IncompatibleError: it does not read its tokens by such a table, one after the other.
    """
    table, places, used = network.get_input_embeddings(), xt.largest.shape, []

    def spread(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(args) != 1 or args[0].shape != places:
            raise _refused(network)
        used.append(True)
        return (xt.ids.flatten(1),)

    def mean(module: Any, args: Any, output: Tensor) -> Tensor:
        rows = output.view(*xt.ids.shape, output.shape[-1])
        # No product of matrices, which autocast would round.
        found: Tensor = (rows * xt.weights[..., None].to(rows.dtype)).sum(2)
        return found

    handles = table.register_forward_pre_hook(spread), table.register_forward_hook(mean)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not used:
        raise _refused(network)


def _refused(network: PreTrainedModel) -> IncompatibleError:
    return IncompatibleError(
        f"{type(network).__name__} does not look its tokens up one by one, and cannot be given soft tokens; "
        "train it by another objective, such as nelbo."
    )
