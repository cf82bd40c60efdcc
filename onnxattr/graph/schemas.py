"""What ONNX's schemas say of a node: its operands, the types of its outputs, its result on small constants."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxattr.errors import RuleError
from onnxattr.graph.elementwise import elementwise
from onnxattr.graph.folding import FOLD_LIMIT
from onnxattr.graph.moved_types import moved
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
#: Operators whose outputs have as many elements as the values of their inputs say.
_GROWING = frozenset("ConstantOfShape Expand OneHot Pad Range Tile".split())
#: Operators that look at each element of their inputs and outputs a bounded number of times.
_BOUNDED = _GROWING | frozenset(
    """
    Abs Add And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Compress
    Concat Cos CumSum DequantizeLinear Div Equal Exp EyeLike Flatten Floor Gather GatherElements GatherND Greater
    GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg NonZero Not Or Pow
    QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape ReverseSequence Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size
    Slice Softmax Split Sqrt Squeeze Sub Sum Tanh TopK Transpose Trilu Unique Unsqueeze Where Xor
    """.split()
)


def opset_of(model: ir.Model) -> int:
    """The ai.onnx opset of a model."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


@dataclass(frozen=True)
class Signature:
    """What a builder asks of a schema; the schema itself makes its lists anew each time.

    Attributes:
        fewest: Least number of operands.
        most: Largest number of operands.
        types: The names of the types of the formal inputs; the last one is that of all further operands.
        attributes: The names of the attributes.
    """

    fewest: int
    most: int
    types: tuple[str, ...]
    attributes: frozenset[str]

    def type_of(self, index: int) -> str:
        """The name of the type of an operand."""
        return self.types[min(index, len(self.types) - 1)]


@functools.cache
def _signature(op_type: str, opset: int) -> Signature:
    schema = onnx.defs.get_schema(op_type, opset, "")
    types = tuple(formal.type_str for formal in schema.inputs)
    return Signature(schema.min_input, schema.max_input, types, frozenset(schema.attributes))


def signature_of(op_type: str, opset: int, arity: int, attributes: Mapping[str, Any]) -> Signature:
    """The signature of an ai.onnx operator.

    Raises:
        RuleError: If the operator, an attribute or the number of operands does not exist at the opset.
    """
    try:
        signature = _signature(op_type, opset)
    except onnx.defs.SchemaError as error:
        raise RuleError(f"{op_type} does not exist in ai.onnx opset {opset}.") from error
    unknown = sorted(attributes.keys() - signature.attributes)
    if unknown:
        raise RuleError(
            f"{op_type} has no attribute {unknown} in opset {opset}; it has {sorted(signature.attributes)}."
        )
    if not signature.fewest <= arity <= signature.most:
        raise RuleError(f"{op_type} takes {signature.fewest} to {signature.most} inputs, {arity} were given.")
    return signature


def folded(node: ir.Node, opset: int) -> np.ndarray | None:
    """The output of a node whose inputs are small integer constants; None for other nodes."""
    arrays = {}
    for value in node.inputs:
        if value is None:
            continue
        tensor = value.const_value
        if tensor is None or tensor.size > FOLD_LIMIT or tensor.dtype not in _INTEGERS:
            return None
        arrays[str(value.name)] = tensor.numpy()
    if not node.inputs or subgraphs_of(node):
        return None
    results = evaluated(node, opset, arrays, FOLD_LIMIT)
    if results is None or ir.DataType.from_numpy(results[0].dtype) not in _INTEGERS:
        return None
    return results[0]


