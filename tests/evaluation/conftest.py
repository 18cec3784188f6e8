"""A model that reads any text."""

import pytest
from cli.conftest import LONGEST, SPECIAL, save_model

from textdiffusion.language_model import DiffusionLM, load
from textdiffusion.model_settings import ModelSettings


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small model of random weights."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    return str(save_model(path, SPECIAL, ModelSettings(length=LONGEST), initializer_range=0.3))


@pytest.fixture(scope="session")
def tiny(folder: str) -> DiffusionLM:
    """That model."""
    return load(folder, device="cpu")
