"""data crawl, clean and publish: from a site on this machine to what would be uploaded."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from poetry_site import PoetrySite, index, poet, serving

from textdiffusion.cli.data import crawl as command

from .conftest import Run

POEM = ("偶然", "我是天空里的一片云，\n偶尔投影在你的波心——\n\n1926年5月")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PoetrySite]:
    """Two poets, one of whose pages has gone, and the file that describes them."""
    with serving() as serves:
        serves.add(index=index(("a.htm", "徐志摩"), ("b.htm", "某人")), a=poet("徐志摩", POEM, ("云", "云")))
        (tmp_path / "site.yaml").write_text(f"start: {serves.start}\nencoding: gb18030\n")
        yield serves


def test_from_a_site_to_the_hub(run: Run, site: PoetrySite, tmp_path: Path) -> None:
    raw, folder = tmp_path / "raw.jsonl", tmp_path / "poems"
    shown = run("data", "crawl", tmp_path / "site.yaml", "--output", raw, "--delay", "0")
    assert shown.code == 0
    assert shown.out.startswith(f"2 poems of 1 authors are in {raw}. Clean them:\n")
    assert shown.err.splitlines()[0] == f"INFO: {site.start}: index"
    assert "INFO: 徐志摩: 2 poems" in shown.err and "b.htm: not found (404 Not Found)" in shown.err
    assert "1 pages skipped, not found" in shown.err and "2 links to other hosts, not followed" in shown.err

    shown = run("data", "clean", raw, "--output", folder / "train.jsonl")
    assert shown.code == 0 and "2 documents were read; 2 are in" in shown.out
    assert [line.split()[:2] for line in shown.err.splitlines() if line.startswith("dates")] == [
        ["dates", "1"]
    ]
    poems = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    assert poems[0]["content"] == POEM[1].rpartition("\n\n")[0]

    shown = run(
        "data", "publish", folder, "--repo", "me/poems", "--license", "other", "--private", "--dry-run"
    )
    assert shown.code == 0 and shown.err == ""
    assert shown.out.startswith("me/poems, private if it is new: 3 files, ")
    assert "license: other" in shown.out and "| train | 2 | 1 |" in shown.out
    assert "Nothing was uploaded" in shown.out and not (folder / "README.md").exists()


def test_as_json(run: Run, site: PoetrySite, tmp_path: Path) -> None:
    raw, folder = tmp_path / "raw.jsonl", tmp_path / "poems"
    words = [tmp_path / "site.yaml", "--output", raw, "--delay", "0", "--log-level", "error", "--json"]
    shown = run("data", "crawl", *words)
    (report,) = shown.objects
    assert shown.err == "" and (report["poems"], report["skipped"]) == (2, {"not found": 1})
    shown = run(
        "data", "clean", raw, "--output", folder / "train.jsonl", "--json", "--rules", "dates", "links"
    )
    (report,) = shown.objects
    assert [rule["rule"] for rule in report["rules"]] == ["dates", "links"] and report["kept"] == 2
    (plan,) = run(
        "data", "publish", folder, "--repo", "me/a", "--license", "mit", "--dry-run", "--json"
    ).objects
    assert plan["address"] is None and [file["name"] for file in plan["files"]][1:] == [
        "train.cleaning.yaml",
        "train.jsonl",
    ]


def test_rules_are_listed(run: Run) -> None:
    shown = run("data", "clean", "--list")
    assert shown.code == 0 and "duplicates" in shown.out
    rules = {rule["name"]: rule for rule in run("data", "clean", "--list", "--json").objects}
    assert rules["notes"]["for_poems"] and not rules["chinese"]["for_poems"]


def test_interrupt_tells_how_to_go_on(
    run: Run, site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data", "crawl", tmp_path / "site.yaml", "--output", tmp_path / "raw.jsonl", "--delay", "0"]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("textdiffusion.data.crawling.crawler.read_poems", interrupt)
        shown = run(*words)
    assert shown.code == 130 and shown.err.endswith(
        "\ninterrupted; the same command with --resume goes on.\n"
    )
    shown = run(*words)
    assert shown.code == 2 and "go on with --resume" in shown.error
    assert run(*words, "--resume").code == 0
    assert logging.getLogger("textdiffusion.data.crawling").handlers == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("crawl", 2, "no site to crawl"),
        ("crawl shigek", 2, "Did you mean shigeku"),
        ("crawl shigeku --log-level INF", 2, "Did you mean INFO"),
        ("crawl shigeku --max-authors 0", 2, "max_authors is 0"),
        ("crawl shigeku --delay -1", 2, "delay is -1.0; it must be 0 or more"),
        ("crawl shigeku --resume --output OUT", 2, "leave --resume out"),
        ("clean", 2, "give a file and --output FILE"),
        ("clean HERE --output OUT.jsonl --rules linsk", 2, "Did you mean links"),
        ("clean OUT.jsonl --output OUT.jsonl", 1, "No file or folder"),
        ("publish HERE", 2, "give a folder and a name on the Hub"),
        ("publish HERE --repo me/poems", 2, "--license"),
        ("publish OUT --repo me/poems", 1, "there is no folder"),
        ("publsh", 2, "Did you mean publish"),
    ],
)
def test_bad_use_is_one_line(run: Run, tmp_path: Path, words: str, code: int, said: str) -> None:
    (tmp_path / "here").mkdir()
    places = {"HERE": str(tmp_path / "here")}
    shown = run("data", *[places.get(word, word.replace("OUT", f"{tmp_path}/out")) for word in words.split()])
    assert shown.code == code and said in shown.error


def test_levels_are_those_of_logging() -> None:
    assert all(level in logging.getLevelNamesMapping() for level in command.LEVELS)


def test_imagery(run: Run, tmp_path: Path) -> None:
    poems, output = tmp_path / "train.jsonl", tmp_path / "poems_imagery.jsonl"
    texts = ["月光。小河，青草。", "青草。小河。月光", "无"]
    poems.write_text("".join(json.dumps({"title": "题", "content": text}) + "\n" for text in texts), "utf-8")
    words = ["data", "imagery", poems, "--output", output]
    assert "none of the 3 texts has 3 terms" in run(*words).error
    shown = run(*words, "--documents", "2", "--information", "1")
    assert shown.code == 0 and shown.out.startswith("2 of 3 poems have 3 to 5 terms")
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["content"] for row in rows] == texts[:2] and list(rows[0]) == ["content", "imagery"]
    assert sorted(rows[0]["imagery"]) == sorted(["月光", "小河", "青草"])
    assert "exists already" in run(*words).error and "no file of poems" in run("data", "imagery").error
