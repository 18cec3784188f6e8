"""Weights of which each process holds a part: FSDP2 as Accelerate sets it up (arXiv:2304.11277)."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel, TrainingArguments

from ..errors import IncompatibleError, SettingsError, TrainingError

_OPTIMIZER = {False: ("optimizer.pt",), True: ("optimizer.bin", "optimizer_0")}
"""Where transformers keeps the state of the optimiser in a checkpoint, without and with shards."""


def arguments(shards: bool) -> dict[str, Any]:
    """What transformers' TrainingArguments are told; a network names the layers to shard by."""
    return {"fsdp": True, "fsdp_config": {"version": 2}} if shards else {}


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part; every process has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def held(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; a change of it is one of the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shared_out_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has, cut into parts as `like` is."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def is_sharded(model: nn.Module) -> bool:
    """Whether a call of the network needs every process, as each holds a part of the weights."""
    return isinstance(model, FSDPModule)


def take_apart(model: nn.Module) -> None:
    """Drop what a forward pass has put together and left so; a change of the parts would not reach it."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def read_weights_everywhere() -> None:
    """Let every process read the weights it starts from, though Accelerate may spare all but the first that.

    They are looked at and added to before they are shared out.
    """
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"


def is_first_process() -> bool:
    """Whether this process speaks for all; the others are silent."""
    return os.environ.get("RANK", "0") == "0"


def asks_for_shards() -> bool:
    """Whether Accelerate was told to share the weights out, by `accelerate launch` or by the Trainer."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_launch(shards: bool) -> None:
    """Refuse what the way in which the processes were started does not allow.

    Raises:
        SettingsError: shards for one process alone, or Accelerate's first kind of them.
    """
    if shards and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise SettingsError(
            "fsdp shares the weights out among processes, but there is only this one: start several, as by "
            "`torchrun --nproc-per-node=8 -m textdiffusion train ...`, or leave it out (--no-fsdp)."
        )
    if asks_for_shards() and not shards and os.environ.get("FSDP_VERSION") != "2":
        raise SettingsError(
            "Accelerate was told to use the first version of FSDP, of which this program knows nothing; set "
            "fsdp_version: 2 in its configuration."
        )


def settle(accelerator: Accelerator, told: TrainingArguments) -> bool:
    """Put right what Accelerate chose for shards; whether it was asked to recompute activations.

    On CPUs it leaves shards out in silence, where they work as well. Gradients are summed in float32 where
    the network computes in bfloat16, as DistributedDataParallel does. Activations are recomputed by layers
    themselves, not by wrappers that would change their names.
    """
    state = accelerator.state
    if asks_for_shards() and state.distributed_type == DistributedType.MULTI_CPU:
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**(told.fsdp_plugin_args or {}))
        if accelerator.mixed_precision != "no":
            state.fsdp_plugin.set_mixed_precision(accelerator.mixed_precision)
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    plugin = state.fsdp_plugin if accelerator.is_fsdp2 else None
    if plugin is None:
        return False
    policy = plugin.mixed_precision_policy
    if policy is not None:
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=policy.param_dtype, reduce_dtype=torch.float32, output_dtype=policy.output_dtype
        )
    asked: bool = plugin.activation_checkpointing
    plugin.activation_checkpointing = False
    return asked


def choose_layers(accelerator: Accelerator, network: PreTrainedModel) -> None:
    """Tell Accelerate by which layers to cut a network, unless it was told: by those that hold no embeddings.

    Embeddings are shards of their own, together with a head that they are tied to.

    Raises:
        IncompatibleError: other weights are in two places, which shards cannot be.
    """
    plugin = accelerator.state.fsdp_plugin if accelerator.is_fsdp2 else None
    if plugin is None:
        return
    table = network.get_input_embeddings()
    tied = {id(table.weight)} if isinstance(table, nn.Embedding) else set()
    places = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    if any(count > 1 and key not in tied for key, count in places.items()):
        raise IncompatibleError(
            f"{type(network).__name__} uses weights in two places and cannot be shared out among processes: "
            "leave fsdp out."
        )
    if plugin.transformer_cls_names_to_wrap is None:
        names = set(network._no_split_modules or ())
        holders = {type(part).__name__ for part in network.modules() if table in part.children()}
        plugin.transformer_cls_names_to_wrap = sorted(names - holders)


def check_checkpoint(checkpoint: Path, shards: bool) -> None:
    """Raise TrainingError where a checkpoint holds the state of the optimiser in another form."""
    if any((checkpoint / name).exists() for name in _OPTIMIZER[shards]):
        return
    if any((checkpoint / name).exists() for name in _OPTIMIZER[not shards]):
        said = "without shards" if shards else "with shards (fsdp)"
        raise TrainingError(f"{checkpoint} was written {said}; go on as you began.")


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether any process says so; every process has to ask."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return flag
    found = torch.tensor(float(flag), device=device)
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return bool(found)
