import math

import pytest
import torch
from torch import Tensor

from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.training.overheard import Overheard

MASK, VOCAB = 4, 5
NOW = torch.ones(3, 1)


def test_entropy_by_hand_without_the_mask_and_without_a_change_of_the_answers() -> None:
    def says(ids: Tensor) -> Tensor:
        logits = torch.zeros(*ids.shape, VOCAB)
        logits[..., MASK] = 50.0  # the mask is no answer
        logits[:, 0, 0] = 1000.0
        return logits

    network = as_denoiser(says)
    heard = Overheard(network, Absorbing(MASK))
    ids = torch.full((3, 2), MASK)
    torch.testing.assert_close(heard(ids, NOW), network(ids, NOW))
    nats, answers = heard.sums.tolist()
    assert answers == 6
    assert nats == pytest.approx(3 * math.log(VOCAB - 1))  # at the first place it is sure
    where = torch.tensor([[False, True], [False, False], [True, False]])
    torch.testing.assert_close(heard(ids, NOW, where=where), network(ids, NOW, where=where))
    nats, answers = heard.sums.tolist()
    assert answers == 8
    assert nats == pytest.approx(4 * math.log(VOCAB - 1))
