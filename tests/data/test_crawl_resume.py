"""A crawl that was interrupted, at any byte, goes on to the same poems: none lost, none doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from poetry_site import PoetrySite, Reply, index, moved, poet, serving

from textdiffusion.data.crawling import Limits, Manners, crawl, find_site, journal
from textdiffusion.data.sources import read_documents
from textdiffusion.errors import DataError, SettingsError

SOURCE = Path(__file__).resolve().parents[2] / "src"
QUICK = Manners(delay=0.0, timeout=5.0, retries=0)
POETS, POEMS = 8, 14


@pytest.fixture
def site() -> Any:
    """Poets of one to three poems; one is redirected, one has gone, one answers at the second visit."""
    with serving() as serves:
        names = [f"poet{number}" for number in range(POETS)]
        for number, name in enumerate(names):
            poems = [(f"题{number}之{n}", f"第{number}人\n第{n}首") for n in range(number % 3 + 1)]
            serves.add(**{name: poet(name, *poems)})
        serves.add(
            index=index(*[(f"{name}.htm", name) for name in ["old", *names, "gone"]]),
            old=moved("poet5.htm"),
            poet7=lambda count: Reply(status=500) if count == 0 else poet("poet7", ("七", "行\n行")),
        )
        yield serves


def collect(site: PoetrySite, folder: Path, **options: Any) -> list[str]:
    """The lines of the poems, after a run that must go through."""
    options = {"manners": QUICK, **options}
    crawl(replace(find_site("shigeku"), start=site.start), folder / "poems.jsonl", **options)
    return (folder / "poems.jsonl").read_text("utf-8").splitlines()


def expected(site: PoetrySite, folder: Path) -> list[str]:
    """As when nothing interrupts."""
    lines = collect(site, folder)
    assert len(lines) == len(set(lines)) == POEMS and "第5人" in lines[0]
    site.asked.clear()
    return lines


class Stopped(BaseException):
    """Ends a run."""


def work_in(folder: Path) -> Path:
    return folder / "poems.jsonl.unfinished"


def test_stopped_at_every_byte_that_is_written(
    site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a few bytes of each write: none of it, a part, and all of it, are on the disk."""
    whole = expected(site, tmp_path / "whole")
    appended, left = journal.UnfinishedCrawl._append, [0]

    def append(self: Any, name: str, content: bytes) -> None:
        if left[0] >= 3:
            left[0] -= 3
            return appended(self, name, content)
        with (self.path / name).open("ab") as file:
            file.write(content[: len(content) * left[0] // 2])
        raise Stopped

    monkeypatch.setattr(journal.UnfinishedCrawl, "_append", append)
    for moment in range(0, 3 * 17, 5):
        folder = tmp_path / str(moment)
        left[0] = moment
        with pytest.raises(Stopped):
            collect(site, folder)
        left[0] = 10**6
        lines = collect(site, folder, resume=True)
        assert sorted(lines) == sorted(whole)
        assert [path.name for path in folder.iterdir()] == ["poems.jsonl"]


def test_cut_at_every_length(site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a crash of the machine leaves of the journal, the poems behind it are asked for again."""
    whole = expected(site, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(journal.UnfinishedCrawl, "finish", stop)
        with pytest.raises(Stopped):
            collect(site, tmp_path / "cut")
    folder = work_in(tmp_path / "cut")
    pages, poems = (folder / journal.JOURNAL).read_bytes(), (folder / journal.POEMS).read_bytes()
    for length in [*range(0, len(pages), 907), len(pages)]:
        folder.mkdir(exist_ok=True)
        (tmp_path / "cut" / "poems.jsonl").unlink(missing_ok=True)
        (folder / journal.JOURNAL).write_bytes(pages[:length])
        (folder / journal.POEMS).write_bytes(poems + b'{"title": "ha')
        for ends in (
            stop,
            journal.UnfinishedCrawl.finish,
        ):  # what is appended to the cut must be readable, too
            with monkeypatch.context() as patch, suppress(Stopped):
                patch.setattr(journal.UnfinishedCrawl, "finish", ends)
                collect(site, tmp_path / "cut", resume=True)
        assert sorted((tmp_path / "cut" / "poems.jsonl").read_text("utf-8").splitlines()) == sorted(whole)


def stop(*_: object) -> None:
    raise Stopped


def test_pages_are_asked_for_once(site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all runs together; the page that failed and the one that a kill cut off are asked for again."""
    added, left = journal.UnfinishedCrawl.add, [6]

    def add(self: Any, *given: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return added(self, *given)

    monkeypatch.setattr(journal.UnfinishedCrawl, "add", add)
    with pytest.raises(KeyboardInterrupt):
        collect(site, tmp_path)
    left[0] = 10**6
    assert len(collect(site, tmp_path, resume=True)) == POEMS
    counts = site.counts()
    again = {name for name, count in counts.items() if count > 1}
    assert again == {"/robots.txt", "poet4.htm", "poet7.htm"} and max(counts.values()) == 2


def test_ended_between_the_last_two_lines(
    site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poems have their name, and the folder is still there."""
    whole = expected(site, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(journal.shutil, "rmtree", stop)
        with pytest.raises(Stopped):
            collect(site, tmp_path)
    assert work_in(tmp_path).is_dir() and (tmp_path / "poems.jsonl").is_file()
    site.asked.clear()
    assert sorted(collect(site, tmp_path, resume=True)) == sorted(whole)
    assert not site.asked and not work_in(tmp_path).exists()


def test_killed(site: PoetrySite, tmp_path: Path) -> None:
    """kill -9 at random moments, again and again, until a run comes to its end."""
    whole = expected(site, tmp_path / "whole")
    site.every_page_takes = 0.02
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from textdiffusion.data.crawling import Manners, crawl, find_site\n"
        f"site = replace(find_site('shigeku'), start={site.start!r})\n"
        f"output = Path({str(tmp_path / 'poems.jsonl')!r})\n"
        "print('begun', flush=True)\n"
        "crawl(site, output, manners=Manners(delay=0.0, retries=0), resume='resume' in sys.argv)"
    )
    dice, kills, sizes = random.Random(0), 0, set[int]()
    for _ in range(60):
        words = [sys.executable, "-c", code, *["resume"] * work_in(tmp_path).is_dir()]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            goal = len(site.asked) + dice.randint(2, 5)
            while len(site.asked) < goal and process.poll() is None:
                time.sleep(0.001)
            time.sleep(dice.uniform(0.0, 0.03))
            process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        kills += 1
        poems = work_in(tmp_path) / journal.POEMS
        sizes.add(poems.stat().st_size if poems.is_file() else 0)
    assert sorted((tmp_path / "poems.jsonl").read_text("utf-8").splitlines()) == sorted(whole)
    assert kills >= 3 and len(sizes) >= 3, "it was killed before, in the middle and near the end"


def test_what_is_unfinished_is_not_read(
    site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a training on the folder in which it grows."""
    (tmp_path / "train.jsonl").write_text('{"content": "a poem"}\n')
    assert (interrupted(site, tmp_path, monkeypatch) / journal.POEMS).stat().st_size
    assert list(read_documents(str(tmp_path))) == ["a poem"]


# -- what is refused -------------------------------------------------------------------------------------


def interrupted(site: PoetrySite, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a crawl that was stopped at its end."""
    with monkeypatch.context() as patch:
        patch.setattr(journal.UnfinishedCrawl, "finish", stop)
        with pytest.raises(Stopped):
            collect(site, folder)
    return work_in(folder)


def test_what_is_there_is_not_overwritten(
    site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"no unfinished crawl .*; leave --resume out"):
        collect(site, tmp_path, resume=True)
    interrupted(site, tmp_path, monkeypatch)
    with pytest.raises(SettingsError, match="holds an unfinished crawl; go on with --resume"):
        collect(site, tmp_path)
    lines = collect(site, tmp_path, resume=True)
    for resume in (False, True):
        with pytest.raises(SettingsError, match="exists already; choose another --output"):
            collect(site, tmp_path, resume=resume)
    assert (tmp_path / "poems.jsonl").read_text("utf-8").splitlines() == lines


def test_other_options(site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(site, tmp_path, monkeypatch)
    with pytest.raises(SettingsError, match="was begun with max_poems None, not 3; give the same options"):
        collect(site, tmp_path, resume=True, limits=Limits(max_poems=3))
    other = replace(find_site("shigeku"), start=site.start, encoding="utf-8")
    with pytest.raises(SettingsError, match="was begun with site "):
        crawl(other, tmp_path / "poems.jsonl", resume=True)
    assert len(collect(site, tmp_path, resume=True)) == POEMS  # and nothing was spoilt


def test_damage(site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted(site, tmp_path, monkeypatch)
    os.truncate(folder / journal.POEMS, 10)
    with pytest.raises(DataError, match=r"poems.jsonl is shorter than the \d+ bytes that were written"):
        collect(site, tmp_path, resume=True)
    lines = (folder / journal.JOURNAL).read_text("utf-8").splitlines(keepends=True)
    for line in ("{\n", "[]\n", json.dumps({"targt": 1}) + "\n", "null\n"):
        (folder / journal.JOURNAL).write_text("".join([*lines[:3], line, *lines[3:]]), "utf-8")
        with pytest.raises(
            DataError, match=r"pages\.jsonl cannot be read .*; remove .* and begin anew"
        ) as caught:
            collect(site, tmp_path, resume=True)
        assert "\n" not in str(caught.value)


def test_two_at_once(site: PoetrySite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted(site, tmp_path, monkeypatch)
    with FileLock(folder / ".lock"), pytest.raises(DataError, match="another process is at work"):
        collect(site, tmp_path, resume=True)


def test_a_folder_that_cannot_be_written(site: PoetrySite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*poems.jsonl: ") as caught:
        collect(site, tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert not site.asked
