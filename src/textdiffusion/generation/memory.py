"""What a network must read again while a text is written: the caches, exact and approximate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..denoisers import CachingDenoiser, Denoiser
from ..errors import IncompatibleError
from ..registry import Registry


@dataclass(frozen=True)
class Stretch:
    """Columns that a call reads, from `begin` to before `end`; they see at least up to before `reads`."""

    begin: int
    end: int
    reads: int = 0


class Memory(ABC):
    """A rule for the calls that write one part of a canvas of `width` columns, the block `begin` to `end`."""

    @abstractmethod
    def check(self, denoiser: Denoiser) -> None:
        """Raise IncompatibleError if the rule has no meaning for the network."""

    @abstractmethod
    def first(self, block: Stretch, known: int, width: int) -> Stretch:
        """What the first call reads; the columns before `known` are remembered as they stand now."""

    @abstractmethod
    def later(self, block: Stretch, width: int) -> Stretch:
        """What every other call reads."""


@dataclass(frozen=True)
class Exact(Memory):
    """Finished blocks are read once, together with the first look at the next one (BD3-LM, arXiv:2503.09573).

    Nothing is lost, as a network that was trained in blocks never looks ahead.
    """

    def check(self, denoiser: Denoiser) -> None:
        if denoiser.block_size is None or not isinstance(denoiser, CachingDenoiser):
            raise IncompatibleError(
                "the exact cache needs a network that was trained block by block (objective block-nelbo): in "
                "this one all tokens see each other, so a new one changes all. Ask for cache none, or for "
                "the approximate prefix or dual."
            )

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

    def check(self, denoiser: Denoiser) -> None:
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


def memory_for(denoiser: Denoiser, name: str | None) -> Memory | None:
    """The cache of that name; left out, the exact one where the network has it.

    Raises:
        IncompatibleError: the network has no such cache.
    """
    memory = CACHES[("none" if denoiser.block_size is None else "exact") if name is None else name]
    if memory is not None:
        memory.check(denoiser)
    return memory
