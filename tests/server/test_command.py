"""`textdiffusion serve` as a process of its own: its address, its end, and what it refuses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving.toy import language_model

from textdiffusion.checkpoint import Checkpoint, save_checkpoint
from textdiffusion.cli.main import main
from textdiffusion.cli.serve import KEY, Service

COMPLETIONS = "/v1/completions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lm = language_model()
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(path, Checkpoint(lm.model, lm.format.tokenizer, lm.settings))
    return path


class Process:
    """A server in a process."""

    def __init__(self, folder: Path, *flags: str) -> None:
        words = [
            sys.executable,
            "-m",
            "textdiffusion",
            "serve",
            "--model",
            str(folder),
            "--port",
            "0",
            *flags,
        ]
        path = os.pathsep.join([str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            words, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://[\d.]+:(\d+)", said)
        assert found, said or self.process.communicate()
        self.url, self.port = found[0], int(found[1])

    def end(self, kind: signal.Signals) -> tuple[int, str]:
        """The exit code after a signal, and what was said on standard error."""
        self.process.send_signal(kind)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Process]:
    started = Process(folder, "--max-body", "20000", "--grace", "20")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def metric(running: Process, name: str) -> float:
    text = httpx.get(f"{running.url}/metrics").text
    (value,) = re.findall(rf"^textdiffusion_{name} (\S+)$", text, re.MULTILINE)
    return float(value)


def test_it_answers_and_is_reached_by_this_machine_alone(running: Process) -> None:
    found = httpx.post(f"{running.url}{COMPLETIONS}", json={"prompt": "the cat", "max_tokens": 4, "seed": 1})
    assert found.json()["choices"][0]["text"] == language_model_text()
    assert running.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{running.url}/v1/models").json()["data"][0]["id"] == "tiny"


def language_model_text() -> str:
    return language_model().generate("the cat", length=4, seed=1).text


def test_large_bodies_over_a_socket(running: Process) -> None:
    parts = (b"x" * 1000 for _ in range(100))
    for content in (b"x" * 100_000, parts):
        found = httpx.post(
            f"{running.url}{COMPLETIONS}", content=content, headers={"Content-Type": "application/json"}
        )
        assert found.status_code == 413


def test_a_killed_client_frees_its_place(running: Process) -> None:
    before = metric(running, "cancelled_total")
    body = json.dumps(
        {"prompt": "the", "max_tokens": 60, "steps": 4000, "stream": True, "stream_steps": True}
    )
    lines = [f"POST {COMPLETIONS} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall((head + body).encode())
        assert b"200 OK" in client.recv(200)
    end = time.monotonic() + 30
    while metric(running, "cancelled_total") == before:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert metric(running, "running") == 0


def test_a_taken_port_is_one_line(running: Process, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", str(folder), "--port", str(running.port)]) == 2
    said = capsys.readouterr().err
    assert f"cannot listen at port {running.port}" in said and said.count("\n") == 1


def test_what_runs_is_finished_at_the_end(running: Process) -> None:
    found = []
    body = {"prompt": "the", "max_tokens": 60, "steps": 600, "seed": 1}
    asking = threading.Thread(
        target=lambda: found.append(httpx.post(f"{running.url}{COMPLETIONS}", json=body, timeout=60))
    )
    asking.start()
    end = time.monotonic() + 20
    while metric(running, "running") == 0:
        assert time.monotonic() < end
    code, said = running.end(signal.SIGTERM)
    asking.join()
    assert found[0].status_code == 200 and found[0].json()["choices"][0]["finish_reason"] == "length"
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "no/such/model/here"], "error:"),
        (["--port", "70000"], "port is 70000"),
        (["--host", "no such host"], "cannot listen"),
        (["--queue", "0"], "queue is 0"),
        (["--max-textes", "3"], "Did you mean --max-texts"),
        (["--merging", "paded"], "Did you mean padded"),
        (["--api-key-file", "missing.txt"], "cannot read --api-key-file"),
    ],
)
def test_bad_use_is_one_line(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = flags if "--port" in flags else [*flags, "--port", "0"]
    assert main(["serve", *flags]) in (1, 2)
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_keys_come_from_the_environment_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.txt"
    path.write_text("one\n\n two \n")
    assert Service().keys == []
    assert Service(api_key_file=path).keys == ["one", "two"]
    monkeypatch.setenv(KEY, "zero")
    assert Service(api_key_file=path).keys == ["zero", "one", "two"]
    assert Service(host="0.0.0.0").reaches_out and not Service(host="::1").reaches_out
