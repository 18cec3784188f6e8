"""The app on replicas of Ray Serve, where Ray is installed."""

from pathlib import Path

import httpx
import pytest
from serving.toy import language_model

from textdiffusion.checkpoint import Checkpoint, save_checkpoint
from textdiffusion.errors import IncompatibleError
from textdiffusion.server.ray_serve import deployment
from textdiffusion.server.running import listening


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(IncompatibleError, match=r"textdiffusion\[server,ray\]"):
        deployment()


@pytest.mark.filterwarnings("default")
def test_two_replicas_give_the_same_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = pytest.importorskip("ray.serve")
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    lm = language_model()
    save_checkpoint(tmp_path / "tiny", Checkpoint(lm.model, lm.format.tokenizer, lm.settings))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with listening("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        serve.start(http_options={"port": port})
        serve.run(deployment(str(tmp_path / "tiny"), replicas=2, ray_actor_options={"num_cpus": 0.5}))
        url = f"http://127.0.0.1:{port}/v1/completions"
        expected = lm.generate("the cat", length=6, seed=3).text
        with httpx.Client(timeout=60) as client:
            for _ in range(8):
                found = client.post(url, json={"prompt": "the cat", "max_tokens": 6, "seed": 3})
                assert found.json()["choices"][0]["text"] == expected
            assert client.post(url, json={"prompt": 3}).status_code == 400
            with client.stream(
                "POST", url, json={"prompt": "the", "max_tokens": 6, "stream": True}
            ) as stream:
                assert list(stream.iter_lines())[-2] == "data: [DONE]"
    finally:
        serve.shutdown()
        ray.shutdown()