def run_node(node: ir.Node, opset: int, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """The outputs of a node of ai.onnx on arrays by name, by ONNX's own evaluator."""
    proto = ir.serde.serialize_node(node)
    with np.errstate(all="ignore"):  # infinities and NaN are results like others
        results: Any = ReferenceEvaluator(proto, opsets={"": opset}).run(None, dict(arrays))
    return list(results)


def evaluated(
    node: ir.Node, opset: int, arrays: Mapping[str, np.ndarray], most: int
) -> list[np.ndarray] | None:
    """The outputs of a node on constants, where they are small.

    Args:
        node: The node of ai.onnx; it has no subgraphs.
        opset: Its opset.
        arrays: Its inputs by name.
        most: Most elements that an output may have.

    Returns:
        None where an output would be larger, which is found out before it is made, or where the operator may take
        more work than its inputs and outputs have elements.
    """
    if node.op_type not in _BOUNDED or math.prod(_elements(node, opset, arrays)) > most:
        return None
    results = run_node(node, opset, arrays)
    return None if any(getattr(result, "size", 0) > most for result in results) else results


def _elements(node: ir.Node, opset: int, arrays: Mapping[str, np.ndarray]) -> list[int]:
    """Numbers whose product no output of a node has more elements than."""
    if node.op_type == "Concat":
        return [sum(array.size for array in arrays.values())]
    if node.op_type not in _GROWING:
        # Broadcasting at most; outputs that are no longer than an input among them.
        return [max(array.size, 1) for array in arrays.values()]
    types = {
        name: onnx.helper.make_tensor_type_proto(
            onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in arrays.items()
    }
    data = {name: onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()}
    imports = [onnx.helper.make_opsetid("", opset)]
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    proto = ir.serde.serialize_node(node)
    inferred = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    dims = inferred[proto.output[0]].tensor_type.shape.dim
    # What inference can't tell is taken for too much.
    return [dim.dim_value if dim.HasField("dim_value") else sys.maxsize for dim in dims]


def infer(node: ir.Node, opset: int, known: Callable[[ir.Value], np.ndarray | None] | None = None) -> None:
    """Types the outputs of a node of ai.onnx by ONNX's inference, as far as its inputs are typed.

    Args:
        node: The node.
        opset: Its opset.
        known: What values hold beside constants, None for unknown ones.

    Raises:
        RuleError: If the node cannot take such inputs.
    """
    plain = elementwise(node, opset) or moved(node, opset)
    if plain is not None:
        dtype, dims = plain
        node.outputs[0].dtype = dtype
        node.outputs[0].shape = None if dims is None else ir.Shape(dims)
        return
    if subgraphs_of(node) or not all(value is None or _is_tensor(value) for value in node.inputs):
        return
    held = ((value, _integers(value, known)) for value in node.inputs if value is not None)
    arrays = {str(value.name): array for value, array in held if array is not None}
    key = _key(node, opset, arrays)
    found = _INFERRED.get(key)
    if found is None:
        found = _inferred(node, opset, arrays)
        if key is not None:
            if len(_INFERRED) >= _REMEMBERED:
                _INFERRED.clear()
            _INFERRED[key] = found
    for value, result in zip(node.outputs, found, strict=True):
        if result is not None:
            value.dtype = result[0]
            value.shape = None if result[1] is None else ir.Shape(result[1])


#: Types of a node's outputs: dtype and sizes, None where nothing is known.
_Types = list[tuple[ir.DataType, list[Any] | None] | None]
#: What inference has said of nodes: the layers of a model are much alike. Forgotten when it is full.
_INFERRED: dict[tuple[Any, ...] | None, _Types] = {}
_REMEMBERED = 4096


def _is_tensor(value: ir.Value) -> bool:
    """Whether a value is known to be a tensor of some type: a sequence has a dtype too, that of its elements."""
    return isinstance(value.type, ir.TensorType) and value.dtype is not None


def _integers(value: ir.Value, known: Callable[[ir.Value], np.ndarray | None] | None) -> np.ndarray | None:
    """What a value holds, if inference may depend on it."""
    tensor = value.const_value
    if tensor is not None and tensor.size <= FOLD_LIMIT and tensor.dtype in _INTEGERS:
        return tensor.numpy()
    return None if known is None else known(value)


def _key(node: ir.Node, opset: int, arrays: Mapping[str, np.ndarray]) -> tuple[Any, ...] | None:
    """All that the types of a node's outputs depend on; None if that is much."""
    attributes = []
    for name, attribute in node.attributes.items():
        if attribute.type not in _PLAIN:
            return None
        value = attribute.value
        attributes.append((name, attribute.type, tuple(value) if isinstance(value, (list, tuple)) else value))
    if any(array.size > _MOST_IN_KEY for array in arrays.values()):
        return None
    inputs = []
    for source in node.inputs:
        array = None if source is None else arrays.get(str(source.name))
        held = None if array is None else (array.dtype.str, array.shape, array.tobytes())
        dims = dims_of(source)
        inputs.append((source and source.dtype, None if dims is None else tuple(dims), held))
    outputs = tuple(bool(value.name) for value in node.outputs)
    return (node.op_type, opset, outputs, tuple(sorted(attributes)), tuple(inputs))


#: Attributes, and elements of integers, that are compared as they are.
_PLAIN = tuple(getattr(ir.AttributeType, kind) for kind in ("INT", "INTS", "FLOAT", "FLOATS", "STRING"))
_MOST_IN_KEY = 64


def _inferred(node: ir.Node, opset: int, arrays: Mapping[str, np.ndarray]) -> _Types:
    types = {}
    for value in node.inputs:
        if value is None or value.dtype is None:
            continue
        dims = dims_of(value)
        if any(isinstance(dim, int) and dim < 0 for dim in dims or []):
            # ONNX's inference of some operators would end the whole process.
            raise RuleError(f"{node.op_type} cannot take {value.name!r} of shape {dims}: a size is negative.")
        types[str(value.name)] = onnx.helper.make_tensor_type_proto(value.dtype.value, dims)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset, ""),
            ir.serde.serialize_node(node),
            types,
            {name: onnx.numpy_helper.from_array(array) for name, array in arrays.items()},
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except onnx.shape_inference.InferenceError as error:
        shapes = {value.name: dims_of(value) for value in node.inputs if value is not None}
        raise RuleError(f"{node.op_type} cannot take inputs of shapes {shapes}: {error}") from error
    except onnx.checker.ValidationError as error:
        raise onnx.checker.ValidationError(
            f"(op_type:{node.op_type}, node name: {node.name or node.outputs[0].name}): {error}"
        ) from error
    found: _Types = []
    for value in node.outputs:
        proto = inferred.get(str(value.name))
        if proto is None or not proto.HasField("tensor_type"):
            found.append(None)
            continue
        shape = ir.serde.deserialize_type_proto_for_shape(proto)
        dims = None if shape is None else [d if isinstance(d, int) else d.value for d in shape]
        found.append((ir.DataType(proto.tensor_type.elem_type), dims))
    return found
