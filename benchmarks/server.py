"""A server under load: made-up requests, many clients at once, memory, and what it costs against no server.

python benchmarks/server.py --save docs/results/serving.md
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import tyro
from engine import PROMPTS, _offline
from timing import machine

import textdiffusion as td
from textdiffusion.evaluation.batches import TOKENS_AT_ONCE
from textdiffusion.language_model import DiffusionLM
from textdiffusion.serving.metrics import spread

PATH = "/v1/completions"


def main(
    model: str = "starter",
    fuzzed: int = 10_000,
    clients: int = 64,
    seconds: float = 120.0,
    compared: int = 32,
    rounds: int = 3,
    shortest: int = 16,
    longest: int = 128,
    steps: int = 16,
    save: Path | None = None,
) -> None:
    """Three parts on loopback, one server process each for the first two and one for the last.

    Every text of the load is compared with its solo text, written by this process when the load is over.
    """
    lm = td.load(model, device="cpu")
    parts = [
        f"# The server under load: {model}",
        f"{machine(lm.model.device)}. Command: `python benchmarks/server.py --model {model} "
        f"--fuzzed {fuzzed} --clients {clients} --seconds {seconds:g} --compared {compared} "
        f"--rounds {rounds} --shortest {shortest} --longest {longest} --steps {steps}`",
        *_soaked(model, fuzzed),
        *_loaded(lm, clients, seconds, shortest, longest, steps),
        *_compared(lm, compared, rounds, shortest, longest, steps),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


class Server:
    """A server in a process of its own."""

    def __init__(self, model: str) -> None:
        words = ["serve", "--model", model, "--device", "cpu", "--port", "0", "--max-steps", "64"]
        words += ["--running", "64", "--queue", "256", "--tokens-per-pass", str(TOKENS_AT_ONCE)]
        command = [sys.executable, "-m", "textdiffusion", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+:\d+", self.process.stdout.readline())
        assert found, "the server did not start"
        self.url = found[0]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0, "the server did not end well"

    def metric(self, name: str) -> float:
        """One of its numbers."""
        lines = httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        return self.metric("process_resident_memory_bytes") / 2**20


def _soaked(model: str, number: int) -> list[str]:
    """Made-up requests, half by schemathesis and half of valid kinds, and the memory before and after."""
    with Server(model) as server:
        answers: dict[int, int] = {}
        with httpx.Client(base_url=server.url, timeout=120) as client:
            chance = random.Random(0)

            def valid(count: int) -> None:
                for _ in range(count):
                    path, body = _valid(chance)
                    _note(answers, client.post(path, json=body).status_code)

            valid(max(20, number // 20))
            _made_up(server.url, max(20, number // 20), answers)
            warm = server.memory
            answers.clear()
            for _ in range(10):  # by turns, so that neither kind has the end for itself
                valid(number // 20)
                _made_up(server.url, number // 20, answers)
            health = client.get("/health").json()["status"]
        after = server.memory
    faults = sum(count for status, count in answers.items() if status >= 500)
    told = ", ".join(f"{status}: {count}" for status, count in sorted(answers.items()))
    return [
        f"## {sum(answers.values())} made-up requests",
        f"Statuses: {told}; {faults} of the server's own errors (500 and above); health: {health}. "
        f"Resident memory {warm:.0f} MiB after warm-up, {after:.0f} MiB after the soak: "
        f"{after / warm:.3f} times.",
    ]


def _note(answers: dict[int, int], status: int) -> None:
    answers[status] = answers.get(status, 0) + 1


def _valid(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A request that can be served."""
    bodies: list[tuple[str, dict[str, Any]]] = [
        (PATH, {"prompt": chance.choice(PROMPTS), "max_tokens": chance.randint(1, 24), "steps": 4}),
        (
            PATH,
            {
                "prompt": "The",
                "suffix": " ran.",
                "max_tokens": chance.randint(1, 8),
                "steps": 4,
                "logprobs": 2,
            },
        ),
        ("/v1/fill", {"text": f"Once [MASK:{chance.randint(1, 8)}] time", "steps": 4}),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "steps": 4},
        ),
    ]
    path, body = chance.choice(bodies)
    body |= {"stream": chance.random() < 0.3, "stream_steps": chance.random() < 0.3}
    return path, {**body, "seed": chance.randint(0, 10**6)}


