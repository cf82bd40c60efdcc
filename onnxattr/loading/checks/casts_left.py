"""What tools that convert to float16 leave in a file: Casts to float32 whose results are declared as float16."""

from __future__ import annotations

import onnx

from onnxattr.graph.subgraphs import graphs_in, is_standard, values_in

_TYPE = onnx.TensorProto.DataType.Name
_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)
#: How many nodes a sentence names.
_MOST = 5


def about_casts(proto: onnx.ModelProto) -> str:
    """A sentence on the Casts to another float type than the file declares of what they give; "" if there are none."""
    found = dict[str, str]()
    for graph in graphs_in(proto.graph):
        declared = {value.name: value.type.tensor_type.elem_type for value in values_in(graph)}
        for node in graph.node:
            if is_standard(node, "Cast") and node.output:
                given = next((one.i for one in node.attribute if one.name == "to"), 0)
                said = declared.get(node.output[0], given)
                if said != given and {said, given} <= {*_FLOATS}:
                    found[node.name or node.output[0]] = (
                        f"{_TYPE(given)} where the file declares {_TYPE(said)} ({said})"
                    )
    if not found:
        return ""
    named, more = [*found][:_MOST], f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return (
        f". The Cast nodes {named}{more} give {found[named[0]]}, as conversions to float16 leave them: "
        "set their attribute 'to' to the declared type."
    )
