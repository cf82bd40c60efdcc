"""The score alone: a forward pass, without gradients."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.compile.gradient import named_copy
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import Request, Rewrite
from onnxattr.graph.values import dims_of


def score_model(request: Request) -> ir.Model:
    """The model's output and the explained score of each row.

    Inputs: the model's; ``target``, as the score takes it, a row for each of the model's. Outputs: ``prediction``, and
    ``score`` (N,) in the type of the model's output.
    """
    rewrite = Rewrite(request)
    rows = (dims_of(rewrite.with_rows) or [None])[0]
    rewrite.add_prediction(rewrite.score, rows)
    target = rewrite.target_input(rows)
    score = rewrite.op.Reshape(rewrite.score_of_rows(target), [-1])
    rewrite.graph.outputs.append(named_copy(rewrite.op, score, own_name(request.prepared, "score"), score))
    return rewrite.finished_model()
