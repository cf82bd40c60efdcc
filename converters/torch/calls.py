"""The calls of a PyTorch model's modules: where they are in an exported program, and what they give for inputs.

The first call of a module is named by its path, "blocks.0.conv1"; the second "blocks.0.conv1#2".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from ..common import layer_rows
from .running import Runner, tensors_in, without_fast_path

# A module's path, or its id where torch._dynamo traced it, and the number of the call from the second on.
_CALL = re.compile(r"(.*?)(?:@(\d+))?")


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        path: The module's path, with the number of the call from the second on.
        class_name: Class of the module.
        outputs: The tensors that it returned, in the order of its tuple or dict.
        module: A number that all calls of one module have.
    """

    path: str
    class_name: str
    outputs: list[np.ndarray] = field(repr=False)
    module: int


def as_numpy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor."""
    tensor = tensor.detach().cpu()
    half = str(tensor.dtype) == "torch.bfloat16"  # NumPy has this type from another package only
    array: np.ndarray = (tensor.float() if half else tensor).numpy()
    return array.astype(ml_dtypes.bfloat16) if half else array


def calls_of_nodes(graph: Any) -> dict[str, dict[str, str]]:
    """Name of each node of an exported program's graph -> the calls that it is part of, outer first, and their classes.

    Args:
        graph: `ExportedProgram.graph`.
    """
    found = {}
    for node in graph.nodes:
        calls = {}
        for key, (path, module_class) in (node.meta.get("nn_module_stack") or {}).items():
            name = getattr(module_class, "__qualname__", str(module_class)).rpartition(".")[2]
            module, number = _CALL.fullmatch(key).groups("0")  # type: ignore[union-attr]
            if path and (path in module or module.isdecimal()):
                calls[layer_rows.path_of_call(path, int(number) + 1)] = name
        found[node.name] = calls
    return found


def leaving(graph: Any, parts: Mapping[str, dict[str, str]], path: str) -> list[Any]:
    """The nodes of a call that others than its own use, in the order of the graph."""
    return [
        node
        for node in graph.nodes
        if path in parts[node.name] and any(path not in parts[user.name] for user in node.users)
    ]


def named_by_calls(graph: Any, parts: Mapping[str, dict[str, str]]) -> dict[str, list[str]]:
    """Each call -> its nodes and those that they read: what dropout gives in inference, which computes nothing."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        for call in parts[node.name]:
            outside = [source.name for source in node.all_input_nodes if call not in parts[source.name]]
            found.setdefault(call, []).extend([node.name, *outside])
    return found


def calls_of_module(
    torch: Any, run: Runner, inputs: Mapping[Any, Any], parts: Mapping[str, dict[str, str]]
) -> list[Call]:
    """The calls while a module runs, modules in the order of `named_modules`.

    Args:
        torch: The package.
        run: Runs the module, which is in evaluation mode.
        inputs: Its inputs by name or number.
        parts: The calls of the exported graph; a module with several paths is called by the one that stands there.
    """
    returned: dict[int, list[Any]] = {}
    module = run.module

    def note(part: Any, _: Any, output: Any) -> None:
        copies = torch.utils._pytree.tree_map(_copied(torch), output)
        returned.setdefault(id(part), []).append(copies)

    hooks = [part.register_forward_hook(note) for path, part in module.named_modules() if path]
    try:
        with torch.no_grad(), without_fast_path(torch):
            run(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    paths: dict[int, list[str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(part), []).append(path)
    exported = list(dict.fromkeys(call for calls in parts.values() for call in calls))
    found = []
    for path, part in module.named_modules():
        outputs = returned.get(id(part), [])
        named = [call for call in exported if call.partition(layer_rows.CALL)[0] in paths[id(part)]]
        if len(named) != len(outputs):
            named = [layer_rows.path_of_call(path, number + 1) for number in range(len(outputs))]
        for name, output in zip(named, outputs, strict=True):
            found.append(Call(name, type(part).__name__, list(_tensors(torch, output)), id(part)))
    return found


def calls_of_program(torch: Any, program: Any, inputs: Mapping[Any, Any]) -> list[Call]:
    """The calls while an exported program runs, in the order of its graph.

    What a module returned is no longer known there; what other parts of the program use of it counts.

    Args:
        torch: The package.
        program: The `ExportedProgram`.
        inputs: Its inputs in their order.
    """
    module = program.module()
    values: dict[str, Any] = {}

    interpreter = torch.fx.Interpreter(module)
    run_node = interpreter.run_node

    def noted(node: Any) -> Any:
        values[node.name] = run_node(node)
        return values[node.name]

    interpreter.run_node = noted
    with torch.no_grad():
        interpreter.run(*inputs.values(), enable_io_processing=False)
    parts = calls_of_nodes(module.graph)
    classes: dict[str, str] = {}
    for calls in parts.values():
        classes |= {path: name for path, name in calls.items() if path not in classes}
    numbers = {path: number for number, path in enumerate(classes)}
    return [
        Call(path, class_name, [
            array for node in leaving(module.graph, parts, path) for array in _tensors(torch, values[node.name])
        ], numbers.get(path.partition(layer_rows.CALL)[0], -1))
        for path, class_name in classes.items()
    ]  # fmt: skip


def _copied(torch: Any) -> Any:
    """What a module works on in place later is copied; what torch.vmap made has no values outside of it."""
    inside = torch._C._functorch.is_functorch_wrapped_tensor

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return None if inside(leaf) or leaf.is_nested else leaf.clone()
        return leaf

    return copied


def _tensors(torch: Any, output: Any) -> Iterator[np.ndarray]:
    return map(as_numpy, tensors_in(torch, output))
