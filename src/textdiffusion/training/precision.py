"""In what numbers a network computes while it learns; its weights stay in float32."""

import logging
from collections.abc import Callable

import torch

from ..device import emulates_bf16
from ..errors import SettingsError
from ..registry import Registry

logger = logging.getLogger(__name__)


def _float32(device: torch.device) -> torch.dtype:
    return torch.float32


def _bf16(device: torch.device) -> torch.dtype:
    if emulates_bf16(device):
        logger.warning("this device emulates bfloat16, which is many times slower than float32")
    return torch.bfloat16


def _float16(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        raise SettingsError(
            "precision float16 needs a CUDA device, where the loss is scaled to keep small gradients; this "
            f"device is {device.type}: use float32, bf16 or auto."
        )
    return torch.float16


def _auto(device: torch.device) -> torch.dtype:
    return torch.float32 if emulates_bf16(device) else torch.bfloat16


PRECISIONS: Registry[Callable[[torch.device], torch.dtype]] = Registry(
    "precision", {"auto": _auto, "float32": _float32, "bf16": _bf16, "float16": _float16}
)
