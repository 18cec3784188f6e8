"""What becomes of requests: joining, leaving, being refused, failing, being late, and closing time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from textdiffusion.denoisers.view import View
from textdiffusion.errors import (
    Cancelled,
    DeadlinePassed,
    EngineClosed,
    EngineError,
    EngineFull,
    IncompatibleError,
    SettingsError,
    UnknownNameError,
)
from textdiffusion.language_model import DiffusionLM
from textdiffusion.serving import Engine, Limits
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where
from textdiffusion.tasks import Task

from .toy import Held, held, language_model, same_texts, solo, task

PLAIN = language_model()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test ends with the threads that it began with."""
    yield
    assert [thread.name for thread in threading.enumerate() if "textdiffusion" in thread.name] == []


@pytest.fixture
def lm() -> DiffusionLM:
    return language_model()


@pytest.fixture
def door(lm: DiffusionLM) -> Held:
    return held(lm)


def test_requests_join_and_leave_between_passes(lm: DiffusionLM, door: Held) -> None:
    with Engine(lm) as engine:
        long = engine.submit(task(lm, length=8, sampler="first-hitting"))
        door.wait()
        short = engine.submit(task(lm, length=7, seed=1, steps=2, sampler="random"))
        door.allow()
        assert short.result(60.0)
        assert len(list(long.frames())) == 9
    rows = [rows for rows, _ in door.shapes]
    assert rows == [1, 2, 2, *[1] * 5]
    assert same_texts(long.result(), solo(PLAIN, task(PLAIN, length=8, sampler="first-hitting")))


def test_a_cancelled_request_leaves_and_the_others_stay(lm: DiffusionLM, door: Held) -> None:
    with Engine(lm, Limits(running=2)) as engine:
        stays, leaves = (engine.submit(task(lm, seed=seed, sampler="first-hitting")) for seed in (0, 1))
        queued = engine.submit(task(lm))
        door.wait()
        leaves.cancel()
        queued.cancel()
        door.allow()
        assert same_texts(stays.result(60.0), solo(PLAIN, task(PLAIN, sampler="first-hitting")))
    for handle in (leaves, queued):
        with pytest.raises(Cancelled, match="was cancelled"):
            handle.result()
        with pytest.raises(Cancelled):
            list(handle.frames())
    stays.cancel()
    assert stays.result(), "what is done stays done"
    metrics = engine.metrics()
    assert (metrics.finished, metrics.cancelled, metrics.failed) == (1, 2, 0)
    assert len(door.shapes) == 6


def test_the_queue_is_bounded(lm: DiffusionLM, door: Held) -> None:
    with Engine(lm, Limits(queue=2, running=1)) as engine:
        first = engine.submit(task(lm, steps=1))
        door.wait()
        waiting = [engine.submit(task(lm, steps=1, seed=seed)) for seed in (1, 2)]
        assert (engine.metrics().queued, engine.metrics().running) == (2, 1)
        with pytest.raises(EngineFull, match="2 requests wait already"):
            engine.submit(task(lm))
        door.allow()
    assert all(handle.result() for handle in [first, *waiting])
    metrics = engine.metrics()
    assert (metrics.finished, metrics.refused, metrics.queued) == (3, 1, 0)
    assert metrics.waited.p95 <= metrics.took.p95
    assert metrics.took.p50 > 0.0


def test_the_memory_budget_holds_others_back(lm: DiffusionLM, door: Held) -> None:
    asked = [task(lm, length=6, seed=seed, sampler="first-hitting") for seed in range(3)]
    room = 2 * asked[0].canvas.tokens.numel() + 1
    with Engine(lm, Limits(tokens_running=room)) as engine:
        door.allow()
        handles = [engine.submit(one) for one in asked]
    assert max(rows for rows, _ in door.shapes) <= 2
    assert all(handle.result() for handle in handles)
    with Engine(PLAIN, Limits(tokens_per_request=6)) as engine:
        with pytest.raises(SettingsError, match="the request has 9 tokens, and one may have 6"):
            engine.submit(asked[0])
        with pytest.raises(SettingsError, match="one may have 6"):
            engine.submit(lambda lm: task(lm)).result(60.0)


def test_an_error_is_for_the_request_that_made_it() -> None:
    def wrong(tokens: Tensor) -> Tensor:
        raise ValueError("a classifier of the user's")

    with Engine(PLAIN) as engine:
        fails = engine.submit(task(PLAIN, classifier=wrong))
        refused = engine.submit(task(PLAIN, sampler="threshold", cache="exact"))
        works = engine.submit(task(PLAIN))
    with pytest.raises(ValueError, match="of the user's"):
        fails.result()
    with pytest.raises(IncompatibleError, match="the exact cache needs"):
        list(refused.frames())
    assert same_texts(works.result(), solo(PLAIN, task(PLAIN)))
    assert engine.metrics().failed == 2


@dataclass(frozen=True)
class Failing(View):
    """Raises what it is to where a pass is as it says."""

    error: Exception
    when: Callable[[Tensor], bool]

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        if self.when(xt):
            raise self.error
        return self.denoiser(xt, t, attend=attend, positions=positions, where=where)


