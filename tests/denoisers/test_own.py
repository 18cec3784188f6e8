"""The memory of our own network: what is resumed equals what is read whole."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.denoisers.own import OwnDenoiser

from .test_transformer import build

LENGTH = 12
T = torch.zeros(2, 1)


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 30, (2, LENGTH), generator=torch.Generator().manual_seed(seed))


def denoiser(block_size: int | None) -> OwnDenoiser:
    found = denoiser_of(build(block_size=block_size))
    assert isinstance(found, OwnDenoiser)
    assert found.block_size == block_size
    return found


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@given(block=st.integers(1, 5), cuts=st.sets(st.integers(1, 4)), seed=st.integers(0, 99))
@torch.inference_mode()
def test_block_by_block_equals_the_whole(block: int, cuts: set[int], seed: int) -> None:
    """Cut wherever blocks end, the parts give the logits of one call, padding and chosen places included."""
    own, xt = denoiser(block), tokens(seed)
    valid = torch.arange(LENGTH) < torch.tensor([[LENGTH], [7]])
    whole = own(xt, T, attend=valid)
    edges = sorted({0, LENGTH, *(cut * block for cut in cuts if cut * block < LENGTH)})
    past = own.past(2, LENGTH)
    for start, stop in pairwise(edges):
        here = valid[:, start:stop]
        found = own.resume(past.at(start), xt[:, start:stop], T, attend=valid[:, :stop], where=here)
        close(found, whole[:, start:stop][here])


@torch.inference_mode()
def test_a_block_read_again_forgets_what_it_was() -> None:
    own, xt = denoiser(4), tokens()
    past = own.past(2, LENGTH)
    own.resume(past.at(0), xt[:, :4], T)
    for other in (tokens(1), tokens(2), xt):  # the same block in three states; only the last one stays
        own.resume(past.at(4), other[:, 4:8], T)
    close(own.resume(past.at(8), xt[:, 8:], T), own(xt, T)[:, 8:])


@torch.inference_mode()
def test_what_stands_behind_is_seen_where_asked_for() -> None:
    """A middle part read again between what is remembered on both sides, unchanged, gives the same."""
    own, xt = denoiser(None), tokens()
    past = own.past(2, LENGTH)
    whole = own.resume(past, xt, T)
    close(whole, own(xt, T))
    close(own.resume(past.at(4, reads=LENGTH), xt[:, 4:8], T), whole[:, 4:8])
    # The suffix alone sees what comes before it: as long as nothing has changed, that is all there is.
    close(own.resume(past.at(8), xt[:, 8:], T), whole[:, 8:])
    assert not torch.allclose(own.resume(past.at(4), xt[:, 4:8], T), whole[:, 4:8], atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("row", [0, 1])
def test_memory_of_some_texts(row: int) -> None:
    own, xt = denoiser(4), tokens()
    past = own.past(2, LENGTH)
    own.resume(past, xt[:, :8], T)
    some = torch.tensor([row])
    found = own.resume(past.of_rows(some).at(8), xt[some, 8:], T[some])
    close(found, own(xt, T)[some, 8:])
