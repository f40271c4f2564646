"""A network of one's own: built by its function, tried on images, and loaded from a checkpoint.

`function(classes, size)` returns a `torch.nn.Module` that gives (N, classes) logits for (N, 3, H, W) floats in [-2, 2]
(`harness.train.prepare`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.errors import HarnessError
from harness.registry import Entry, bind
from harness.registry.guard import failure, guarded
from harness.registry.own_networks import OwnNetwork
from harness.train import networks

_TRIED = 2  # images, so that batch norm has what to normalise
_NAMED = 3  # tensors that a message names


def build(network: OwnNetwork, classes: int, size: tuple[int, int]) -> nn.Module:
    """The network for images of this (height, width), on the CPU, with its checkpoint's weights where it has one.

    What the import of its module draws from torch's, NumPy's and Python's generators does not move its weights; all
    three are seeded alike for its function, from torch's. HarnessError in one sentence where it is no such network.
    """
    if network.entry is None:
        built = networks.build(network.model, classes, size)
    else:
        built = _called(network.made_importable(), classes, size)
        _try(built, network.entry, classes, size)
    if network.checkpoint is not None:
        _load(built, network)
    return built


def _called(entry: Entry, classes: int, size: tuple[int, int]) -> nn.Module:
    """What the function returns, if it is a module with float32 parameters."""
    who = f"model {entry.name!r}"
    with _generators_kept():
        function = bind(entry)
    start = int(torch.randint(2**31, ()))
    with _generators_kept():
        random.seed(start)
        np.random.seed(start)
        torch.default_generator.manual_seed(start)
        try:
            built = function(classes, size)
        except HarnessError:
            raise
        except Exception as error:  # of the user's code
            raise HarnessError(f"{who} fails when it is called with ({classes}, {size}): {failure(error, of=entry)}") \
                from error  # fmt: skip
    if not isinstance(built, nn.Module):
        raise HarnessError(f"{who} returns {type(built).__name__}; expected a torch.nn.Module")
    return built


def _try(built: nn.Module, entry: Entry, classes: int, size: tuple[int, int]) -> None:
    """HarnessError unless it gives logits of two grey images and has parameters to train. Its modes stay."""
    who, shape = f"model {entry.name!r}", (_TRIED, 3, *size)
    modes = {module: module.training for module in built.modules()}
    try:
        with _generators_kept(), torch.no_grad(), guarded(entry):
            logits = built.eval()(torch.full(shape, 0.5))
    except Exception as error:  # of the user's code
        raise HarnessError(f"{who} fails on float images of shape {shape}: {failure(error, of=entry)}") from error
    for module, training in modes.items():
        module.training = training
    if not isinstance(logits, torch.Tensor):
        raise HarnessError(f"{who} gives {type(logits).__name__}; expected logits, a tensor of shape (N, {classes})")
    if tuple(logits.shape) != (_TRIED, classes) or logits.dtype != torch.float32:
        raise HarnessError(
            f"{who} gives {_kind(logits)} for {_TRIED} images; expected float32 logits of shape ({_TRIED}, {classes})"
        )
    if not torch.isfinite(logits).all():
        raise HarnessError(f"{who} gives NaN or infinity for grey images; correct its initial weights")
    trained = {name: each for name, each in built.named_parameters() if each.requires_grad}
    if not trained:
        raise HarnessError(f"{who} has no parameters to train; return a network that has some")
    for name, each in trained.items():
        if each.dtype != torch.float32 or each.device.type != "cpu":
            raise HarnessError(
                f"{who}: {name} is {_kind(each)} on {each.device}; expected float32 on the CPU, the harness moves it"
            )


def _load(built: nn.Module, network: OwnNetwork) -> None:
    """Load the checkpoint into the network, in place.

    HarnessError for a file that is no state dict, has changed since the run began, or is of another network: names,
    shapes, types. A classifier's head of another number of classes is refused, never left out.
    """
    file = network.checkpoint
    state, expected = _read(network), built.state_dict()
    missing, extra = [name for name in expected if name not in state], [name for name in state if name not in expected]
    if missing or extra:
        raise HarnessError(
            f"checkpoint {file} is of another network: expected {len(expected)} tensors, got {len(state)} "
            f"(missing: {_some(missing)}; not expected: {_some(extra)}); save model.state_dict() of {network.model}"
        )
    for name, value in expected.items():
        if (state[name].shape, state[name].dtype) != (value.shape, value.dtype):
            raise HarnessError(
                f"checkpoint {file}: {name} is {_kind(state[name])}, expected {_kind(value)}; save model.state_dict() "
                f"of {network.model} with as many classes as the data set, in float32"
            )
        if not torch.isfinite(state[name]).all():
            raise HarnessError(f"checkpoint {file}: {name} holds NaN or infinity; give another checkpoint")
    built.load_state_dict(state)


def _read(network: OwnNetwork) -> Mapping[str, torch.Tensor]:
    """The state dict of the checkpoint, read once and without running code of the file."""
    file = network.checkpoint
    assert file is not None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise HarnessError(
            f"checkpoint {file} cannot be read ({error.strerror or error}); name its file again"
        ) from None
    if hashlib.sha256(content).hexdigest() != network.digest:
        raise HarnessError(f"checkpoint {file} has changed since the run began; run again")
    try:
        if file.suffix == ".safetensors":
            import safetensors.torch

            state: Any = safetensors.torch.load(content)
        else:
            with warnings.catch_warnings():  # of sparse tensors, which are refused below
                warnings.simplefilter("ignore")
                state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file: these readers raise various exceptions
        raise HarnessError(
            f"checkpoint {file} cannot be read as weights ({type(error).__name__}); save model.state_dict() with "
            "torch.save, or with safetensors as .safetensors"
        ) from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided
        for name, value in state.items()
    ):
        held = f"a table with {_some(list(state))}" if isinstance(state, Mapping) else type(state).__name__
        raise HarnessError(f"checkpoint {file} holds {held}, no table of tensors; save model.state_dict() alone")
    return state


def _kind(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"


def _some(names: list[Any]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(str(name)[:100] for name in names[:_NAMED]) or "none") + more


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Python's, NumPy's and torch's generators are afterwards as before."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
