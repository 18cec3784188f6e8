"""In what numbers a network computes while it learns; its weights stay in float32."""

import logging
from collections.abc import Callable

import torch

from ..registry import Registry

logger = logging.getLogger(__name__)


def _float32(device: torch.device) -> torch.dtype:
    return torch.float32


def _bf16(device: torch.device) -> torch.dtype:
    if not fast_bf16(device):
        logger.warning("this device emulates bfloat16, which is many times slower than float32")
    return torch.bfloat16


def _auto(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if fast_bf16(device) else torch.float32


PRECISIONS: Registry[Callable[[torch.device], torch.dtype]] = Registry(
    "precision", {"auto": _auto, "float32": _float32, "bf16": _bf16}
)


def fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
