"""Decides by the graphs of a SavedModel whether loading and tracing it can do more than compute.

A SavedModel is a program: `tf.saved_model.load` runs its initializers, and calling its signature runs that. Only
operators of `saved_model_ops` may be in it. Each SavedModel also has functions that write and read its checkpoint; they
are accepted as long as nothing that runs here reaches them.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...common import dependencies
from ...common.trust import damaged, untrusted
from .saved_model_ops import CHECKPOINT, PURE

_LARGEST_FILL = 2**24
_RUN_AT_LOAD = ("saved_model_main_op", "legacy_init_op", "table_initializer")


def check(folder: Path) -> None:
    """Accept a SavedModel if its operators only compute.

    Args:
        folder: Of the SavedModel.

    Raises:
        ConversionError: Damaged, or an operator that may act; names the operator and the function that it is in.
    """
    for meta in _parsed(folder).meta_graphs:
        functions = {function.signature.name: function for function in meta.graph_def.library.function}
        if len(functions) != len(meta.graph_def.library.function):
            raise untrusted(folder, "two functions of its graph have one name")
        _check_operators(folder, "its main graph", meta.graph_def.node, functions)
        for name, function in functions.items():
            _check_operators(folder, f"its function {name!r}", function.node_def, functions)
        _check_checkpoint(folder, meta, functions)


def tag_sets(folder: Path) -> list[set[str]]:
    """The tags of each graph of a folder.

    Raises:
        ConversionError: Damaged.
    """
    return [set(meta.meta_info_def.tags) for meta in _parsed(folder).meta_graphs]


def _parsed(folder: Path) -> Any:
    dependencies.tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # DecodeError, or the operating system's
        raise damaged(folder / "saved_model.pb", "The SavedModel", error) from error
    if not proto.meta_graphs:
        raise damaged(folder / "saved_model.pb", "The SavedModel", "there is no graph in it")
    return proto


def _check_operators(folder: Path, where: str, nodes: Iterable[Any], functions: dict[str, Any]) -> None:
    for node in nodes:
        if node.op not in PURE and node.op not in CHECKPOINT and node.op not in functions:
            raise untrusted(
                folder,
                f"the operator {node.op} (node {node.name!r} of {where}) is not one that only computes; a SavedModel "
                "is a program, and this one may act while it is loaded or checked",
            )
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype != 7:  # 7: text
            elements = math.prod(dim.size for dim in tensor.tensor_shape.dim)
            if elements > max(_LARGEST_FILL, len(tensor.tensor_content)):
                raise untrusted(
                    folder, f"the constant {node.name!r} of {where} fills {elements} elements from few"
                )


def _check_checkpoint(folder: Path, meta: Any, functions: dict[str, Any]) -> None:
    """The operators that write and read files must not be reached from anything but the saver."""
    nodes = {node.name: node for node in meta.graph_def.node}
    saver = {_node(meta.saver_def.save_tensor_name), _node(meta.saver_def.restore_op_name)}
    of_saver = _leading_to(saver, nodes)
    run = {
        _node(tensor.name)
        for signature in meta.signature_def.values()
        for tensor in signature.outputs.values()
    }
    run |= {_node(name) for key in _RUN_AT_LOAD for name in meta.collection_def[key].node_list.value}
    run |= nodes.keys() - of_saver
    run = _leading_to(run, nodes)
    only_saver = [nodes[name] for name in of_saver - run]
    saving = _called(_references(only_saver, functions), functions)
    live = _called(
        {*functions.keys() - saving, *_references((nodes[name] for name in run), functions)}, functions
    )
    live |= _called(_object_functions(meta, functions), functions)
    # TensorFlow may put one implementation of an interface in the place of another.
    live |= {name for name in saving if "api_implements" in functions[name].attr}
    live = _called(live, functions)
    places = {"its main graph": [nodes[name] for name in run]}
    places |= {f"its function {name!r}": functions[name].node_def for name in sorted(live)}
    if not meta.HasField("object_graph_def"):  # of TensorFlow 1: loading runs the saver's node itself
        _check_restoring(folder, meta, nodes, functions)
    for where, members in places.items():
        for node in members:
            if node.op in CHECKPOINT:
                raise untrusted(
                    folder,
                    f"the operator {node.op} (node {node.name!r} of {where}) reads or writes files and is not the "
                    "saver's alone",
                )


def _check_restoring(folder: Path, meta: Any, nodes: dict[str, Any], functions: dict[str, Any]) -> None:
    """TensorFlow 1: what restores the variables reads the checkpoint that it is given, and writes nothing."""
    filename = _node(meta.saver_def.filename_tensor_name)
    restoring = [nodes[name] for name in _leading_to({_node(meta.saver_def.restore_op_name)}, nodes)]
    for node in restoring:
        other = node.op in CHECKPOINT and (node.op != "RestoreV2" or _node(node.input[0]) != filename)
        if other or _references([node], functions):
            raise untrusted(
                folder, f"its node {node.name!r} ({node.op}) does more than restore the variables"
            )
    if meta.collection_def["local_variables"].bytes_list.value:
        raise untrusted(
            folder, "it has local variables of TensorFlow 1, which are initialised while it is loaded"
        )


def _object_functions(meta: Any, functions: dict[str, Any]) -> set[str]:
    """The functions of the saved objects: signatures, methods, initializers, what saves and restores a table."""
    graph = meta.object_graph_def
    names = set(graph.concrete_functions)
    for node in graph.nodes:
        names.update(node.function.concrete_functions)
        names.add(node.bare_concrete_function.concrete_function_name)
    return names & functions.keys()


def _node(tensor: str) -> str:
    """Name of the node of a tensor: "^a" and "a:1" are of "a"."""
    return tensor.removeprefix("^").split(":")[0]


def _leading_to(names: set[str], nodes: dict[str, Any]) -> set[str]:
    """Nodes of the main graph that these need, themselves included."""
    found: set[str] = set()
    pending = [name for name in names if name in nodes]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(source for source in map(_node, nodes[name].input) if source in nodes)
    return found


def _references(nodes: Iterable[Any], functions: dict[str, Any]) -> set[str]:
    """Functions that nodes call, by operator or by attribute."""
    names: set[str] = set()
    for node in nodes:
        names.add(node.op)
        pending = list(node.attr.values())
        while pending:
            attribute = pending.pop()
            for function in (attribute.func, *attribute.list.func):
                names.add(function.name)
                pending.extend(function.attr.values())
    return names & functions.keys()


def _called(names: set[str], functions: dict[str, Any]) -> set[str]:
    """Functions that these call, directly or not, themselves included."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(_references(functions[name].node_def, functions))
    return found
