"""Where a generation begins: not in noise alone, but in a text of which some is wrong."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from ..errors import SettingsError
from ..shapes import Tokens


@dataclass(frozen=True)
class Start:
    """A canvas as the steps find it: right words, wrong words, and masks if the noise has any."""

    tokens: Tokens
    """What stands in each place; read where the canvas may be written."""
    noise_rate: float
    """Share of them that is taken for noise, above 0 and at most 1; noise that can be seen is counted."""
    calls: int = 0
    """Network calls that it took to find it."""
    read: Int[Tensor, " batch"] | None = None
    """Tokens of each text in these calls."""
    seconds: float = 0.0
    """Wall time of it."""

    def __post_init__(self) -> None:
        """Refuse what is no share of a text."""
        check_noise_rate(self.noise_rate)


def check_noise_rate(rate: float) -> None:
    """Raise SettingsError unless it is a share of a text that can be wrong."""
    if not 0.0 < rate <= 1.0:
        raise SettingsError(
            f"noise_rate is {rate}; give the share of the text that may be wrong, above 0 and at most 1."
        )
