"""How many tokens a step a model can stand: its own decoding at 1, 2, 4 and 8, before frontier.py's judge.

The judge may have another tokenizer, so texts are handed over as texts. Half of its text is not the model's
own training text only if the model was not trained on it; what is compared is one model with itself.

python benchmarks/default.py --data STORIES --model starter --judge runs/bounds/judge
"""

import statistics
from pathlib import Path

import torch
import tyro
from bounds import nats, test_windows
from timing import machine

import textdiffusion as td
from textdiffusion.evaluation.variety import token_entropy

LENGTH, GIVEN = 100, 12


def main(
    data: str,
    judge: str,
    model: str = "starter",
    samplers: tuple[str, ...] = ("ancestral", "random"),
    texts: int = 48,
    seed: int = 0,
    save: Path | None = None,
) -> None:
    """Continue beginnings of windows of the test split."""
    lm, reader = (td.load(name, device="cpu", dtype="float32") for name in (model, judge))
    windows = test_windows(reader, data, texts)[:, :GIVEN].tolist()
    prompts = [reader.format.decode(row) for row in windows]
    lines = ["| | calls | nats per token | against one a step | entropy |", "|---|---|---|---|---|"]
    for sampler in samplers:
        first: float | None = None
        for rate in (1, 2, 4, 8):
            found = lm.generate(prompts, length=LENGTH, seed=seed, sampler=sampler, tokens_per_step=rate)
            judged = [_nats(reader, text.prompt, text.text) for text in found]
            mean = statistics.mean(judged)
            error = statistics.stdev(judged) / len(judged) ** 0.5
            first = first or mean
            spread = statistics.mean(token_entropy(text.token_ids) for text in found)
            lines.append(
                f"| {sampler}, {rate} a step | {found[0].nfe} | {mean:.3f} ± {error:.3f} "
                f"| {100 * (mean / first - 1):+.1f} % | {spread:.2f} |"
            )
            print(lines[-1], flush=True)
    command = f"python benchmarks/default.py --data STORIES --model {Path(model).name} --texts {texts}"
    text = "\n\n".join(
        [f"# {Path(model).name}: tokens a step", f"{machine()}. Command: `{command}`", "\n".join(lines)]
    )
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


@torch.inference_mode()
def _nats(judge: td.DiffusionLM, prompt: str, text: str) -> float:
    """Nats per token of the judge's own for a text, given its prompt."""
    given, whole = (judge.format.prompt(each) for each in (prompt, prompt + text))
    tokens = torch.tensor([whole[: judge.longest]])
    scored = torch.arange(tokens.shape[1])[None] >= len(given)
    return float(nats(judge, tokens, scored)) / max(1, int(scored.sum()))


if __name__ == "__main__":
    tyro.cli(main)
