"""The arithmetic of docs/scaling.md: memory, time and traffic of a large training, from its shape alone.

python benchmarks/plan.py

prints the tables of that page. Nothing is measured here; what is assumed stands in the dataclasses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

GIGA = 1e9


@dataclass(frozen=True)
class Shape:
    """Our own network of about a billion parameters, its head tied to its embeddings."""

    vocab: int = 131_072
    width: int = 2048
    layers: int = 16
    heads: int = 16
    inner: int = 5632
    """Width of the feed-forward part."""

    @property
    def matrices(self) -> int:
        """Weights that a token is multiplied with on its way up, the head left out."""
        return self.layers * (4 * self.width**2 + 3 * self.width * self.inner)

    @property
    def table(self) -> int:
        """Weights of the embeddings, which are the head too."""
        return self.vocab * self.width

    @property
    def parameters(self) -> int:
        """All of them, norms included."""
        norms = self.layers * (2 * self.width + 2 * self.width // self.heads) + self.width
        return self.matrices + self.table + norms


@dataclass(frozen=True)
class Batch:
    """What a device reads in one step."""

    rows: int = 8
    length: int = 2048
    asked: float = 0.5
    """Share of the tokens that are masked in the mean, and so asked about; rates are even from 0 to 1."""
    copies: int = 1
    """How often a row is read: 2 in block diffusion, as [x_t ; x_0]."""

    @property
    def tokens(self) -> int:
        """Tokens of text."""
        return self.rows * self.length

    @property
    def questions(self) -> float:
        """Tokens asked about."""
        return self.asked * self.tokens


@dataclass(frozen=True)
class Machine:
    """Eight H100 (SXM) in a node, a network card of 400 Gb/s for each, as their makers' data sheets say."""

    nodes: int = 1
    per_node: int = 8
    flops: float = 989e12
    """Dense bfloat16 operations a second at most."""
    used: float = 0.4
    """Share of them that a training gets: an assumption."""
    memory: float = 80e9
    """Bytes of a device."""
    inside: float = 450e9
    """Bytes a second from a device to the others of its node (NVLink, one direction)."""
    between: float = 50e9
    """Bytes a second from a device to other nodes."""

    @property
    def devices(self) -> int:
        """All of them."""
        return self.nodes * self.per_node

    @property
    def link(self) -> float:
        """Bytes a second of the slowest link that a ring over all devices crosses."""
        return self.inside if self.nodes == 1 else self.between


# -- operations ------------------------------------------------------------------------------------------


def flops_per_token(shape: Shape, batch: Batch, *, recompute: bool = False) -> float:
    """Of a training step, per token of text: 2 a weight forwards, 4 backwards, 2 more to compute again.

    A query meets every key that is read with it, also where a mask hides it.
    """
    body = 2 * shape.matrices + 4 * shape.layers * shape.width * batch.length * batch.copies
    return (4 if recompute else 3) * batch.copies * body + 6 * shape.table * batch.asked


def tokens_per_second(shape: Shape, batch: Batch, machine: Machine, *, recompute: bool = False) -> float:
    """Of all devices together."""
    return machine.devices * machine.flops * machine.used / flops_per_token(shape, batch, recompute=recompute)


# -- memory ----------------------------------------------------------------------------------------------


def state_bytes(shape: Shape) -> dict[str, int]:
    """Bytes in float32 of the weights, their gradients and AdamW's two moments."""
    return {
        "weights": 4 * shape.parameters,
        "gradients": 4 * shape.parameters,
        "moments": 8 * shape.parameters,
    }


def layer_numbers(shape: Shape, *, fused: bool = True) -> int:
    """Numbers that a layer keeps of a token for the backward pass.

    Ten of the width: what goes into it, the same normed, queries and keys before their norm and after the
    rotation, values, what attention gives, the sum with what went in, and that sum normed. Four of the inner
    width: gate, its SiLU, the other branch, and their product. Two for the norms, and three a head. Torch's
    kernels for CPUs are not fused: each of the four norms keeps one more, and attention's output is copied.
    """
    widths = 10 if fused else 15
    return widths * shape.width + 4 * shape.inner + 2 + 3 * shape.heads


