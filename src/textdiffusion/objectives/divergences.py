"""How far what a student says is from what its teacher said, token by token."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ..registry import Registry

LogLaw = Float[Tensor, "asked vocab"]
"""Log-probabilities, all of them finite; see `log_law`."""
Divergence = Callable[[LogLaw, LogLaw], Float[Tensor, " asked"]]
"""From what a student says and what its teacher said to nats, or to a share, for each token."""


def forward_kl(student: LogLaw, teacher: LogLaw) -> Float[Tensor, " asked"]:
    """KL(teacher || student): the student covers all that the teacher holds possible.

    Of several teachers' words about one question its best answer is their mean.
    """
    return (teacher.exp() * (teacher - student)).sum(-1)


def reverse_kl(student: LogLaw, teacher: LogLaw) -> Float[Tensor, " asked"]:
    """KL(student || teacher): the student keeps to what the teacher holds likely.

    Of several teachers' words about one question its best answer is their geometric mean, which is sharper.
    """
    return (student.exp() * (student - teacher)).sum(-1)


def total_variation(student: LogLaw, teacher: LogLaw) -> Float[Tensor, " asked"]:
    """Half the sum of what the probabilities differ by, from 0 to 1."""
    return 0.5 * (student.exp() - teacher.exp()).abs().sum(-1)


DIVERGENCES: Registry[Divergence] = Registry(
    "divergence",
    {"forward-kl": forward_kl, "reverse-kl": reverse_kl, "total-variation": total_variation},
)
