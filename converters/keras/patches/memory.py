"""Parts of tf2onnx that take less memory and time for large models."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ...common import dependencies


def all_but_constants(update_proto: Callable[..., None]) -> Callable[..., None]:
    """`Node.update_proto` for nodes that hold no weights; the final graph reads constants elsewhere."""

    def update(node: Any, *args: Any, **kwargs: Any) -> None:
        if node.type != "Const":
            update_proto(node, *args, **kwargs)

    return update


def nodes_leading_to(
    graph: Any, outputs_name: Any, input_checker: Any = None, remove_unused_inputs: bool = True
) -> list[Any]:
    """All nodes that the named outputs need: `Graph.extract_sub_graph_nodes` in one search."""
    names = list(outputs_name)
    if not remove_unused_inputs:
        names += [node.output[0] for node in graph.inputs]
    found: dict[Any, None] = {}
    while names:
        node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
        if not node or node in found or (input_checker is not None and input_checker(node) is False):
            continue
        found[node] = None
        names.extend(node.input)
        names.extend(node.get_implicit_inputs())
    return list(found)


def one_pass(optimizer: Any, graph: Any, iteration: int) -> Any:
    """`GraphOptimizerBase.optimize` without protos, which are made when the graph is written, and without counts."""
    optimizer.opt_iteration = iteration
    graph = optimizer._optimize(graph)
    for node in graph.get_nodes():
        if node.get_body_graphs():
            node.update_proto()  # which brings the nodes of its bodies in order
    graph.delete_unused_nodes(graph.outputs)
    return graph


class _Frozen(NamedTuple):
    """What tf2onnx reads of a function whose variables are constants."""

    graph: Any


def frozen_without_copy(function: Any, graph_def: Any, converted: Any) -> _Frozen:
    """`_construct_concrete_function`, of whose function tf2onnx reads the graph alone."""
    tf = dependencies.tensorflow()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return _Frozen(graph)


def on_one_processor(optimize: Callable[..., Any]) -> Callable[..., Any]:
    """`OptimizeGraph` for a processor that is described, in place of the session that it makes otherwise."""
    from tensorflow.core.protobuf import device_properties_pb2
    from tensorflow.python.grappler.cluster import Cluster

    properties = device_properties_pb2.DeviceProperties(type="CPU", num_cores=1, frequency=1000)
    device = device_properties_pb2.NamedDevice(
        name="/job:localhost/replica:0/task:0/device:CPU:0", properties=properties
    )

    def optimized(*args: Any, **kwargs: Any) -> Any:
        return optimize(*args, **{"cluster": Cluster(devices=[device]), **kwargs})

    return optimized
