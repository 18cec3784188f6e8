"""The right adapter for a network of transformers."""

import torch
from accelerate.utils import extract_model_from_parallel
from torch import nn
from transformers import PreTrainedModel

from ..errors import IncompatibleError, SettingsError
from ..registry import did_you_mean
from .base import Denoiser
from .causal_lm import BLOCK_SIZE, CausalLMDenoiser, check_blocks, is_causal_lm
from .masked_lm import MaskedLMDenoiser
from .own import OwnDenoiser
from .transformer import KERNELS, DiffusionTransformerForMaskedLM


def denoiser_of(model: nn.Module) -> Denoiser:
    """A view of a network, wrapped for distributed training or not.

    Raises:
        IncompatibleError: it is no model of transformers, or one that remembers in a way of its own.
    """
    network, whole = extract_model_from_parallel(model), MaskedLMDenoiser.of(model)
    if isinstance(network, DiffusionTransformerForMaskedLM):
        return OwnDenoiser(whole, network)
    return CausalLMDenoiser.of(model) if is_causal_lm(whole.network) else whole


def set_block_size(model: nn.Module, size: int | None) -> None:
    """Let a network read blocks of `size` tokens from now on; saved with its configuration.

    None lets our own network see both ways, and makes a causal language model plainly autoregressive.

    Raises:
        IncompatibleError: the network cannot read blocks.
    """
    network = extract_model_from_parallel(model)
    if isinstance(network, DiffusionTransformerForMaskedLM):
        network.config.block_size = size
    elif isinstance(network, PreTrainedModel) and is_causal_lm(network):
        check_blocks(network)
        network.config.update({BLOCK_SIZE: size})
    else:
        raise IncompatibleError(
            f"{type(network).__name__} always sees both ways and cannot read block by block; choose a causal "
            "language model or our own network, or another objective."
        )


def check_attention(name: str, device: torch.device) -> None:
    """Refuse an attention by which nothing can be learnt on a device.

    Raises:
        SettingsError: our own network has none of that name, or torch has no backward pass of it there.
    """
    if name not in KERNELS:
        known = ", ".join(KERNELS)
        raise SettingsError(f"no attention named {name!r}.{did_you_mean(str(name), KERNELS)} Known: {known}.")
    places = KERNELS[name].learns_on
    if places is not None and device.type not in places:
        raise SettingsError(
            f"torch has no backward pass of {name} on {device.type}: leave network.attn_implementation out, "
            f"or train on {' or '.join(places)}."
        )


def set_attention(model: nn.Module, name: str) -> None:
    """Let our own network compute its attention by another kernel; as in transformers, it is not saved.

    Raises:
        IncompatibleError: it is another network.
    """
    network = extract_model_from_parallel(model)
    if not isinstance(network, DiffusionTransformerForMaskedLM):
        raise IncompatibleError(
            f"network.attn_implementation {name} is for our own network, not for {type(network).__name__}; "
            "leave it out."
        )
    network.config._attn_implementation = name


def set_next_token(model: nn.Module, learns: bool) -> None:
    """Note whether a network learns to predict the next token; saved with its configuration.

    Raises:
        IncompatibleError: a causal language model without blocks is to learn anything else.
    """
    network = extract_model_from_parallel(model)
    if isinstance(network, DiffusionTransformerForMaskedLM):
        network.config.next_token = learns
    elif denoiser_of(network).next_token and not learns:
        raise IncompatibleError(
            f"{type(network).__name__} sees nothing to the right, so it cannot learn to fill whole texts; "
            "train it with the objective block-nelbo, or with next-token as the baseline."
        )
