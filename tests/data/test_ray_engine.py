"""Ray makes the same arrays; skipped where it is not installed, as it is an extra."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import arrays, make, write_jsonl

from textdiffusion.errors import DataError, SettingsError

TEXTS = [f"a text of some length {number} " * (number % 3 + 1) for number in range(300)]


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"install textdiffusion\[ray\], or leave --engine out"):
        make(tmp_path, TEXTS, engine="ray")


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """Ray with three processors, started once for all tests here."""
    found = pytest.importorskip("ray")
    here = Path(__file__).resolve()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    paths = os.pathsep.join([str(here.parents[2] / "src"), str(here.parent)])
    found.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    yield found
    found.shutdown()


@pytest.mark.filterwarnings("default")  # Ray has advice of its own
def test_ray_gives_the_same_bytes(tmp_path: Path, ray: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files, shuffled, gone on with, and stopped by a limit."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        write_jsonl(data / f"train-{number}.jsonl", TEXTS[number * 100 : (number + 1) * 100])
    for name, options in {
        "files": {},
        "shuffled": {"shuffle_buffer": 30},
        "stopped": {"max_documents": 150},
        "rows": {"kind": "rows", "length": 60},
    }.items():
        alone = make(tmp_path, [], f"{name} alone", source=str(data), **options)
        by_ray = make(tmp_path, [], f"{name} by ray", source=str(data), engine="ray", workers=2, **options)
        assert arrays(by_ray) == arrays(alone)
        assert by_ray.metadata.arrays == alone.metadata.arrays


@pytest.mark.filterwarnings("default")
def test_errors_of_ray_are_ours(tmp_path: Path, ray: object) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: bad JSON") as caught:
        make(tmp_path, [], source=str(path), engine="ray", workers=2)
    assert "\n" not in str(caught.value)
