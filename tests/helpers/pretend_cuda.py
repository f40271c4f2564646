"""CPU tensors that say they are on a GPU, so that a tensor on the wrong device fails a test where there is none.

    with PretendCuda():
        images = torch.rand(4, 3, 32, 32, device="cuda")
        images + torch.ones(3, 1, 1)   # RuntimeError, as on a GPU

torch's own fake tensors do the same without values: what reads one (a maximum that decides, NumPy) cannot run with
them. These hold their values in a CPU tensor, and refuse what CUDA refuses: several devices in one operation (but for
numbers, and for indices on the CPU), a generator of another device, and NumPy without a copy to the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
_COPIES = {"_to_copy", "copy_", "_copy_from", "copy"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class OnCuda(torch.Tensor):
    """A tensor that claims to be on the GPU; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnCuda:
        about = {"dtype": held.dtype, "device": CUDA, "requires_grad": held.requires_grad}
        made: OnCuda = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), **about
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnCuda({self.held!r})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


def _run(func: Any, args: Sequence[Any], given: dict[str, Any]) -> Any:
    """One operation, on the tensors that are held."""
    name = func._schema.name.partition("::")[2]
    tensors = [each for each in tree_flatten((args, given))[0] if isinstance(each, torch.Tensor)]
    _check(name, tensors, args)
    wanted = given.get("device")
    on_cuda = wanted.type == "cuda" if wanted is not None else _result_is_on_cuda(name, args, tensors)
    if wanted is not None:
        given["device"] = CPU
    held = {id(each.held): each for each in tensors if isinstance(each, OnCuda)}
    result = func(*tree_map(_held, tuple(args)), **tree_map(_held, given))
    if not on_cuda:
        return result
    return tree_map(lambda each: held.get(id(each), each) if id(each) in held else on_gpu(each), result)


class _Factories(TorchDispatchMode):
    """What is made inside an operation on the GPU, such as the 1 of `x.where(condition, 1)`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


class Generator(torch.Generator):
    """torch's generator; one for the GPU has the CPU's numbers and says that it is the GPU's."""

    def __new__(cls, device: str | torch.device = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.of = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.of


def _is_of(generator: Any, kind: str) -> bool:
    return generator is None or generator.device.type == kind


class PretendCuda(TorchFunctionMode):
    """Inside the block `device="cuda"` and `.to("cuda")` make such tensors."""

    def __enter__(self) -> PretendCuda:
        torch._C._ensureCUDADeviceGuardSet()  # as fake tensors do: no driver is asked for the device's place
        self._overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._before = {(torch.cuda, "_lazy_init"): lambda: None, (torch, "Generator"): Generator}
        self._exchange()
        self._held = ExitStack()
        self._held.enter_context(torch.backends.cudnn.flags(enabled=False))
        self._held.enter_context(_Factories())
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._held.close()
        self._exchange()
        torch.__future__.set_overwrite_module_params_on_conversion(self._overwrites)

    def _exchange(self) -> None:
        for (module, name), other in self._before.items():
            self._before[module, name] = getattr(module, name)
            setattr(module, name, other)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "tolist":
            return func(values(args[0]))
        if name == "numpy" and given.get("force"):  # by way of the CPU; without it CUDA refuses
            return func(values(args[0]))
        if name == "pin_memory":
            return args[0]
        if name in ("to", "cuda") and isinstance(args[0], torch.Tensor):
            return _moved(func, name, args, given)
        wanted = given.get("device")
        if wanted is None or torch.device(wanted).type != "cuda":
            kind = "cuda" if any(isinstance(each, OnCuda) for each in args) else "cpu"
        else:
            kind = "cuda"
        if not _is_of(given.get("generator"), kind):
            raise RuntimeError(f"Expected a {kind!r} device type for generator, got another")
        if wanted is None or torch.device(wanted).type != "cuda":
            return func(*args, **given)
        given["device"] = "cpu"
        return tree_map(on_gpu, func(*tree_map(_held, tuple(args)), **given))


def on_gpu(value: Any) -> Any:
    """A CPU tensor as one that claims to be on the GPU; anything else as it is."""
    is_plain = isinstance(value, torch.Tensor) and not isinstance(value, OnCuda)
    return OnCuda(value) if is_plain else value


def values(value: torch.Tensor) -> torch.Tensor:
    """The CPU tensor."""
    return value.held if isinstance(value, OnCuda) else value


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnCuda) else value


def _moved(func: Callable[..., Any], name: str, args: Sequence[Any], given: dict[str, Any]) -> Any:
    """`tensor.to(...)` and `tensor.cuda()`."""
    places = [each for each in (*args[1:], *given.values()) if isinstance(each, str | torch.device)]
    others = [each for each in args[1:] if isinstance(each, torch.Tensor)]
    device = torch.device(places[0]) if places else others[0].device if others else None
    device = CUDA if name == "cuda" else device or args[0].device
    if device.type == "cuda" and not isinstance(args[0], OnCuda):
        rest = tuple(CPU if each in places else values(each) for each in args[1:])
        kept = {key: CPU if key == "device" else value for key, value in given.items()}
        return OnCuda(args[0].to(*rest, **kept) if name == "to" else args[0])
    return func(*args, **given)


def _result_is_on_cuda(name: str, args: Sequence[Any], tensors: Sequence[torch.Tensor]) -> bool:
    of = [args[0]] if name in _COPIES | _INDEXED else tensors
    return any(isinstance(each, OnCuda) for each in of)


def _check(name: str, tensors: Sequence[torch.Tensor], args: Sequence[Any]) -> None:
    if name in _COPIES:
        return
    if name in _INDEXED and isinstance(args[0], OnCuda):  # CUDA takes indices on the CPU
        tensors = [args[0], *(each for each in args[2:3] if isinstance(each, torch.Tensor))]
    devices = {each.device.type for each in tensors if each.ndim}
    if len(devices) > 1:
        shapes = ", ".join(f"{tuple(each.shape)} on {each.device.type}" for each in tensors)
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {shapes}")
