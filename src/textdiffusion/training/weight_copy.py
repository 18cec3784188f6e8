"""A second set of the weights that learn, beside the network: kept, saved, resumed, and lent to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .sharding import held, shared_out_as, take_apart, whole


class WeightCopy:
    """Weights in a file of each checkpoint; a process holds those parts that it holds of the network's."""

    def __init__(self, file: str, resume_from: Path | None) -> None:
        """Keep them in the file of that name, and go on from that in a checkpoint if there is one."""
        self.file, self.resume_from = file, resume_from
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """Take the weights of the network as they are, or those in the checkpoint."""
        self.weights = {name: p.detach().clone() for name, p in trained(model)}
        saved = None if self.resume_from is None else self.resume_from / self.file
        if saved is not None and saved.is_file():
            for name, weight in load_file(saved).items():
                held(self.weights[name]).copy_(held(shared_out_as(weight, self.weights[name])))

    @torch.no_grad()
    def follow(self, model: nn.Module, share: float = 1.0) -> None:
        """Come nearer to the weights of the network by a share of the way; by all of it they are the same."""
        for name, p in trained(model):
            held(self.weights[name]).lerp_(held(p.detach()), share)

    @torch.no_grad()
    def copy(self, other: "WeightCopy") -> None:
        """Take the weights of another copy."""
        for name, weight in self.weights.items():
            held(weight).copy_(held(other.weights[name]))

    def write(self, folder: Path | None) -> None:
        """Save them in a checkpoint; every process has to call, those without a folder only help."""
        gathered = {}
        for name, weight in self.weights.items():
            found = whole(weight)
            if folder is not None:
                gathered[name] = found.contiguous() if found is weight else found.cpu()
        if folder is not None:
            save_file(gathered, folder / self.file)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Replace the weights of the network by these."""
        for name, p in trained(model):
            held(p).copy_(held(self.weights[name]))

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Let the network have these for its weights, and then its own again."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        torch.clear_autocast_cache()  # type: ignore[no-untyped-call, unused-ignore]  # casts of the others
        for name, p in trained(model):
            part, other = held(p), held(self.weights[name])
            own = part.clone()
            part.copy_(other)
            other.copy_(own)


@torch.no_grad()
def put_saved(file: Path, model: nn.Module) -> None:
    """Replace the weights of a network by those in a file."""
    saved = load_file(file)
    for name, p in trained(model):
        p.copy_(saved[name])


def trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that learn, each as what this process holds of it."""
    take_apart(model)
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)
