"""The wheel: what is inside, and that it works away from the checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "textdiffusion"


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed; its error output is shown when it does not."""
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout with the tools at hand."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    run(*build, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def inside(wheel: Path) -> set[str]:
    """Paths in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_of(folder: Path, becomes: str) -> set[str]:
    """What the wheel must hold for a folder of the checkout."""
    return {
        f"{becomes}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".tmp"}
    }


def test_wheel_holds_the_whole_package(inside: set[str]) -> None:
    expected = files_of(PACKAGE, "textdiffusion")
    assert {"textdiffusion/py.typed", "textdiffusion/errors.py"} <= expected
    assert not expected - inside


def test_wheel_holds_the_recipes(inside: set[str]) -> None:
    assert not files_of(ROOT / "recipes", "textdiffusion/recipes") - inside


def test_wheel_holds_nothing_else(inside: set[str]) -> None:
    tops = {name.partition("/")[0] for name in inside}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert tops == {"textdiffusion", f"textdiffusion-{version}.dist-info"}


def test_wheel_names_the_console_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "textdiffusion = textdiffusion.cli.main:main" in archive.read(name).decode()


def test_readme_is_the_long_description() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (ROOT / project["readme"]).is_file()


def test_installed_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
    )
    run(*pip, str(wheel), cwd=tmp_path)
    # As the console script does, but saying where the package came from; -P keeps the working folder out.
    code = (
        "import sys, textdiffusion; print(textdiffusion.__file__, file=sys.stderr)\n"
        f"assert textdiffusion.__file__.startswith({str(target)!r}), textdiffusion.__file__\n"
        "sys.argv = ['textdiffusion', 'samplers', '--json']\n"
        "from textdiffusion.cli.main import main\n"
        "sys.exit(main())"
    )
    shown = run(sys.executable, "-P", "-c", code, cwd=tmp_path, PYTHONPATH=str(target))
    assert '"confidence"' in shown
