"""The rules of the house that no linter knows; each is shown to catch what it forbids."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "textdiffusion"
FOLDERS = ("src", "tests", "examples", "benchmarks", "docs", "recipes")
TEXT_SUFFIXES = {"", ".md", ".toml", ".txt", ".yaml", ".yml", ".html", ".css", ".js", ".cfg", ".ini", ".sh"}
MATHEMATICS = (
    "randomness",
    "canvas",
    "schedules",
    "mask_rates",
    "soft_tokens",
    "corruptions",
    "objectives",
    "samplers",
    "predictions",
)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Rule = Callable[[ast.Module], Iterator[str]]


def python_files(*folders: str) -> list[Path]:
    """Python files of these folders of the repository, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def breaches(rule: Rule, files: list[Path]) -> list[str]:
    """What `rule` says about each file, with the place."""
    return [
        f"{path.relative_to(ROOT)}:{said}"
        for path in files
        for said in rule(ast.parse(path.read_text("utf-8")))
    ]


def dotted(node: ast.AST) -> str:
    """`torch.rand` for the tree of `torch.rand`."""
    return ast.unparse(node)


# -- size ------------------------------------------------------------------------------------------------


def long_functions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > 50:
                yield f"{node.lineno} {node.name} has {lines} lines"


def test_files_have_at_most_400_lines() -> None:
    sizes = {path: len(path.read_bytes().splitlines()) for path in python_files("src", "tests", "examples")}
    assert not {str(path.relative_to(ROOT)): lines for path, lines in sizes.items() if lines > 400}


def test_functions_have_at_most_50_lines() -> None:
    assert not breaches(long_functions, python_files("src", "tests", "examples"))


def test_no_file_is_called_utils() -> None:
    names = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [path for path in python_files("src", "tests", "examples") if path.name in names]


# -- names -----------------------------------------------------------------------------------------------


def export_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then the rest: the order that ruff's RUF022 keeps."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions and classes of the module that say nothing about themselves."""
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named and not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield f"{node.lineno} {node.name}"


def undocumented_methods(trees: list[ast.Module]) -> Iterator[str]:
    """Public methods without a text of their own or of the class that they come from."""
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def says(owner: ast.ClassDef, method: str) -> bool:
        own = [node for node in owner.body if isinstance(node, FUNCTION) and node.name == method]
        names = [dotted(base).partition("[")[0].rpartition(".")[2] for base in owner.bases]
        above = [classes[name] for name in names if name in classes]
        return any(ast.get_docstring(node) for node in own) or any(says(base, method) for base in above)

    for owner in classes.values():
        methods = [node.name for node in owner.body if isinstance(node, FUNCTION)]
        public = [method for method in methods if "_" not in (owner.name[0], method[0])]
        yield from (f"{owner.name}.{method}" for method in public if not says(owner, method))


def exporting_modules() -> list[str]:
    """Modules that say what they export."""
    found = []
    for path in python_files("src"):
        if re.search(r"^__all__\b", path.read_text("utf-8"), re.MULTILINE):
            parts = path.relative_to(ROOT / "src").with_suffix("").parts
            found.append(".".join(part for part in parts if part != "__init__"))
    return found


@pytest.mark.parametrize("name", exporting_modules())
def test_exports_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=export_order)
    assert [export for export in module.__all__ if not hasattr(module, export)] == []


def test_public_things_have_docstrings() -> None:
    assert not breaches(undocumented, python_files("src"))
    trees = [ast.parse(path.read_text("utf-8")) for path in python_files("src")]
    assert not list(undocumented_methods(trees))


def test_methods_inherit_the_text_of_their_class() -> None:
    above = "class A:\n    def f(self):\n        'Said.'\nclass B(A):\n    def f(self): pass\n"
    assert not list(undocumented_methods([ast.parse(above)]))
    assert list(undocumented_methods([ast.parse(above + "    def g(self): pass")])) == ["B.g"]


# -- settings and randomness -----------------------------------------------------------------------------

SETTINGS = {
    "algorithm",
    "commit",
    "corruption",
    "denoiser",
    "kind",
    "method",
    "mode",
    "name",
    "noise_schedule",
    "objective",
    "policy",
    "propose",
    "reopen",
    "sampler",
    "schedule",
    "strategy",
    "style",
    "type",
    "variant",
    "window",
}
FOREIGN = {"os.name", "device.type"}
"""Comparisons that the standard library and torch ask for."""


def is_setting(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in SETTINGS and not any(dotted(node).endswith(foreign) for foreign in FOREIGN)


def is_text(node: ast.AST) -> bool:
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in items)


def settings_compared(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(is_setting(side) for side in sides) and any(is_text(side) for side in sides):
                yield f"{node.lineno} {dotted(node)}"
        elif isinstance(node, ast.Match) and is_setting(node.subject):
            yield f"{node.lineno} match {dotted(node.subject)}"


DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|normal|multinomial|bernoulli|poisson)(_like)?"
    r"|(?!.*\binit\.).*\.(bernoulli_|cauchy_|exponential_|geometric_|log_normal_|normal_|random_|uniform_|multinomial)"
)
"""Calls that draw from torch's global stream unless they are given a generator; initial weights may."""