def _made_up(url: str, number: int, answers: dict[int, int]) -> None:
    """So many requests that schemathesis makes up of the schema."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    each = max(1, number // (2 * len(operations)))
    for operation in operations:
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:

            @settings(
                max_examples=each,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                deadline=None,
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                _note(answers, case.call(timeout=120).status_code)

            if mode is GenerationMode.POSITIVE or operation.body:
                ask()


def _body(lm: DiffusionLM, number: int, length: int, steps: int) -> dict[str, Any]:
    prompt = PROMPTS[number % len(PROMPTS)]
    return {"prompt": prompt, "max_tokens": length, "seed": number, "steps": steps, "sampler": "ancestral"}


def _solo(lm: DiffusionLM, body: dict[str, Any]) -> str:
    options = {"steps": body["steps"], "sampler": body["sampler"]}
    return lm.generate(body["prompt"], length=body["max_tokens"], seed=body["seed"], **options).text


def _loaded(
    lm: DiffusionLM, clients: int, seconds: float, shortest: int, longest: int, steps: int
) -> list[str]:
    """Clients that ask again as soon as they are answered; a third of them reads a stream."""
    found: list[tuple[dict[str, Any], str | None, float]] = []
    with Server(lm.name) as server:
        end = time.monotonic() + seconds

        def client(number: int) -> None:
            chance = random.Random(number)
            with httpx.Client(base_url=server.url, timeout=300) as asking:
                while time.monotonic() < end:
                    body = _body(lm, chance.randrange(10**6), chance.randint(shortest, longest), steps)
                    since = time.perf_counter()
                    text = _asked(asking, body, stream=number % 3 == 0)
                    found.append((body, text, time.perf_counter() - since))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = time.perf_counter() - begun
    lost = sum(text is None for _, text, _ in found)
    wrong = sum(text is not None and text != _solo(lm, body) for body, text, _ in found)
    took, tokens = spread([taken for _, _, taken in found]), sum(body["max_tokens"] for body, _, _ in found)
    return [
        f"## {clients} clients for {seconds:g} s",
        f"{len(found)} requests of {shortest} to {longest} tokens, {lost} lost, {wrong} other than their "
        f"solo texts; p50 {took.p50:.2f} s, p95 {took.p95:.2f} s; {len(found) / spent:.2f} requests and "
        f"{tokens / spent:.0f} tokens a second.",
    ]


def _asked(client: httpx.Client, body: dict[str, Any], *, stream: bool) -> str | None:
    """The text, or None where there is none."""
    try:
        if not stream:
            answer = client.post(PATH, json=body)
            return str(answer.json()["choices"][0]["text"]) if answer.status_code == 200 else None
        text, whole = "", False
        with client.stream("POST", PATH, json={**body, "stream": True}) as events:
            for line in events.iter_lines():
                data = line.removeprefix("data: ")
                whole = whole or data == "[DONE]"
                if data.startswith("{"):
                    text += json.loads(data)["choices"][0]["text"]
        return text if whole else None
    except (httpx.HTTPError, KeyError, ValueError):
        return None


def _compared(
    lm: DiffusionLM, clients: int, rounds: int, shortest: int, longest: int, steps: int
) -> list[str]:
    """The same requests by the server at once, offline in batches, and one after another; by turns."""
    span = longest - shortest
    lengths = [shortest + span * (7 * i % clients) // max(1, clients - 1) for i in range(clients)]
    bodies = [_body(lm, i, length, steps) for i, length in enumerate(lengths)]
    with Server(lm.name) as server, httpx.Client(base_url=server.url, timeout=600) as client:

        def at_once() -> None:
            with ThreadPoolExecutor(clients) as pool:
                texts = list(pool.map(lambda body: _asked(client, body, stream=False), bodies))
            assert None not in texts, "a request was lost"

        def in_turn() -> None:
            for body in bodies:
                assert _asked(client, body, stream=False) is not None

        ways: dict[str, Callable[[], object]] = {
            "server, all at once": at_once,
            "offline, in batches": lambda: _offline(lm, lengths, steps, "ancestral"),
            "server, one after another": in_turn,
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):  # the first warms up
            for name, way in ways.items():
                since = time.perf_counter()
                way()
                if turn:
                    spent[name].append(time.perf_counter() - since)
    server_time, offline, turns = (_middle(times) for times in spent.values())
    rows = [
        f"| {name} | {_middle(times):.2f} | {sum(lengths) / _middle(times):.0f} |"
        for name, times in spent.items()
    ]
    return [
        f"## {clients} requests at once, against no server and against one after another",
        "\n".join(["| | seconds | tokens a second |", "|---|---|---|", *rows]),
        f"The server has {offline / server_time:.2f} of the throughput offline, and "
        f"{turns / server_time:.2f} times that of one after another; middle of {rounds} rounds, by turns, "
        f"on {os.cpu_count()} cores.",
    ]


def _middle(times: Sequence[float]) -> float:
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    tyro.cli(main)
