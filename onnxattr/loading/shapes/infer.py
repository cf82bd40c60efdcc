"""Inference of all types and shapes of a model: by its nodes, with the runtime's arithmetic, through Loops.

What the file declares about inner values and outputs only adds to that. The arithmetic is onnx's, which takes protobuf:
the model crosses the bridge, and types come back.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.graph.subgraphs import graphs_in, graphs_of, values_in
from onnxattr.graph.values import values_of
from onnxattr.loading.passes.bridge import as_proto
from onnxattr.loading.passes.own_names import give_own_names
from onnxattr.loading.shapes.body_constants import with_constants_in_bodies
from onnxattr.loading.shapes.declared import Types, additions, dims_in, note, take_off
from onnxattr.loading.shapes.loops import infer_through_loops
from onnxattr.loading.shapes.runtime_sizes import restate_sizes
from onnxattr.loading.shapes.solved_sizes import solve_sizes

#: In the ``meta`` of a value: its type is that of the decomposition of its node, which keeps its kernel.
WRITTEN_OUT = "written_out"
#: In the ``meta`` of a model: whether sizes of inner values come from the declarations in its file.
DECLARED_SIZES = "declared_sizes"
#: After so many rounds declared shapes are taken all at once.
_MOST_ROUNDS = 8


def infer_shapes(model: ir.Model, strict: bool = True, same: onnx.ModelProto | None = None) -> bool:
    """Infers all types and shapes of a model, in place.

    Inner values and outputs get the inferred types. Where inference says nothing, they have the declared rank, and the
    declared sizes if all inputs have fixed ones and no declaration was found wrong. Nodes whose sizes ONNX infers
    otherwise than ONNX Runtime computes them are written so that both agree.

    Args:
        model: The model; its large weights may be graph inputs.
        strict: Whether what contradicts itself is an error; else it stays untyped.
        same: The model as protobuf, if it is at hand.

    Returns:
        Whether a name or a node is another; types are noted in any case.

    Raises:
        onnx.shape_inference.InferenceError: If the nodes contradict each other.
    """
    renamed = give_own_names(model.graph)
    inference = _Inference(model, strict, None if renamed else same)
    _note(model.graph, inference.run())
    return renamed or inference.restated


class _Inference:
    """One inference: the model with the declarations taken off, and whether nodes of it were restated."""

    def __init__(self, model: ir.Model, strict: bool, same: onnx.ModelProto | None):
        self._model, self._strict = model, strict
        self._bare, self._declared = self._taken_off(same)
        self._known = {str(value.name) for value in values_of(model.graph) if WRITTEN_OUT in value.meta}
        self.restated = False

    def run(self) -> onnx.ModelProto:
        """The model with all types."""
        added: Types = {}
        inferred = self._infer(added)
        for attempt in range(_MOST_ROUNDS + 1):
            new = additions(inferred, self._declared, attempt == _MOST_ROUNDS, self._known)
            if not new.keys() - added.keys():
                break
            added = new | added
            inferred = self._infer(added)
        declared = [told for (_, name), told in added.items() if name not in self._known]
        if any(dim.dim_value > 0 for told in declared for dim in told.tensor_type.shape.dim):
            self._model.meta[DECLARED_SIZES] = True
        solve_sizes(inferred)
        return inferred

    def _infer(self, added: Types) -> onnx.ModelProto:
        """The model with the types that follow from its nodes and from those that are added."""
        while True:
            inferred = infer_through_loops(note(self._bare, added) if added else self._bare, self._strict)
            # A size that is put right may be wrong for the next node, and what is known behind a value may follow.
            if not restate_sizes(self._model, inferred):
                return inferred
            self.restated = True
            self._bare, _ = self._taken_off()

    def _taken_off(self, same: onnx.ModelProto | None = None) -> tuple[onnx.ModelProto, Types]:
        with as_proto(self._model, "shape inference", same) as crossing:
            bare = with_constants_in_bodies(crossing.proto)
            if bare is same:
                bare = onnx.ModelProto()
                bare.CopyFrom(crossing.proto)
            return bare, take_off(bare)


def _note(graph: ir.Graph, inferred: onnx.ModelProto) -> None:
    """Gives the values of a graph and its subgraphs the types that inference found; none where it found none."""
    found = {value.name: value.type for part in graphs_in(inferred.graph) for value in values_in(part)}
    for part in graphs_of(graph):
        given = [*part.inputs] if part is not graph else []
        for value in (*given, *(value for node in part for value in node.outputs)):
            known = found.get(value.name or "")
            if known is not None and known.HasField("tensor_type"):
                dims = dims_in(known)
                value.type = ir.TensorType(ir.DataType(known.tensor_type.elem_type))
                value.shape = None if dims is None else ir.Shape(dims)
            else:
                value.type = None if known is None else ir.serde.deserialize_type_proto_for_type(known)
                value.shape = None if known is None else ir.serde.deserialize_type_proto_for_shape(known)
