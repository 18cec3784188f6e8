"""Libraries that would write between our lines."""

from logging import ERROR

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging


def quiet_libraries() -> None:
    """Let transformers and the Hub report errors only, and draw no progress bars of theirs."""
    logging.set_verbosity_error()
    hub_logging.set_verbosity(ERROR)
    logging.disable_progress_bar()
