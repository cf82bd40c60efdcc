"""The layer table of a converted PyTorch module: values of the graph that equal the outputs of submodules."""

import ast
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from onnxattr.layers import METADATA_KEY

from . import onnx_finish
from .verify import TOLERANCE, Session, difference

_SCOPES = "pkg.torch.onnx.name_scopes"
_RELUS = {"ReLU": "relu", "ReLU6": "relu6"}


def as_numpy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor, where they are a tensor of the framework or of NumPy."""
    return tensor.detach().cpu().numpy()


def write_table(torch: Any, model: onnx.ModelProto, module: Any, inputs: list[Any], names: list[str]) -> None:
    """Store which value equals which submodule's output in a run of both on the same inputs.

    A submodule whose output is no value of the graph, such as a convolution whose normalisation was folded into it,
    stays in the table without one.

    Args:
        torch: The package.
        model: The converted model; its metadata is changed.
        module: The module, in evaluation mode.
        inputs: The inputs of that run.
        names: Their names in `forward`.
    """
    expected = _outputs(torch, module, dict(zip(names, inputs, strict=True)))
    scopes = {node.name: _scopes(node) for node in model.graph.node}
    candidates = {path: list(_leaving(model.graph, scopes, path)) for path in expected}
    wanted = sorted({name for values in candidates.values() for name in values})
    feeds = {v.name: as_numpy(t) for v, t in zip(model.graph.input, inputs, strict=True)}
    found = _values(model, wanted, feeds)
    positions = {name: index for index, (name, _) in enumerate(module.named_children())}
    layers = []
    for path, part in module.named_modules():
        if not path:
            continue
        equal = [name for name in candidates.get(path, []) if _same(found, name, expected[path])]
        layers.append(
            {
                "name": path.rpartition(".")[2],
                "index": positions.get(path),
                "class": type(part).__name__,
                "path": path,
                "output": equal[0] if equal else None,
                "folded": None if equal else "no value of the graph equals its output",
                "relu": _relu(model.graph, scopes, path, part, equal),
            }
        )
    onnx_finish.set_property(model, METADATA_KEY, json.dumps({"layers": layers}))


def _outputs(torch: Any, module: Any, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The output of every submodule that runs once and gives one tensor."""
    seen: dict[str, list[Any]] = {}

    def note(path: str) -> Any:
        return lambda _, __, output: seen.setdefault(path, []).append(output)

    hooks = [part.register_forward_hook(note(path)) for path, part in module.named_modules() if path]
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        path: as_numpy(runs[0].clone())
        for path, runs in seen.items()
        if len(runs) == 1 and isinstance(runs[0], torch.Tensor) and runs[0].dtype != torch.bfloat16
    }


def _scopes(node: onnx.NodeProto) -> list[str]:
    """The paths of the modules that a node was made in, outermost first."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    return ast.literal_eval(text)[:-1]


def _leaving(graph: onnx.GraphProto, scopes: dict[str, list[str]], path: str) -> Iterator[str]:
    """The values that nodes of a module make and others read, last first."""
    outputs = {value.name for value in graph.output}
    read_outside = {
        name for node in graph.node if path not in scopes[node.name] for name in node.input
    } | outputs
    for node in reversed(graph.node):
        if path in scopes[node.name]:
            yield from (name for name in node.output if name in read_outside)


def _values(model: onnx.ModelProto, names: list[str], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of that name in a run."""
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    open_model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return dict(zip(names, Session(open_model).run(feeds), strict=True)) if names else {}


def _same(found: dict[str, np.ndarray], name: str, expected: np.ndarray) -> bool:
    return name in found and difference(np.asarray(found[name]), expected) <= TOLERANCE


def _relu(
    graph: onnx.GraphProto, scopes: dict[str, list[str]], path: str, part: Any, equal: list[str]
) -> dict[str, Any] | None:
    kind = _RELUS.get(type(part).__name__)
    node = next(
        (n for n in graph.node if equal and equal[0] in n.output and n.op_type in ("Relu", "Clip")), None
    )
    if kind is None or node is None:
        return None
    return {"kind": kind, "input": node.input[0], "output": equal[0], "nodes": [node.name], "xplique": True}