def activation_bytes(
    shape: Shape, batch: Batch, *, recompute: bool = False, size: int = 2, fused: bool = True
) -> float:
    """Bytes kept on a device between the passes, `size` bytes a number; the logits are counted apart.

    Computed again, a layer keeps what went into it, and one of them at a time keeps all.
    """
    tokens = batch.tokens * batch.copies
    whole = size * layer_numbers(shape, fused=fused) * tokens
    return size * shape.width * shape.layers * tokens + whole if recompute else shape.layers * whole


def logit_bytes(shape: Shape, batch: Batch, *, everywhere: bool = False) -> float:
    """Bytes of the logits in bfloat16 and of their table of weights in float32."""
    return 6 * shape.vocab * (batch.tokens if everywhere else batch.questions)


def gathered_bytes(shape: Shape) -> float:
    """Bytes that FSDP2 puts together on a device: two layers and the table in bfloat16, its gradient twice.

    The gradient is in bfloat16 as it is made and in float32 as it is summed.
    """
    layer = shape.matrices // shape.layers
    return 2 * 2 * layer + (2 + 2 + 4) * shape.table


def waiting_bytes(shape: Shape) -> float:
    """Bytes of gradients that wait whole, in float32, for the last micro-batch where there are several."""
    return 4 * shape.parameters


# -- traffic ---------------------------------------------------------------------------------------------


def ring(size: float, devices: int) -> float:
    """Bytes that each device sends when `size` bytes are gathered or summed up into parts by a ring."""
    return size * (devices - 1) / devices


def ddp_bytes(shape: Shape, machine: Machine) -> float:
    """Sent by each device in a step: gradients in float32, summed into parts, and these gathered."""
    return 2 * ring(4 * shape.parameters, machine.devices)


def fsdp_bytes(shape: Shape, machine: Machine) -> float:
    """Sent by each device in a step of one micro-batch: weights in bfloat16 twice, gradients in float32."""
    return ring((2 + 2 + 4) * shape.parameters, machine.devices)


# -- tables ----------------------------------------------------------------------------------------------

Row = list[str]


def inputs() -> list[Row]:
    """What everything below is computed from."""
    rows = [["", "value"]]
    for part in (Shape(), Batch(), Machine()):
        for entry in fields(part):
            value = getattr(part, entry.name)
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
            rows.append([f"{type(part).__name__}.{entry.name}", shown])
    return rows


def states() -> list[Row]:
    """Bytes that last from step to step."""
    shape, one, eight = Shape(), Machine(), Machine(nodes=8)
    rows = [
        ["state, float32", "bytes per parameter", "all GB", "DDP, GB a device", *_fsdp_heads((one, eight))]
    ]
    found = {**state_bytes(shape), "together": sum(state_bytes(shape).values())}
    for name, size in found.items():
        shares = [_gb(size / machine.devices) for machine in (one, eight)]
        rows.append([name, f"{size / shape.parameters:.0f}", _gb(size), _gb(size), *shares])
    return rows


def activations() -> list[Row]:
    """Bytes between the passes."""
    shape, batch = Shape(), Batch()
    rows = [["a device", "kB per token", f"GB for {batch.rows} x {batch.length:,}"]]

    def add(name: str, size: float) -> None:
        rows.append([name, f"{size / batch.tokens / 1e3:,.0f}", _gb(size)])

    add("layers", activation_bytes(shape, batch))
    add("layers, computed again", activation_bytes(shape, batch, recompute=True))
    blocks = Batch(copies=2)
    add("layers, block diffusion", activation_bytes(shape, blocks))
    add("layers, block diffusion, computed again", activation_bytes(shape, blocks, recompute=True))
    add("logits, asked tokens alone", logit_bytes(shape, batch))
    add("logits, all tokens", logit_bytes(shape, batch, everywhere=True))
    return rows


