"""Weights in eight bits for CPUs: a third of the time of float32 where few tokens are read at once."""

import warnings

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..errors import IncompatibleError

_ENGINE = "fbgemm"
"""The fastest of torch's engines for the few rows of a block."""


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale for each output, and inputs rounded to 8 bits on the fly.

    The inputs of a call share one scale, so a text's logits hang a little on the texts beside it. Processors
    without VNNI add pairs of products in 16 bits, which two of 8 bits may overflow: there inputs have 7.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Round a weight [out, in]."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        weight = weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=1e-8).double() / 127.0
        with warnings.catch_warnings():
            # torch announces the end of its quantised tensors, and names another package for the future.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
            rounded = torch.quantize_per_channel(
                weight, scale, torch.zeros_like(scale).long(), 0, torch.qint8
            )
        bias = None if bias is None else bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(rounded, bias)
        self.seven_bits = not _sums_in_32_bits()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out] in float32."""
        out: Tensor = torch.ops.quantized.linear_dynamic(x.float(), self.packed, reduce_range=self.seven_bits)
        return out

    def extra_repr(self) -> str:
        """What is shown of the layer."""
        return f"{self.in_features}, {self.out_features}"


def _sums_in_32_bits() -> bool:
    """Whether the processor has VNNI; torch's releases ask it under different names."""
    ask = getattr(torch.cpu, "_is_vnni_supported", None) or getattr(
        torch.cpu, "_is_avx512_vnni_supported", None
    )
    return bool(ask and ask())


def quantise(model: nn.Module) -> None:
    """Round the weights of all linear layers, the vocabulary head included, to int8; embeddings stay.

    Raises:
        IncompatibleError: the network is not on a CPU, or this torch has no int8 kernels for it.
    """
    if _ENGINE not in torch.backends.quantized.supported_engines:
        raise IncompatibleError(f"this build of torch has no {_ENGINE} kernels; choose dtype float32.")
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.Linear):
                    parent.add_module(name, Int8Linear(layer.weight, layer.bias))
                elif isinstance(layer, Conv1D):  # GPT-2's linear layer, with its weight the other way round
                    parent.add_module(name, Int8Linear(layer.weight.T.contiguous(), layer.bias))
    finally:
        torch.backends.quantized.engine = before
