"""All settings of a training; the only home of their defaults, read from YAML, JSON and flags alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..adapters import LoraSettings
from ..corruptions import Corruption, corruption_of
from ..device import DEVICES
from ..errors import SettingsError
from ..mask_rates import MASK_RATES
from ..objectives import OBJECTIVES, CrossEntropy, Objective
from ..schedules import SCHEDULES
from ..settings import from_mapping, read_mapping
from .decays import DECAYS, Decay
from .foreign import is_foreign, translated
from .recipe_checks import check
from .reporters import REPORTERS


@dataclass(frozen=True)
class TrainingRecipe:
    """How a model is trained. Every field is a key of a recipe file and a flag of `textdiffusion train`."""

    data: str = ""
    """Text to train on: a file, a folder of splits or of `data prepare`, or a data set of the Hub."""
    output: str = "runs/model"
    """Folder for the trained model; its checkpoints lie in `checkpoints` inside."""

    # Text
    validation_data: str = ""
    """Text to measure on; the validation split of `data`, or a share of its rows, when left out."""
    validation_share: float = 0.05
    """Share of the rows kept for measuring when there is no validation split; chosen by the seed."""
    text_field: str | None = None
    """Field of the text in JSON lines and tables; found when left out."""
    repeat_field: str | None = None
    """Field that names a document's group for `repeats`, e.g. source."""
    repeats: Mapping[str, float] = field(default_factory=dict)
    """How often the documents of a group are read per epoch, e.g. {books: 0.5, stories: 4}."""
    repeat_others: float = 1.0
    """How often those of groups are read that `repeats` does not name; 0 leaves them out."""
    clean: tuple[str, ...] = ()
    """Steps that clean each document, in order, e.g. wikitext, nfc, poem-lines or slash-lines."""
    arrange: str = "blocks"
    """How documents become rows: packed blocks, windows of one document each, or truncated documents."""
    length: int = 256
    """Tokens per row."""
    streaming: bool = False
    """Read the data while training instead of before; needs `steps`."""
    chat: bool = False
    """Learn the answers of conversations (rows with `messages`), each given what was said before it."""
    chat_template: str = ""
    """File with the Jinja template of conversations; the tokenizer's, or plain lines, when left out."""
    shuffle_buffer: int = 1000
    """Rows among which a streamed data set is shuffled."""

    # Model
    model: str = ""
    """Folder or Hub id of the model to start from; a new network when left out."""
    tokenizer: str = ""
    """Folder or Hub id of the tokenizer for a new network; trained on the data when left out."""
    vocab_size: int = 4096
    """Tokens of a tokenizer that is trained."""
    architecture: str = ""
    """Kind of a new network: a model type of transformers, e.g. gpt2, llama or bert; our own if left out."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Shape of a new network, e.g. {hidden_size: 256, num_hidden_layers: 6}."""
    dropout: float | None = None
    """Dropout; as it was, or usual for the architecture, when left out. 0 lets attention run fused."""
    mask_token_id: int | None = None
    """Id of an existing token that serves as the mask; the tokenizer's own, or an added one, if left out."""
    shift: bool | None = None
    """Whether the output at i - 1 says token i; as the network has learnt it when left out."""
    time_conditioning: bool | None = None
    """Whether it is told how noisy a text is; a new one if noise cannot be seen, a loaded one as it was."""
    attention_annealing: int = 0
    """Steps in which a network that saw the left alone comes to see both sides; 0 is at once."""
    attention_ramp: str = "linear"
    """How the share of what it sees to the right grows meanwhile: linear, cosine, quadratic or sqrt."""
    attention_per_row: bool = False
    """Draw what is seen to the right for each text; else it is the same for the whole batch."""
    lora: Mapping[str, Any] | None = None
    """Train low-rank adapters of the model alone, e.g. {rank: 16}, or {} for the usual; off when left out."""

    # Noise and loss
    noise: str = "absorbing"
    """Noise: absorbing (masks), spindle (rare first), uniform, mask-uniform, or a mixture such as bert."""
    noise_settings: Mapping[str, float] = field(default_factory=dict)
    """Its own settings, e.g. {mask_share: 0.9} of mask-uniform or {strength: 0.3} of spindle."""
    noise_schedule: str = "linear"
    """alpha(t)."""
    noise_schedule_settings: Mapping[str, float] = field(default_factory=dict)
    """The schedule's own settings."""
    objective: str = "nelbo"
    """Loss: nelbo, nelbo-count, block-nelbo, block-nelbo-clipped, cross-entropy, cart, duo, ..."""
    objective_settings: Mapping[str, Any] = field(default_factory=dict)
    """Its own settings, e.g. {time_floor: 0.001}, {block_size: 16} or {one_rate_per_batch: true}."""
    mask_rates: str = "uniform"
    """Distribution of the mask rate under cross-entropy: uniform, steps or weighted."""
    mask_rate_settings: Mapping[str, Any] = field(default_factory=dict)
    """The distribution's own settings, e.g. {low: 0.15, high: 0.99} or {count: 10}."""
    causal_share: float = 0.0
    """Share of the steps at the start in which a new network learns next tokens instead; that is faster."""
    prefix_length: int = 0
    """Leading tokens of each row that are never noised, as a prompt is not."""
    random_prefix: bool = False
    """Draw each row's prefix from 0 to `prefix_length`, so that prompts of any length are familiar."""
    prompt_dropout: float = 0.0
    """Share of the rows whose prefix is hidden by noise, so that a guidance scale has both to weigh."""
    learn_end: bool = True
    """Noise and score the tokens that end and begin a text too, so that the model learns to end."""
    after_end: str = ""
    """What fills a row behind the end of its text and is learnt: pad, end (the end again), or nothing."""
    pad_share: float = 1.0
    """Share of these fillers among the tokens that may be noised; 1 is up to the end of the row."""
    pad_annealing: int = 0
    """Optimiser steps in which that share grows from 0; 0 is at once."""
    random_room: float = 0.0
    """Share of the rows that show a random part of these fillers, so that rooms of any size are familiar."""
    end_share: float = 0.0
    """Share of the steps that learn where texts end, at one look, instead; see the objective end-position."""

    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a generation that suit the model, e.g. {top_p: 0.9}; they are saved with it."""

    # Optimisation
    epochs: float = 1.0
    """Passes over the data."""
    steps: int = -1
    """Optimiser steps; overrides `epochs` when above 0."""
    batch_size: int = 16
    """Rows per step and device."""
    accumulation: int = 1
    """Batches whose gradients are added before a step."""
    optimizer: str = "adamw"
    """adamw, or muon (matrices by Muon with float32 iterations, the rest by AdamW)."""
    learning_rate: float = 3e-4
    """Peak of AdamW."""
    muon_learning_rate: float = 0.02
    """Peak of Muon."""
    weight_decay: float = 0.01
    """Of matrices; embeddings, norms and biases have none."""
    betas: tuple[float, ...] = (0.9, 0.98)
    """Of AdamW."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises."""
    decay: str = "cosine"
    """How the learning rate falls: cosine, one-cycle, linear, polynomial, constant-with-warmup, ..."""
    decay_settings: Mapping[str, float] = field(default_factory=dict)
    """Its own settings, e.g. {div_factor: 25, final_div_factor: 1e4}: peak to first rate, first to last."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""
    ema: float = 0.0
    """Decay of a moving average of the weights, which is then what is measured and saved; 0 is off."""
    precision: str = "float32"
    """float32, bf16, float16 (CUDA alone), or auto: bf16 where the device has it; weights stay in float32."""
    compile: bool = False
    """Compile the layers with torch.compile."""
    gradient_checkpointing: bool = False
    """Compute activations again for the backward pass instead of keeping them: less memory, slower."""
    fsdp: bool = False
    """Share weights, gradients and moments out among the processes (FSDP2); torchrun starts them."""
    device: str = DEVICES[0]
    """auto, cpu, cuda or mps."""
    seed: int = 0
    """Of weights, order, noise and samples."""

    # Watching
    log_every: int = 20
    """Steps between two reports."""
    eval_every: int = 0
    """Steps between two measurements of the held-out text; 0 measures at the end only."""
    eval_rows: int = 128
    """Rows of the held-out text that are measured; 0 measures nothing."""
    save_every: int = 200
    """Steps between two checkpoints."""
    keep: int = 2
    """Checkpoints that are kept, the newest."""
    keep_best: int = 0
    """Checkpoints of the lowest held-out losses that are kept besides; if any, the best becomes the model."""
    patience: int = 0
    """Measurements in a row without a lower held-out loss after which the training ends; 0 is never."""
    min_delta: float = 0.0
    """Nats per token by which a held-out loss must be lower to count."""
    shard_size: str = "50GB"
    """Largest file of the finished weights, e.g. 5GB; a larger model is cut into several."""
    sample_every: int = 0
    """Steps between two sample texts; 0 prints one at the end only."""
    sample_prompt: str = ""
    """Prompt of the sample texts."""
    report_to: str = REPORTERS[0]
    """none, tensorboard, wandb, swanlab, trackio or all."""
    run_name: str = ""
    """Name of the run for these loggers; that of the output folder when left out."""
    project_name: str = ""
    """Their project; as the logger or its environment has it when left out."""

    def __post_init__(self) -> None:
        """Refuse what cannot work before any data are read.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        check(self)

    def process(self, mask_id: int, vocab_size: int) -> Corruption:
        """What makes the noise."""
        alpha, given = SCHEDULES[self.noise_schedule], self.noise_schedule_settings
        schedule = from_mapping(alpha, given, where="noise_schedule_settings.")
        return corruption_of(self.noise, self.noise_settings, mask_id, vocab_size, schedule)

    def causal_steps(self, steps: int) -> int:
        """How many of so many steps, those at the start, are for next tokens."""
        return round(self.causal_share * steps)

    def falling(self) -> Decay:
        """How the learning rate moves, with its settings."""
        return from_mapping(DECAYS[self.decay], self.decay_settings, where="decay_settings.")

    def adapters(self) -> LoraSettings | None:
        """What `lora` says, or None where it says nothing."""
        return None if self.lora is None else from_mapping(LoraSettings, self.lora, where="lora.")

    def loss(self) -> Objective:
        """The objective with its settings."""
        kind = OBJECTIVES[self.objective]
        settings = dict(self.objective_settings)
        kind_of_rates, given = MASK_RATES[self.mask_rates], self.mask_rate_settings
        rates = from_mapping(kind_of_rates, given, where="mask_rate_settings.")
        if kind is CrossEntropy:
            settings["rates"] = rates
        elif given or kind_of_rates is not MASK_RATES[TrainingRecipe.mask_rates]:
            raise SettingsError(
                f"mask_rates {self.mask_rates} with settings {dict(given)} would have no effect, as the "
                f"objective {self.objective} draws its own rates; choose cross-entropy or leave them out."
            )
        return from_mapping(kind, settings, where="objective_settings.")


def read_recipe(path: Path | None, changes: Mapping[str, Any]) -> TrainingRecipe:
    """The recipe in a YAML or JSON file with some fields changed; the defaults with those changes if no file.

    A settings file of another system is translated first.

    Raises:
        SettingsError: no such file, an unknown key, or a value that is refused.
    """
    data = {} if path is None else read_mapping(path)
    if is_foreign(data):
        data = translated(data)
    return from_mapping(TrainingRecipe, {**{str(k).replace("-", "_"): v for k, v in data.items()}, **changes})