def test_an_error_of_the_network_is_for_whom_it_concerns(lm: DiffusionLM) -> None:
    bad, given = lm.format.prompt("the dog")[-1], len(lm.format.prompt("the cat"))
    lm.denoiser = Failing(
        lm.denoiser, RuntimeError("device says no"), lambda xt: bool((xt[:, :given] == bad).any())
    )
    asked = [task(lm, "the dog"), task(PLAIN, "the cat"), task(PLAIN, "the cat", seed=1)]
    with Engine(lm) as engine:
        handles = [engine.submit(one) for one in asked]
    with pytest.raises(RuntimeError, match="device says no"):
        handles[0].result()
    assert all(
        same_texts(h.result(), solo(PLAIN, one)) for h, one in zip(handles[1:], asked[1:], strict=True)
    )


def test_passes_shrink_until_the_memory_holds_them(lm: DiffusionLM, caplog: pytest.LogCaptureFixture) -> None:
    lm.denoiser = Failing(lm.denoiser, torch.OutOfMemoryError("full"), lambda xt: len(xt) > 2)
    asked = [task(PLAIN, seed=seed, steps=2) for seed in range(6)]
    with Engine(lm) as engine:
        handles = [engine.submit(one) for one in asked]
    assert all(same_texts(h.result(), solo(PLAIN, one)) for h, one in zip(handles, asked, strict=True))
    assert "out of memory: passes have at most" in caplog.text
    lm.denoiser = Failing(PLAIN.denoiser, torch.OutOfMemoryError("full"), lambda xt: True)
    with Engine(lm) as engine, pytest.raises(torch.OutOfMemoryError):
        engine.submit(task(lm)).result(60.0)


def test_a_deadline_ends_a_request(lm: DiffusionLM, door: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("textdiffusion.serving.request.monotonic", lambda: now[0])
    with Engine(lm, Limits(running=1, seconds=50.0)) as engine:
        runs, queued = (engine.submit(task(lm, seed=seed, sampler="first-hitting")) for seed in (0, 1))
        hurried = engine.submit(task(lm), seconds=5.0)
        door.wait()
        now[0] = 110.0
        door.allow(1)
        with pytest.raises(DeadlinePassed, match="not done after 5 seconds"):
            hurried.result(60.0)
        now[0] = 151.0
        door.allow()
        for handle in (runs, queued):
            with pytest.raises(TimeoutError, match="not done after 50 seconds"):
                handle.result(60.0)
        with pytest.raises(SettingsError, match=r"seconds is 0\.0"):
            engine.submit(task(lm), seconds=0.0)
    assert engine.metrics().failed == 3


def test_waiting_may_end_before_the_text_does(lm: DiffusionLM, door: Held) -> None:
    with Engine(lm) as engine:
        handle = engine.submit(task(lm))
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.01)
        assert not handle.done
        door.allow()
        assert handle.result(60.0)


@pytest.mark.parametrize("drain", [True, False])
def test_closing(lm: DiffusionLM, door: Held, drain: bool) -> None:
    engine = Engine(lm, Limits(running=1))
    handles = [engine.submit(task(lm, seed=seed)) for seed in range(3)]
    door.wait()
    closing = threading.Thread(target=lambda: engine.close(drain=drain))
    closing.start()
    while engine._open:
        closing.join(0.001)
    with pytest.raises(EngineClosed, match="takes no requests"):
        engine.submit(task(lm))
    door.allow()
    closing.join(60)
    engine.close()
    if drain:
        assert all(handle.result() for handle in handles)
    else:
        for handle in handles:
            with pytest.raises(EngineClosed, match="before the text was done"):
                handle.result()


def test_an_interrupt_gives_up_what_runs(lm: DiffusionLM, door: Held) -> None:
    with pytest.raises(KeyboardInterrupt), Engine(lm) as engine:
        handle = engine.submit(task(lm))
        door.wait()
        door.allow()
        raise KeyboardInterrupt
    assert handle.done


def test_a_fault_of_the_engine_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: object) -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr("textdiffusion.serving.crowd.Crowd.step", broken)
    with Engine(PLAIN) as engine, pytest.raises(EngineError, match=r"failed \(a fault\)"):
        engine.submit(task(PLAIN)).result(60.0)
    assert "the engine has failed" in caplog.text


def test_an_unknown_merging() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean padded"):
        Engine(PLAIN, merging="pad")


def test_frames_in_an_event_loop() -> None:
    async def read(engine: Engine, asked: Task) -> int:
        handle = engine.submit(asked)
        steps = [frame.step async for frame in handle]
        assert steps == list(range(len(steps)))
        return len(handle.result()[0].token_ids)

    async def broken(engine: Engine) -> None:
        async for _ in engine.submit(task(PLAIN, sampler="threshold", cache="exact")):
            raise AssertionError("it is refused before its first frame")

    async def go_away(engine: Engine) -> None:
        handle = engine.submit(task(PLAIN, length=40, sampler="first-hitting"))
        try:
            async for _ in handle:
                break
        finally:
            handle.cancel()

    async def client() -> list[int]:
        with Engine(PLAIN) as engine:
            found = await asyncio.gather(*(read(engine, task(PLAIN, length=n)) for n in (3, 5)))
            with pytest.raises(IncompatibleError):
                await broken(engine)
            await go_away(engine)
        return found

    assert asyncio.run(client()) == [3, 5]
