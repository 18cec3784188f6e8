"""Layers compiled one by one with torch.compile: quick to compile, and the names of the weights stay."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import IncompatibleError

uncompiled: Callable[[], AbstractContextManager[None]] = partial(torch.compiler.set_stance, "force_eager")
"""A context in which compiled layers run as they were written.

What is remembered grows from call to call, and each length would be compiled anew.
"""


def compile_for_training(model: nn.Module) -> None:
    """Compile each repeated layer for every shape that comes: rows of a training have few of them."""
    for layer in _layers(model):
        layer.compile(dynamic=False)


def compile_for_generation(model: nn.Module) -> None:
    """Compile each repeated layer for the first shape that comes, then for any other at once.

    The second happens when texts of a batch are finished before others and are left out of the calls. On CUDA
    each layer is recorded as a CUDA graph for each shape. One call of the network is one step of torch's
    recording, within which the output of a layer stays alive until the next layer has read it; behind the
    layers everything is computed anew, so that nothing recorded leaves the network. The part for CUDA was
    written to torch's documentation and is tested only where there is such a device.
    """
    graphs = next(model.parameters()).device.type == "cuda"
    for layer in _layers(model):
        layer.compile(mode="reduce-overhead" if graphs else None)
    if graphs:
        model.register_forward_pre_hook(_begin_step)


def check_compiler(device: torch.device) -> None:
    """Compile something small, so that a compiler that is missing is noticed before any work is done.

    Raises:
        IncompatibleError: nothing can be compiled for the device here.
    """
    try:
        torch.compile(_small)(torch.zeros(2, device=device))
    except RuntimeError as error:  # of dynamo, inductor or the compiler: each has a class of its own
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise IncompatibleError(
            f"torch.compile does not work here ({reason}); install a C++ compiler such as g++, or leave "
            "compile out."
        ) from error


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    return (layer for part in model.modules() if isinstance(part, nn.ModuleList) for layer in part)


def _begin_step(model: nn.Module, args: object) -> None:
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call, unused-ignore]


def _small(x: Tensor) -> Tensor:
    return x + 1.0
