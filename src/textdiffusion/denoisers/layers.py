"""What each layer of a network would answer, if the layers above it did nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import IncompatibleError


def by_layer(network: PreTrainedModel, ask: Callable[[], Tensor]) -> list[Tensor]:
    """What `ask` returns with the stream of each layer in place of the last one's (nostalgebraist 2020).

    The first is that of the embeddings, the last the answer itself. `ask` calls the network on the same
    input each time, about all of its places; the last norm and the head are the network's own, so that
    whatever a family has there is applied.

    Raises:
        IncompatibleError: the layers of the network cannot be told.
    """
    layers, streams = _layers(network), list[Tensor]()
    with ExitStack() as hooks:
        hooks.enter_context(_before(layers[0], streams.append))
        for layer in layers:
            hooks.enter_context(_behind(layer, lambda output: streams.append(_stream(output))))
        answer = ask()
    if len(streams) != len(layers) + 1:
        raise _untold(network)
    found = []
    for stream in streams[:-1]:
        with _behind(layers[-1], partial(_with_stream, stream=stream)):
            found.append(ask())
    return [*found, answer]


def _layers(network: PreTrainedModel) -> nn.ModuleList:
    count = getattr(network.config.get_text_config(), "num_hidden_layers", None)
    for module in network.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and count:
            return module
    raise _untold(network)


@contextmanager
def _behind(layer: nn.Module, see: Callable[[Any], Any]) -> Iterator[None]:
    """Show the output of a layer to a function, whose result takes its place if it is not None."""
    handle = layer.register_forward_hook(lambda module, args, output: see(output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _before(layer: nn.Module, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Show what comes into a layer."""

    def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        see(args[0] if args else named["hidden_states"])

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _stream(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


def _with_stream(output: Any, stream: Tensor) -> Any:
    return stream if isinstance(output, Tensor) else (stream, *output[1:])


def _untold(network: PreTrainedModel) -> IncompatibleError:
    return IncompatibleError(
        f"a {type(network).__name__} does not call its layers one by one from a list, so that none "
        "can be read by itself; choose another model."
    )
