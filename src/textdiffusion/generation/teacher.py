"""A given text instead of a drawn one: the loop writes it in a sampler's own order."""

import torch

from ..predictions import Prediction
from ..shapes import Tokens, Where


class Teacher:
    """Puts the true token in the place of every drawn one, and notes what the network says of it."""

    def __init__(self, truth: Tokens) -> None:
        """Take the texts that are to be written, on the device of the canvas."""
        self.truth = truth
        self.nats = torch.zeros(truth.shape, device=truth.device)
        """-log p of each token when it was asked about for the last time, which is when it was written."""

    def __call__(self, prediction: Prediction, where: Where) -> Prediction:
        """The same network's word with the true token as the only one to draw."""
        token = self.truth[where]
        nats = prediction.nats(token)
        self.nats = self.nats.masked_scatter(where, nats.to(self.nats.dtype))
        return Prediction(torch.exp(-nats)[:, None], token[:, None], prediction.own)
