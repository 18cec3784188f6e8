"""The right adapter for a network of transformers."""

from accelerate.utils import extract_model_from_parallel
from torch import nn

from .base import Denoiser
from .masked_lm import MaskedLMDenoiser
from .own import OwnDenoiser
from .transformer import DiffusionTransformerForMaskedLM


def denoiser_of(model: nn.Module) -> Denoiser:
    """A view of a network, wrapped for distributed training or not.

    Raises:
        IncompatibleError: it is no model of transformers.
    """
    network, whole = extract_model_from_parallel(model), MaskedLMDenoiser.of(model)
    return OwnDenoiser(whole, network) if isinstance(network, DiffusionTransformerForMaskedLM) else whole
