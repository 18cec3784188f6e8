"""A model of lm-evaluation-harness, under the name `textdiffusion`.

The harness knows a model when its module has been imported; it reads no entry points. So there are two ways:
`python -m textdiffusion.evaluation.harness ...` takes the arguments of `lm_eval ...`, and a script imports
this module before it calls `lm_eval.simple_evaluate("textdiffusion", model_args={"pretrained": ...})`.
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from ..device import DEVICES
from ..language_model import load
from .batches import TOKENS_AT_ONCE
from .respondent import Respondent


@register_model("textdiffusion")
class TextDiffusion(LM):  # type: ignore[misc, unused-ignore]  # the package has no type information
    """Any model of ours: scored as `textdiffusion evaluate` scores, writing as `textdiffusion generate`."""

    def __init__(
        self,
        pretrained: str = "starter",
        *,
        device: str = DEVICES[0],
        dtype: str = "auto",
        seed: int = 0,
        tokens_at_once: int = TOKENS_AT_ONCE,
        batch_size: object = None,
        max_batch_size: object = None,
        **options: Any,
    ) -> None:
        """Load a model; `options` are fields of `Scoring` and `Decoding`, and the sampler's own settings.

        Batches hold `tokens_at_once` and are halved where the memory does not; `batch_size`, which the
        harness always gives, is not used.

        Raises:
            SettingsError, UnknownNameError, CheckpointError, IncompatibleError: see the message.
        """
        super().__init__()
        lm = load(pretrained, device=device, dtype=dtype)
        self.respondent = Respondent.of(lm, options, seed=seed, tokens_at_once=tokens_at_once)
        self._device = lm.model.device

    @property
    def tokenizer_name(self) -> str:
        """Under which the harness keeps requests that it has made."""
        return self.respondent.lm.name.replace("/", "__")

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log p of each continuation, or a bound below it, and whether greedy decoding writes it."""
        return self.respondent.loglikelihood([request.args for request in requests])

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """The log p of each whole text, or a bound below it."""
        return self.respondent.rolling([request.args[0] for request in requests])

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes behind each context, up to where it is to stop."""
        return self.respondent.generate([request.args for request in requests])


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
