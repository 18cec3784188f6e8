"""The two networks that timings are made with: random weights, RoBERTa's architecture."""

from transformers import RobertaConfig, RobertaForMaskedLM, set_seed

MASK_ID = 4
SIZES = {
    "base": dict(
        vocab_size=50265,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
    ),
    "small": dict(
        vocab_size=8192, hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=1024
    ),
}
"""`base` is RoBERTa-base (125 M parameters), `small` has 7 M."""


def network(size: str, *, dropout: float = 0.1, seed: int = 0) -> RobertaForMaskedLM:
    """A fresh network of that size."""
    set_seed(seed)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return RobertaForMaskedLM(RobertaConfig(**SIZES[size], **rates, max_position_embeddings=514))
