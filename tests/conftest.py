"""What every test shares: no network, few threads, reproducible examples, and the folder of real texts."""

import os
from pathlib import Path

import pytest

# Before any test module imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    """Few threads for networks that are tiny; the same hypothesis examples in every run."""
    import torch
    from hypothesis import settings

    torch.set_num_threads(1)
    settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25, database=None)
    settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora: $TEXTDIFFUSION_DATA, or shared/data beside the checkout."""
    given = os.environ.get("TEXTDIFFUSION_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if given and not folder.is_dir():
        pytest.fail(f"TEXTDIFFUSION_DATA names no folder: {given}")
    if not folder.is_dir():
        pytest.skip("the real corpora are not here; set TEXTDIFFUSION_DATA to their folder")
    return folder
