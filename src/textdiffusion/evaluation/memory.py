"""How much memory a piece of work takes at its most, and what autograd keeps of it."""

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

_Result = TypeVar("_Result")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""What Linux wants to be told so that the peak of a process begins anew (man 5 proc)."""
_COUNTED = ("cuda",)
"""Kinds of devices that count their own memory."""


def weighed(work: Callable[[], _Result], device: torch.device) -> tuple[_Result, float | None]:
    """The result of some work, and the most megabytes that it held above what was held before.

    On a GPU that is what torch handed out there; on a CPU what the process took, as Linux tells it; None
    where nobody tells.
    """
    if device.type in _COUNTED:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return work(), (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not _forget_peak():
        return work(), None
    resident = _megabytes("VmRSS")
    return work(), max(0.0, _megabytes("VmHWM") - resident)


class Kept:
    """What autograd keeps for the backward pass, in bytes of distinct storages; see `kept`."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Leave out `weights`, which are there anyway."""
        self._there = {weight.untyped_storage().data_ptr() for weight in weights}
        self._kept = dict[int, int]()

    @property
    def bytes(self) -> int:
        """Bytes kept so far."""
        return sum(self._kept.values())

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept, and hand it on."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._there:
            self._kept[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def kept(weights: Iterable[Tensor]) -> Iterator[Kept]:
    """Count what a forward pass in this context keeps for the backward pass beside the weights.

    Exact, and the same on every device whose kernels keep the same tensors. What is computed again instead of
    kept counts with its input alone.
    """
    found = Kept(weights)
    with saved_tensors_hooks(found.note, lambda tensor: tensor):
        yield found


def _forget_peak() -> bool:
    """Begin the peak of this process anew; whether the system can do that."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATUS.exists() else None
    if give_back is not None:  # else freed memory would count as held, and be taken again unseen
        give_back(0)
    try:
        _RESET.write_text(_FORGET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _megabytes(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return float(found[1]) * 1024 / 1e6 if found else 0.0
