"""What the documents promise: their commands are understood, their code runs, their links lead somewhere."""

import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from textdiffusion import checkpoint
from textdiffusion.checkpoint import STARTER, Checkpoint, save_checkpoint
from textdiffusion.cli.main import main
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.model_settings import ModelSettings
from textdiffusion.training.tokenizer import train_tokenizer

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
STORY = "Once upon a time there was a small fox. It ran into the woods and hid from the old bear.\n"

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)


# -- reading ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fence:
    """A block of code."""

    info: str
    line: int
    text: str


def fences(markdown: str) -> list[Fence]:
    """The blocks of code, with the words behind the backticks and the line they begin in."""
    found = []
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", markdown, re.MULTILINE):
        found.append(Fence(match[1].strip(), markdown[: match.start()].count("\n") + 2, match[2]))
    return found


def prose(markdown: str) -> str:
    """The text without its blocks of code."""
    return re.sub(r"^```.*\n(?:.*\n)*?```$", "", markdown, flags=re.MULTILINE)


def spans(markdown: str) -> list[str]:
    """The code within sentences."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(markdown))


def shell_lines(markdown: str) -> Iterator[str]:
    """Lines for a shell: those of console blocks, and spans that begin with one of our commands."""
    for fence in fences(markdown):
        if fence.info == "console":
            yield from fence.text.replace("\\\n", " ").splitlines()
    yield from (span for span in spans(markdown) if re.match(r"(?:uv run )?textdiffusion |make \w", span))


def commands(markdown: str) -> Iterator[list[str]]:
    """The arguments of each call of `textdiffusion`; pipes and redirections end a call."""
    for line in shell_lines(markdown):
        words: list[str] | None = None
        for word in [*shlex.split(line, comments=True), "|"]:
            if word in {"|", ">", "&&", ";"}:
                if words is not None:
                    yield words
                words = None
            elif words is not None:
                words.append(word)
            elif word == "textdiffusion":
                words = []


def anchors(markdown: str) -> set[str]:
    """The names under which headings can be reached."""
    heads = re.findall(r"^#+ (.*)$", prose(markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


# -- commands and links ----------------------------------------------------------------------------------


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Why the command line is not understood, or nothing; its values are read, and no work is done."""
    code = main([*words, "--help"])
    shown = capsys.readouterr()
    if code != 0:
        return f"{' '.join(words)}: {shown.err.strip()}"
    flags = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    # The opposite of a switch is understood without a line of its own in the help.
    positive = [re.sub("^--no-", "--", flag) for flag in flags]
    missing = [flag for flag in positive if not re.search(rf"{flag}(?![\w-])", shown.out)]
    return f"{' '.join(words)}: no flag {missing}" if missing else ""


@every_document
def test_commands_are_understood(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [refusal(words, capsys) for words in commands(path.read_text("utf-8"))]
    assert not [line for line in said if line]


@pytest.mark.parametrize(
    "line", ["conjure x", "generate --lenght 3", "generate --length three", "fill x --sampler nobody"]
)
def test_wrong_commands_are_noticed(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = commands(f"```console\ntextdiffusion {line} | tail\n```")
    assert refusal(words, capsys)


@every_document
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [line.split()[1] for line in shell_lines(path.read_text("utf-8")) if line.startswith("make ")]
    assert set(named) <= targets


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            broken.append(target)
    assert not broken


def test_every_document_is_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        reached.add(path)
        for target in re.findall(r"\]\(([^)\s#:]+\.md)[^)]*\)", prose(path.read_text("utf-8"))):
            linked = (path.parent / target).resolve()
            ahead += [linked] if linked not in reached else []
    results = ROOT / "docs" / "results"
    apart = [path for path in DOCUMENTS if path.parent in (ROOT, results)]
    assert set(DOCUMENTS) - set(apart) <= reached


@every_document
def test_named_files_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:src|tests|recipes|docs|benchmarks)/[\w./-]*\w)/?(?:::\w+)?`", prose(path.read_text("utf-8"))
    )
    assert not [name for name in named if not (ROOT / name).exists()]


# -- code ------------------------------------------------------------------------------------------------

RUNNABLE = [path for path in DOCUMENTS if any("runnable" in f.info for f in fences(path.read_text("utf-8")))]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    tokenizer = train_tokenizer([STORY] * 20, 300, longest=256)
    config = DiffusionTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    network = DiffusionTransformerForMaskedLM(config)
    folder = tmp_path_factory.mktemp("models") / STARTER.name
    save_checkpoint(folder, Checkpoint(network, tokenizer, ModelSettings(length=256, learns_end=True)))
    return folder


@pytest.mark.filterwarnings("default")  # the Trainer of transformers has advice for the machine it runs on
@pytest.mark.parametrize("model", ["tiny", "starter"])
@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_runs(
    path: Path, model: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = [fence for fence in fences(path.read_text("utf-8")) if "runnable" in fence.info]
    if model == "tiny":
        monkeypatch.setattr(checkpoint, "STARTER", tiny)
    elif not (STARTER / "config.json").is_file():
        pytest.skip("the bundled model is not in this checkout")
    elif not any("td.load()" in fence.text for fence in code):
        pytest.skip("this document does not use the bundled model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(tiny)
    (tmp_path / "stories.txt").write_text("\n".join([STORY * 3] * 12), encoding="utf-8")
    names = {"__name__": "document"}
    for fence in code:
        exec(compile("\n" * (fence.line - 1) + fence.text, str(path), "exec"), names)


# -- the architecture ------------------------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
HOMES = ("canvas", "schedules", "corruptions", "denoisers", "objectives", "samplers", "generation", "lengths")


def test_architecture_names_every_module() -> None:
    files = [path for path in (ROOT / "src" / "textdiffusion").rglob("*.py") if path.stem != "__init__"]
    named = {span.removesuffix(".py") for span in spans(ARCHITECTURE)}
    assert not {path.stem for path in files} - named


def test_signatures_are_those_of_the_code() -> None:
    (block,) = [fence.text for fence in fences(ARCHITECTURE) if fence.info == "python"]
    modules = [importlib.import_module(f"textdiffusion.{home}") for home in HOMES]
    wrong, methods, cls = [], 0, object
    for line in block.splitlines():
        if head := re.match(r"class (\w+)", line):
            (cls,) = {vars(module)[head[1]] for module in modules if head[1] in vars(module)}
        elif method := re.match(r"    def (\w+)\((.*?)\)", line):
            methods += 1
            told = [part.partition("=")[0].strip() for part in method[2].split(",") if part.strip() != "*"]
            if list(inspect.signature(vars(cls)[method[1]]).parameters) != told:
                wrong.append(f"{cls.__name__}.{method[1]}")
        elif field := re.match(r"    (\w+):", line):
            known = field[1] in cls.__annotations__ or isinstance(vars(cls).get(field[1]), property)
            wrong += [] if known else [f"{cls.__name__}.{field[1]}"]
    assert not wrong
    assert methods > 10
