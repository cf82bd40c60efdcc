"""Inference of all types and shapes of a model: by its nodes, with the runtime's arithmetic, through Loops.

What the file declares about inner values and outputs only adds to that.
"""

from __future__ import annotations

import onnx

from onnxattr.loading.passes.own_names import with_own_names
from onnxattr.loading.shapes.body_constants import with_constants_in_bodies
from onnxattr.loading.shapes.declared import Types, additions, note, take_off
from onnxattr.loading.shapes.loops import infer_through_loops
from onnxattr.loading.shapes.runtime_sizes import restate_sizes
from onnxattr.loading.shapes.solved_sizes import solve_sizes

#: After so many rounds declared shapes are taken all at once.
_MOST_ROUNDS = 8


def infer_shapes(proto: onnx.ModelProto, strict: bool = True) -> onnx.ModelProto:
    """Infers all types and shapes of a model.

    Args:
        proto: The model, of opset 18 or newer; its large weights may be graph inputs.
        strict: Whether what contradicts itself is an error; else it stays untyped.

    Returns:
        A copy whose inner values and outputs have the inferred types. Where inference says nothing, they have the
        declared rank, and the declared sizes if all inputs have fixed ones and no declaration was found wrong. Nodes
        whose sizes ONNX infers otherwise than ONNX Runtime computes them are written so that both agree.

    Raises:
        onnx.shape_inference.InferenceError: If the nodes contradict each other.
    """
    bare, declared = take_off(with_constants_in_bodies(with_own_names(proto)))
    inferred = infer_through_loops(bare, strict)
    # A size that is put right may be wrong for the next node, and what is known behind a value may follow from it.
    while restate_sizes(bare, inferred):
        inferred = infer_through_loops(bare, strict)
    added: Types = {}
    for attempt in range(_MOST_ROUNDS + 1):
        new = additions(inferred, declared, everything=attempt == _MOST_ROUNDS)
        if not new.keys() - added.keys():
            break
        added = new | added
        inferred = infer_through_loops(note(bare, added), strict)
        while restate_sizes(bare, inferred):
            inferred = infer_through_loops(note(bare, added), strict)
    solve_sizes(inferred)
    return inferred
