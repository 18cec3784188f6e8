"""What a network must read again while a text is written: the caches, exact and approximate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..denoisers import CachingDenoiser, Denoiser
from ..errors import IncompatibleError
from ..registry import Registry
from ..samplers import Sampler


@dataclass(frozen=True)
class Stretch:
    """Columns that a call reads, from `begin` to before `end`; they see at least up to before `reads`."""

    begin: int
    end: int
    reads: int = 0


class Memory(ABC):
    """A rule for the calls that write one part of a canvas of `width` columns, the block `begin` to `end`."""

    @abstractmethod
    def check(self, denoiser: Denoiser, sampler: Sampler) -> None:
        """Raise IncompatibleError if the rule has no meaning for the network, or the sampler breaks it."""

    @abstractmethod
    def first(self, block: Stretch, known: int, width: int) -> Stretch:
        """What the first call reads; the columns before `known` are remembered as they stand now."""

    @abstractmethod
    def later(self, block: Stretch, width: int) -> Stretch:
        """What every other call reads."""


@dataclass(frozen=True)
class Exact(Memory):
    """Finished blocks are read once, together with the first look at the next one (BD3-LM, arXiv:2503.09573).

    Nothing is lost, as a network that was trained in blocks never looks ahead, and a sampler that keeps to
    its window changes only what is read at every call.
    """

    def check(self, denoiser: Denoiser, sampler: Sampler) -> None:
        if denoiser.block_size is None or not isinstance(denoiser, CachingDenoiser):
            raise IncompatibleError(
                "the exact cache needs a network that was trained block by block (objective block-nelbo): in "
                "this one all tokens see each other, so a new one changes all. Ask for cache none, or for "
                "the approximate prefix or dual."
            )
        check_stays(sampler)

    def first(self, block: Stretch, known: int, width: int) -> Stretch:
        return Stretch(known, block.end)

    def later(self, block: Stretch, width: int) -> Stretch:
        return block


@dataclass(frozen=True)
class Approximate(Memory):
    """All is read once per block, then the block, and what stands behind it if `suffix`.

    The prefix and the dual cache of Fast-dLLM (arXiv:2505.22618): what is remembered grows stale.
    """

    suffix: bool
    """Read what stands behind the block at every call, too."""

    def check(self, denoiser: Denoiser, sampler: Sampler) -> None:
        if denoiser.block_size is not None:
            raise IncompatibleError(
                "this network was trained block by block and has an exact cache: leave the approximate "
                "one out."
            )
        if not isinstance(denoiser, CachingDenoiser):
            raise IncompatibleError(
                "this network cannot remember what it has read: leave the cache out, or train our own "
                "network."
            )

    def first(self, block: Stretch, known: int, width: int) -> Stretch:
        return Stretch(0, width)

    def later(self, block: Stretch, width: int) -> Stretch:
        return Stretch(block.begin, width) if self.suffix else Stretch(block.begin, block.end, width)


CACHES: Registry[Memory | None] = Registry(
    "cache",
    {"none": None, "exact": Exact(), "prefix": Approximate(suffix=True), "dual": Approximate(suffix=False)},
)
"""What is approximate must be asked for by name."""


def check_stays(sampler: Sampler) -> None:
    """Raise IncompatibleError if the sampler may change blocks that an exact memory has read for good."""
    if sampler.beyond:
        raise IncompatibleError(
            "this sampler takes back tokens of finished blocks, which the exact cache has read for good: "
            "leave that cache out, or take another sampler."
        )


def memory_for(denoiser: Denoiser, sampler: Sampler, name: str | None) -> Memory | None:
    """The cache of that name; left out, the exact one where network and sampler allow it.

    Raises:
        IncompatibleError: the network has no such cache, or the sampler would make it wrong.
    """
    exact = denoiser.block_size is not None and not sampler.beyond
    memory = CACHES[("exact" if exact else "none") if name is None else name]
    if memory is not None:
        memory.check(denoiser, sampler)
    return memory
