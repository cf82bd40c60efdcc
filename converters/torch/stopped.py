"""Where a module's own gradient is another than that of its file, which has no sign for a stopped gradient."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import OnnxAttrError

from ..common.stopped import warn_if_another
from .calls import as_numpy
from .running import tensors_in

#: Functions that give numbers to Python, which have no gradient.
_NUMBERS = ("item", "tolist", "__float__")
#: Functions that take from a tensor its shape and type, and so no gradient.
_NO_VALUES = ("_like", "new_")


def warn_of_stopped(
    torch: Any, run: Any, batch: dict[Any, Any], in_order: Any, converted: onnx.ModelProto
) -> None:
    """Warns if a module stops gradients, or has its own, and the gradient of its file is another.

    ``detach``, ``no_grad`` and functions with a backward pass of their own leave no trace in ONNX. Where such a
    function ran, or a tensor that has a gradient went into what has none, PyTorch's gradient is compared with that of
    the file.

    Args:
        torch: The package.
        run: Computes the outputs of the module, in evaluation mode, for a batch.
        batch: Its inputs by name.
        in_order: Puts such inputs in the order of the model's.
        converted: The model.
    """
    floats = {name for name, tensor in batch.items() if tensor.dtype.is_floating_point}
    if not floats:
        return
    leaves = {name: t.clone().requires_grad_() if name in floats else t for name, t in batch.items()}
    try:
        with torch.enable_grad(), _watch(torch) as watch:
            # Copies: a module may write into what it is given.
            outputs = tensors_in(torch, run({name: t.clone() for name, t in leaves.items()}))
        watch.places |= dict.fromkeys(_own_backwards(torch, outputs))
        if not watch.places or not any(t.requires_grad for t in outputs):
            return
        given = dict(zip((value.name for value in converted.graph.input), in_order(leaves), strict=True))
        feeds, results = {name: as_numpy(t) for name, t in given.items()}, [as_numpy(t) for t in outputs]
        own = partial(_gradients, torch, given, outputs)
        warn_if_another(converted, feeds, results, own, list(watch.places), "PyTorch")
    except (OnnxAttrError, RuntimeError, TypeError, ValueError):
        return  # no gradient of one of them: whoever asks for it is told why


def _gradients(
    torch: Any, leaves: Mapping[str, Any], outputs: Sequence[Any], cts: Sequence[np.ndarray]
) -> dict[str, np.ndarray | None]:
    """PyTorch's cotangents of its inputs by name."""
    total = torch.zeros(())
    for output, ct in zip(outputs, cts, strict=True):
        if output.requires_grad:
            total = total + (output * torch.as_tensor(ct.astype(np.float64)).to(output.dtype)).sum()
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {name: None if g is None else as_numpy(g) for name, g in zip(wanted, found, strict=True)}


def _own_backwards(torch: Any, outputs: Sequence[Any]) -> list[str]:
    """The functions with a backward pass of their own that outputs come from."""
    found: dict[str, None] = {}
    waiting, seen = [t.grad_fn for t in outputs if t.grad_fn is not None], set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions if before is not None]
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                found[node.name().removesuffix("Backward")] = None
    return list(found)


def _watch(torch: Any) -> Any:
    """A mode that notes where a tensor without a gradient is made of one that has one, and hooks of gradients."""

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        places: dict[str, None]

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            name = getattr(function, "__name__", "")
            if name == "register_hook":  # of a tensor: it may give another cotangent than it takes
                self.places[f"{name} ({_line(torch)})"] = None
            if name == "__get__":  # a property, such as data
                name = getattr(getattr(function, "__self__", None), "__name__", "")
            made = [t for t in tensors_in(torch, result) if t.dtype.is_floating_point or t.dtype.is_complex]
            if (
                (made or name in _NUMBERS)
                and not any(t.requires_grad for t in made)
                and not any(part in name for part in _NO_VALUES)
            ) and any(t.requires_grad for t in tensors_in(torch, (args, kwargs))):
                self.places[f"{name} ({_line(torch)})"] = None
            return result

    found = Watch()
    found.places = {}
    return found


def _line(torch: Any) -> str:
    """The line of the caller's code that is being run."""
    own = (os.path.dirname(torch.__file__), os.path.dirname(__file__))
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}, line {frame.f_lineno}"
