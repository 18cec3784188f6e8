"""What goes to the Hub, and its card; the Hub itself is a fake, and nothing is ever uploaded."""

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml
from fake_hub import FakeHub
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

from textdiffusion.data import publish as module
from textdiffusion.data.card import About
from textdiffusion.data.cleaning import clean
from textdiffusion.data.publish import plan_publication, publish
from textdiffusion.errors import DataError, SettingsError

ABOUT = About(license="other", source="https://poems.example.org")


@pytest.fixture
def poems(tmp_path: Path) -> Path:
    """A folder of two splits, a report, and files that concern nobody."""
    raw = [{"title": f"题{n}", "author": f"人{n % 3}", "content": f"第{n}行\nhttp://a.cn"} for n in range(5)]
    source = tmp_path / "raw.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in raw), "utf-8")
    folder = tmp_path / "poems"
    clean(str(source), folder / "train.jsonl")
    (folder / "test.jsonl").write_text('{"text": "一"}\n{"text": "二"}\n', "utf-8")
    (folder / ".secret").write_text("token")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.txt").write_text("x")
    (folder / "more.jsonl.unfinished").mkdir()
    (folder / "more.jsonl.unfinished" / "poems.jsonl").write_text("")
    return folder


NAMES = ["README.md", "test.jsonl", "train.cleaning.yaml", "train.jsonl"]


def test_card(poems: Path) -> None:
    plan = plan_publication(poems, "someone/poems", ABOUT)
    match = re.match(r"---\n(.*?)---\n\n# poems\n", plan.card, re.DOTALL)
    assert match
    assert yaml.safe_load(match[1]) == {
        "pretty_name": "poems",
        "license": "other",
        "language": ["zh"],
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": ["train.jsonl"]},
                    {"split": "test", "path": ["test.jsonl"]},
                ],
            }
        ],
    }
    assert "| train | 5 | 3 | 15 |\n| test | 2 | 0 | 2 |" in plan.card
    assert "Source: https://poems.example.org" in plan.card
    assert "Fields: `title`, `author`, `content`, `text`." in plan.card
    assert "## Cleaning of raw.jsonl" in plan.card and "| links | 5 | 0 | 0 | Addresses of pages" in plan.card


def test_plan_touches_nothing(poems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", None)
    before = sorted(poems.rglob("*"))
    plan = plan_publication(poems, "someone/poems", ABOUT)
    assert [file.name for file in plan.files] == NAMES and plan.card_is_new
    assert sorted(poems.rglob("*")) == before
    sizes = {file.name: file.bytes for file in plan.files}
    assert sizes["train.jsonl"] == (poems / "train.jsonl").stat().st_size
    assert sizes["README.md"] == len(plan.card.encode())


def test_upload(poems: Path) -> None:
    (poems / "part [1].txt").write_text("x")
    hub, plan = FakeHub(), plan_publication(poems, "someone/poems", ABOUT)
    assert publish(plan, private=True, hub=hub) == "https://hub.example.org/datasets/someone/poems"
    (_, made), (_, uploaded) = hub.calls
    assert made == {"repo_id": "someone/poems", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert uploaded["allow_patterns"] == ["README.md", "part [[]1].txt", *NAMES[1:]]
    assert (uploaded["folder_path"], uploaded["repo_type"]) == (poems, "dataset")
    assert (poems / "README.md").read_text("utf-8") == plan.card


@pytest.mark.filterwarnings("default")
def test_the_published_folder_loads(poems: Path, tmp_path: Path) -> None:
    """By its card, as from the Hub; columns that only a later row has are no trouble."""
    import datasets

    raw = tmp_path / "raw.jsonl"
    rows = [{"title": f"题{n}", "content": f"第{n}行"} for n in range(3)]
    rows.append({"title": "沸热\r\n序", "content": "行"})
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    clean(str(raw), tmp_path / "new" / "poems-train.jsonl")
    publish(plan_publication(tmp_path / "new", "someone/poems", ABOUT), hub=FakeHub())
    loaded = datasets.load_dataset(str(tmp_path / "new"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and loaded["train"].column_names == ["title", "content", "epigraph"]
    assert loaded["train"]["epigraph"][:] == [None, None, None, "序"]


def test_a_card_that_is_there_is_kept(poems: Path) -> None:
    (poems / "README.md").write_text("mine", "utf-8")
    plan = plan_publication(poems, "someone/poems", About())
    publish(plan, hub=FakeHub())
    assert plan.card == (poems / "README.md").read_text("utf-8") == "mine" and not plan.card_is_new


def test_the_token_is_that_of_the_library(poems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token passes through our hands: the library takes it from the environment or its own login."""
    hub = FakeHub()
    monkeypatch.setattr(
        "huggingface_hub.HfApi", lambda *given, **options: hub if not (given or options) else None
    )
    publish(plan_publication(poems, "someone/poems", ABOUT))
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder"]
    assert not any("token" in options for _, options in hub.calls)
    assert "HF_TOKEN" in inspect.getsource(module) and "os.environ" not in inspect.getsource(module)


@pytest.mark.parametrize(
    "refusal",
    [
        LocalTokenNotFoundError("Token is required.\nMore."),
        OfflineModeIsEnabled("Cannot reach https://hub: offline mode is enabled."),
        ConnectionError("Name or service not known"),
    ],
)
def test_refusals_of_the_hub_are_one_line(poems: Path, refusal: Exception) -> None:
    plan = plan_publication(poems, "someone/poems", ABOUT)
    with pytest.raises(DataError, match=r"the Hub did not take someone/poems \(.*\); set HF_TOKEN") as caught:
        publish(plan, hub=FakeHub(refusal))
    assert "\n" not in str(caught.value)


def test_the_real_library_offline(poems: Path) -> None:
    """The tests run offline, so the library itself refuses, by an error of its own."""
    with pytest.raises(DataError, match="the Hub did not take someone/poems"):
        publish(plan_publication(poems, "someone/poems", ABOUT))


def test_bad_use(poems: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"say under which terms others may use the data, e.g. --license"):
        plan_publication(poems, "someone/poems", About())
    with pytest.raises(SettingsError, match=r"repo is 'poems'; .* --repo USER/poems"):
        plan_publication(poems, "poems", ABOUT)
    with pytest.raises(SettingsError, match="Give --repo USER/NAME"):
        plan_publication(poems, "a/b/c", ABOUT)
    with pytest.raises(DataError, match="there is no folder"):
        plan_publication(tmp_path / "none", "someone/poems", ABOUT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty"):
        plan_publication(tmp_path / "empty", "someone/poems", ABOUT)
