"""Where tensors live: the fastest device there is, or the one that was named; and what it is good at."""

import torch

from .errors import SettingsError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = DEVICES[0]) -> torch.device:
    """The named device; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        SettingsError: no such device, or it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = name.split(":")[0]
    if kind not in DEVICES:
        raise SettingsError(f"no device named {name!r}; known: {', '.join(DEVICES)}.")
    if kind == DEVICES[0]:
        return torch.device(next(device for device, present in there.items() if present))
    if not there[kind]:
        raise SettingsError(
            f"this machine has no {name} that torch can use; leave --device out to let it choose."
        )
    return torch.device(name)


def emulates_bf16(device: torch.device) -> bool:
    """Whether the device has no arithmetic of its own for bfloat16, which is then slower than float32."""
    if device.type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return True