def devices() -> list[Row]:
    """What a device holds at its most, by FSDP2."""
    shape = Shape()
    kinds: tuple[tuple[str, Batch, bool], ...] = (
        ("whole texts", Batch(), False),
        ("whole texts, computed again", Batch(), True),
        ("block diffusion, computed again", Batch(copies=2), True),
    )
    rows = [["GB a device", "states / 8", "gathered", "waiting", "layers", "logits", "together", "of 80"]]
    for name, batch, recompute in kinds:
        parts = [
            sum(state_bytes(shape).values()) / Machine().devices,
            gathered_bytes(shape),
            waiting_bytes(shape),
            activation_bytes(shape, batch, recompute=recompute),
            logit_bytes(shape, batch),
        ]
        share = sum(parts) / Machine().memory
        rows.append([name, *map(_gb, parts), _gb(sum(parts)), f"{100 * share:.0f} %"])
    return rows


def speed() -> list[Row]:
    """Time from operations."""
    shape = Shape()
    rows = [["", "GFLOP per token", "tokens/s, 1 x 8", "tokens/s, 8 x 8", "days for 20 N, 1 x 8", "8 x 8"]]
    kinds: tuple[tuple[str, Batch, bool], ...] = (
        ("whole texts", Batch(), False),
        ("whole texts, computed again", Batch(), True),
        ("block diffusion", Batch(copies=2), False),
        ("next token", Batch(asked=1.0), False),
    )
    for name, batch, recompute in kinds:
        rates = [
            tokens_per_second(shape, batch, Machine(nodes=nodes), recompute=recompute) for nodes in (1, 8)
        ]
        days = [20 * shape.parameters / rate / 86_400 for rate in rates]
        cost = flops_per_token(shape, batch, recompute=recompute)
        rows.append([name, f"{cost / GIGA:.2f}", *(f"{rate:,.0f}" for rate in rates), *map(_short, days)])
    return rows


def traffic() -> list[Row]:
    """Bytes sent against the time that a micro-batch computes."""
    shape = Shape()
    rows = [["", "GB sent a device", "link GB/s", "s to send", "s to compute", "share"]]
    for nodes, batch in ((1, Batch()), (8, Batch()), (8, Batch(rows=16))):
        machine = Machine(nodes=nodes)
        compute = batch.tokens * machine.devices / tokens_per_second(shape, batch, machine)
        for name, size in (("DDP", ddp_bytes(shape, machine)), ("FSDP2", fsdp_bytes(shape, machine))):
            sending = size / machine.link
            place = f"{name}, {nodes} x {machine.per_node}, {batch.rows} rows"
            share = f"{100 * sending / compute:.0f} %"
            rows.append([place, _gb(size), _gb(machine.link), _short(sending), _short(compute), share])
    return rows


def files() -> list[Row]:
    """Bytes on disk and from it."""
    shape, batch, n = Shape(), Batch(), Shape().parameters
    rows = [["", "per parameter or token", "1 x 8", "8 x 8"]]
    rows.append(["finished model, GB", "4 bytes (float32)", _gb(4 * n), _gb(4 * n)])
    rows.append(["a checkpoint, GB", "4 + 4 + 8 bytes", _gb(16 * n), _gb(16 * n)])
    rows.append(["the same with `ema`, GB", "4 more", _gb(20 * n), _gb(20 * n)])
    rates = [tokens_per_second(shape, batch, Machine(nodes=nodes)) for nodes in (1, 8)]
    rows.append(["text or ids read, MB/s", "about 4 bytes", *(f"{4 * rate / 1e6:.1f}" for rate in rates)])
    return rows


TABLES: dict[str, Callable[[], list[Row]]] = {
    "inputs": inputs,
    "states": states,
    "activations": activations,
    "devices": devices,
    "speed": speed,
    "traffic": traffic,
    "files": files,
}


def markdown(rows: list[Row]) -> str:
    """A table for the page."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


def _fsdp_heads(machines: tuple[Machine, ...]) -> Iterator[str]:
    return (f"FSDP2 on {machine.nodes} x {machine.per_node}" for machine in machines)


def _gb(size: float) -> str:
    return f"{size / GIGA:.1f}"


def _short(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"


if __name__ == "__main__":
    print(f"{Shape().parameters:,} parameters")
    for title, rows in TABLES.items():
        print(f"\n{title}\n\n{markdown(rows())}")
