"""Reading frames into a trace, and the file that keeps it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from textdiffusion.errors import DataError, SettingsError
from textdiffusion.generation.frames import Frame
from textdiffusion.views.reader import TextReader
from textdiffusion.views.trace import Trace


def reader(row: int = 0, valid: list[bool] | None = None) -> TextReader:
    real = torch.tensor([[True] * 6, valid or [True] * 6])
    return TextReader.of_row(
        row,
        editable=torch.tensor([[False, False, True, True, True, True]] * 2),
        valid=real,
        decode=lambda ids: "".join(chr(97 + i) for i in ids),
        mask_id=25,
    )


def frame() -> Frame:
    tokens = torch.tensor([[0, 1, 25, 25, 2, 25], [24, 3, 25, 4, 24, 24]])
    confidence = torch.full((2, 6), torch.nan)
    confidence[1, 3] = 0.123456789
    return Frame(
        1,
        4,
        tokens,
        tokens != 25,
        confidence,
        tokens != 25,
        nfe=1,
        seconds=0.5,
        read=torch.full_like(tokens[:, 0], 4),
    )


def test_padding_on_both_sides_is_left_out() -> None:
    snapshot = reader(1, [False, True, True, True, False, False]).read(frame())
    assert snapshot.tokens == (3, 25, 4)
    assert snapshot.pieces == ("d", None, "e")
    assert snapshot.settled == (True, False, True)
    assert snapshot.confidence == (None, None, 0.123457)
    assert reader(1, [False, True, True, True, False, False]).roles == ("prompt", "editable", "editable")


def test_reading_leaves_the_frame_alone() -> None:
    looked_at, untouched = frame(), frame()
    reader().read(looked_at)
    assert torch.equal(looked_at.tokens, untouched.tokens)
    torch.testing.assert_close(looked_at.confidence, untouched.confidence, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("row", [-1, 2])
def test_row_outside_the_batch_is_refused(row: int) -> None:
    with pytest.raises(SettingsError, match="no text"):
        reader(row)


def test_row_of_padding_is_refused() -> None:
    with pytest.raises(SettingsError, match="padding"):
        reader(1, [False] * 6)


def test_frame_of_another_canvas_is_refused() -> None:
    small = frame()
    with pytest.raises(SettingsError, match="canvas"):
        reader().read(
            replace(
                small,
                tokens=small.tokens[:, :3],
                settled=small.settled[:, :3],
                confidence=small.confidence[:, :3],
                final=small.final[:, :3],
            )
        )


def test_no_frames_are_refused() -> None:
    with pytest.raises(SettingsError, match="No frames"):
        reader().record([], model="m", sampler="s", seed=None)


def test_noise_without_a_mask_is_read_as_text() -> None:
    assert None not in replace(reader(), mask_id=None).read(frame()).pieces


def test_trace_has_a_snapshot_per_frame(trace: Trace) -> None:
    assert len(trace.snapshots) == trace.steps + 1
    assert trace.title(0) == f"Step 0 / {trace.steps}"
    assert trace.snapshots[2].nfe == 2
    assert trace.snapshots[2].seconds == 0.25


def test_written_at_names_the_step_of_each_token(trace: Trace) -> None:
    table = trace.written_at()
    assert set(table[0]) == {None}
    for index, row in enumerate(table):
        for i, step in enumerate(row):
            assert (step is None) == (i == 0 or not trace.snapshots[index].settled[i])
    finished = [step for step in table[-1] if step is not None]
    assert {finished.count(step) for step in set(finished)} == {3}


def test_written_at_counts_a_rewritten_token_anew(trace: Trace) -> None:
    last = trace.snapshots[-1]
    other = replace(last, step=last.step + 1, tokens=(*last.tokens[:-1], 0))
    table = replace(trace, snapshots=(*trace.snapshots, other)).written_at()
    assert table[-1][-1] == other.step
    assert table[-1][1:-1] == table[-2][1:-1]


@pytest.mark.parametrize("seed", [None, 7])
def test_file_reads_back_equal(
    make_trace: Callable[..., Trace], chinese: list[str], tmp_path: Path, seed: int | None
) -> None:
    trace = replace(make_trace(chinese, 6, 4), seed=seed)
    trace.save(tmp_path / "poem.json")
    assert Trace.load(tmp_path / "poem.json") == trace
    assert "床前明月光" not in (tmp_path / "poem.json").read_text("utf-8")  # pieces, one by one
    assert '"床","前"' in (tmp_path / "poem.json").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["poem.json"]


def test_failed_save_leaves_the_old_file(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.json"
    path.write_text("old")

    def full_disk(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(DataError, match="No space left"):
        trace.save(path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["old.json"]


def test_missing_folder_is_one_clear_line(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file") as caught:
        trace.save(tmp_path / "none" / "x.json")
    assert "\n" not in str(caught.value)


def saved(trace: Trace, folder: Path) -> dict[str, object]:
    trace.save(folder / "good.json")
    plain: dict[str, object] = json.loads((folder / "good.json").read_text("utf-8"))
    return plain


def test_truncated_file_is_refused(trace: Trace, tmp_path: Path) -> None:
    trace.save(tmp_path / "x.json")
    whole = (tmp_path / "x.json").read_bytes()
    for share in (0.0, 0.3, 0.99):
        (tmp_path / "x.json").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match="not whole JSON"):
            Trace.load(tmp_path / "x.json")


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "other", "version": 1}', "7"])
def test_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="is not a textdiffusion trace"):
        Trace.load(tmp_path / "x.json")


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not whole JSON"):
        Trace.load(tmp_path / "x.json")
    with pytest.raises(DataError, match="Cannot read"):
        Trace.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 99}, "version 99"),
        ({"roles": ["prompt"]}, "entries for 1 positions"),
        ({"roles": "prompt"}, "damaged"),
        ({"roles": ["author"]}, "role 'author'"),
        ({"steps": "six"}, "'six'"),
        ({"seed": True}, "True"),
        ({"frames": []}, "no frames"),
        ({"frames": [1]}, "damaged"),
        ({"pieces": []}, "piece 0 of 0"),
    ],
)
def test_damaged_file_is_refused(trace: Trace, tmp_path: Path, change: dict[str, object], said: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(saved(trace, tmp_path) | change))
    with pytest.raises(DataError, match=said) as caught:
        Trace.load(tmp_path / "bad.json")
    assert "\n" not in str(caught.value)


def test_number_that_is_none_is_refused(trace: Trace, tmp_path: Path) -> None:
    text = json.dumps(saved(trace, tmp_path)).replace('"seconds": 0.25', '"seconds": NaN')
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match="where a number belongs"):
        Trace.load(tmp_path / "bad.json")
