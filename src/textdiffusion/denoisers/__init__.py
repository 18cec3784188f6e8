"""Denoisers: the adapters that let one loop run on any network. Only the light parts are imported here."""

from .base import Denoiser, FunctionDenoiser, as_denoiser

__all__ = ["Denoiser", "FunctionDenoiser", "as_denoiser"]
