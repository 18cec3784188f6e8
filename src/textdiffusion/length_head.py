"""A length head in the folder of its model: beside the weights, and named in `diffusion.json`."""

import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import CheckpointError
from .lengths import LENGTH_HEADS, LengthHead
from .model_settings import SETTINGS_FILE, ModelSettings, write_settings

HEAD_FILE = "length_head.safetensors"


def read_length_head(path: Path | None, settings: ModelSettings, width: int, name: str) -> LengthHead:
    """The head that the settings of a model name, for hidden states of a width; `name` is the model's.

    Raises:
        CheckpointError: there is no such file, or it belongs to another network.
    """
    head = LENGTH_HEADS[settings.length_head](width)
    try:
        if path is None:
            raise FileNotFoundError(f"there is no {HEAD_FILE}")
        head.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), "").rstrip(".:")
        raise CheckpointError(
            f"the {settings.length_head} length head of {name!r} cannot be loaded ({reason}); fit it again "
            "with `textdiffusion length fit`, or take length_head out of its diffusion.json."
        ) from None
    return head.eval().requires_grad_(False)


def save_length_head(folder: Path, settings: ModelSettings, head: LengthHead) -> None:
    """Put a head into the folder of its model, whose weights stay as they are; the settings name it.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".head.", dir=folder) as fresh:
            save_file(head.state_dict(), Path(fresh) / HEAD_FILE)
            write_settings(Path(fresh), settings)
            for name in (HEAD_FILE, SETTINGS_FILE):
                os.replace(Path(fresh) / name, folder / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the length head into {folder}: {error}.") from error
