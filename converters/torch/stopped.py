"""Where a module's own gradient is another than that of its file, which has no sign for a stopped gradient."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxattr.compile.gradient import vjp
from onnxattr.errors import OnnxAttrError

from ..common.verify import Session
from .calls import as_numpy

#: Most of its largest value by which a gradient may differ: kinks that a value meets by chance are not meant.
_TOLERANCE, _HALF = 1e-3, 5e-2
#: Functions that take from a tensor its shape and type, and so no gradient.
_NO_VALUES = ("_like", "new_")
_LISTED = 3


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
            outputs = torch.utils._pytree.tree_leaves(run({name: t.clone() for name, t in leaves.items()}))
        outputs = [t for t in outputs if isinstance(t, torch.Tensor)]
        watch.places |= dict.fromkeys(_own_backwards(torch, outputs))
        if not watch.places or not any(t.requires_grad for t in outputs):
            return
        worst = _difference(torch, converted, in_order(leaves), outputs)
    except (OnnxAttrError, RuntimeError, TypeError, ValueError):
        return  # no gradient of one of them: whoever asks for it is told why
    halves = any(t.dtype in (torch.float16, torch.bfloat16) for t in (*batch.values(), *outputs))
    if worst > (_HALF if halves else _TOLERANCE):
        places = list(watch.places)
        more = ", ..." if len(places) > _LISTED else ""
        warnings.warn(
            f"The module stops gradients, or has its own, at {'; '.join(places[:_LISTED])}{more}. ONNX has no sign for "
            "that: attributions are those of the file, whose gradient is that of what it computes. At random inputs it "
            f"differs from PyTorch's by {worst:.2g} of the largest value.",
            stacklevel=4,
        )


def _difference(
    torch: Any, converted: onnx.ModelProto, leaves: Sequence[Any], outputs: Sequence[Any]
) -> float:
    """The largest difference between the gradients of a random sum of the outputs, relative to the largest gradient."""
    generator, total, feeds = np.random.default_rng(0), torch.zeros(()), {}
    gradient = vjp(converted)
    asked = {value.name for value in gradient.graph.input}
    for value, leaf in zip(converted.graph.input, leaves, strict=True):
        feeds[value.name] = as_numpy(leaf)
    for value, output in zip(converted.graph.output, outputs, strict=True):
        name = f"{value.name}_cotangent"
        if name in asked:
            cotangent = torch.as_tensor(generator.normal(size=tuple(output.shape))).to(output.dtype)
            feeds[name] = as_numpy(cotangent)
            total = total + (output * cotangent).sum() if output.requires_grad else total
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    expected = dict(zip(map(id, wanted), torch.autograd.grad(total, wanted, allow_unused=True), strict=True))
    found = dict(zip((v.name for v in gradient.graph.output), Session(gradient).run(feeds), strict=True))
    worst = 0.0
    for value, leaf in zip(converted.graph.input, leaves, strict=True):
        ours = found.get(f"{value.name}_gradient")
        if ours is not None:
            own = expected[id(leaf)]
            theirs = np.zeros_like(ours) if own is None else as_numpy(own)
            largest = max(np.abs(ours).max(initial=0), np.abs(theirs).max(initial=0))
            apart = np.abs(ours - theirs).max(initial=0) / (largest or 1)
            worst = max(worst, float(apart) if np.isfinite(apart) else 0.0)
    return worst


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
    """A mode that notes the places where a tensor without a gradient is made of the values of one that has one."""

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        places: dict[str, None]

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            name = getattr(function, "__name__", "")
            if name == "__get__":  # a property, such as data
                name = getattr(getattr(function, "__self__", None), "__name__", "")
            tensors = torch.utils._pytree.tree_leaves(result)
            made = [t for t in tensors if isinstance(t, torch.Tensor) and t.dtype.is_floating_point]
            if (
                made
                and not any(t.requires_grad for t in made)
                and not any(part in name for part in _NO_VALUES)
            ):
                taken = torch.utils._pytree.tree_leaves((args, kwargs))
                if any(isinstance(t, torch.Tensor) and t.requires_grad for t in taken):
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