def global_draws(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        given = {keyword.arg for keyword in node.keywords} if isinstance(node, ast.Call) else set()
        if isinstance(node, ast.Call) and DRAWS.fullmatch(dotted(node.func)) and "generator" not in given:
            yield f"{node.lineno} {dotted(node.func)}"


def test_no_setting_is_compared_with_a_string() -> None:
    files = [path for path in python_files("src") if path.name != "registry.py"]
    assert not breaches(settings_compared, files), "look the part up in its table instead"


def test_every_draw_names_its_generator() -> None:
    assert not breaches(global_draws, python_files("src"))


@pytest.mark.parametrize(
    ("rule", "code", "caught"),
    [
        (settings_compared, "if self.sampler == 'x': pass", True),
        (settings_compared, "ok = kind in ('a', 'b')", True),
        (settings_compared, "match mode:\n    case 'a': pass", True),
        (
            settings_compared,
            "ok = x.device.type == 'mps' or __name__ == '__main__'",
            False,
        ),
        (global_draws, "torch.rand(3)", True),
        (global_draws, "x.exponential_()", True),
        (global_draws, "probabilities.multinomial(1)", True),
        (global_draws, "torch.rand(3, generator=g); nn.init.normal_(w)", False),
        (undocumented, "class A: pass", True),
        (undocumented, "async def f(): pass", True),
        (undocumented, "class _A: pass\ndef _f(): pass", False),
        (long_functions, "def f():\n" + "    x = 1\n" * 50, True),
        (long_functions, "def f():\n    '''One.\n\n    Two.'''\n" + "    x = 1\n" * 49, False),
    ],
)
def test_rules_catch_what_they_forbid(rule: Rule, code: str, caught: bool) -> None:
    assert bool(list(rule(ast.parse(code)))) is caught


# -- floors ----------------------------------------------------------------------------------------------


def loaded_by(module: str) -> set[str]:
    """Top-level packages in memory after `module` alone was imported in a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    run = [sys.executable, "-c", code]
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    return set(done.stdout.split())


def exists(module: str) -> bool:
    path = ROOT / "src" / Path(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_import_contracts_are_kept() -> None:
    # In a process of its own: it sets up logging anew, which silences every logger there is.
    code = "from importlinter.cli import lint_imports; import sys; "
    code += "sys.exit(lint_imports(config_filename='.importlinter', no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_mathematics_knows_nothing_of_transformers() -> None:
    graph = grimp.build_graph(
        "textdiffusion", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    present = [f"textdiffusion.{name}" for name in MATHEMATICS if exists(f"textdiffusion.{name}")]
    assert present
    if "transformers" not in graph.modules:
        return
    chains = [graph.find_shortest_chains(module, "transformers", as_packages=True) for module in present]
    assert not [chain for found in chains for chain in found]


@pytest.mark.parametrize("module", ["textdiffusion", "textdiffusion.cli.main", "textdiffusion.data.sources"])
def test_light_modules_load_no_network_library(module: str) -> None:
    assert not loaded_by(module) & {"torch", "transformers", "datasets", "accelerate", "matplotlib"}


def test_mathematics_loads_no_transformers() -> None:
    present = ", ".join(f"textdiffusion.{name}" for name in MATHEMATICS if exists(f"textdiffusion.{name}"))
    assert "transformers" not in loaded_by(present)


# -- words -----------------------------------------------------------------------------------------------

MACHINE = re.compile(
    r"(?<![\w.~])/(?:home|root|work|Users|mnt|farm)/\w"  # somebody's disk
    r"|\bhttps?://\S*(?:pypi|pythonhosted|download\.pytorch)"  # where packages happen to come from
    r"|\b(?:issue|ticket|task) #\d"  # a list that the reader does not have
    r"|\b(?:TO[D]O|FIX[M]E|XX[X])\b"
    r"|co-authored[-]by",
    re.IGNORECASE,
)


def text_files() -> list[Path]:
    """Texts of the repository that people write: the root's files and what lies in its folders."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return sorted(
        path
        for path in [*ROOT.iterdir(), *inside]
        if path.is_file() and path.suffix in TEXT_SUFFIXES | {".py"} and path.name != ".git"
    )


def test_texts_speak_of_the_project_alone() -> None:
    said = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in text_files()
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1)
        if MACHINE.search(line)
    ]
    assert not said


def test_machine_words_are_recognised() -> None:
    spoilt = ["/ho" + "me/me/x", "https://py" + "pi.org/simple", "see issue" + " #12", "# TO" + "DO: later"]
    assert all(MACHINE.search(text) for text in spoilt)
    assert not MACHINE.search("the home/ folder, and https://arxiv.org/abs/2406.07524")
