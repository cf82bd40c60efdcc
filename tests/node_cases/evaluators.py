"""What runs a model: onnx's reference evaluator, or ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from support.reference_ops import NEW_OPS

from node_cases.packages import Run
from onnxattr.loading.passes.opsets import NEWEST_OPSET
from onnxattr.testing import CORRECTED


def reference(model: onnx.ModelProto) -> Run:
    """onnx's reference evaluator, with the operators corrected that it gets wrong."""
    evaluator = ReferenceEvaluator(model, new_ops=[*NEW_OPS, *CORRECTED])
    return lambda names, feeds: [np.asarray(y) for y in evaluator.run(list(names), dict(feeds))]


def unchanged_reference(model: onnx.ModelProto) -> Run:
    """onnx's reference evaluator as it comes."""
    evaluator = ReferenceEvaluator(model)
    return lambda names, feeds: [np.asarray(y) for y in evaluator.run(list(names), dict(feeds))]


def runtime(model: onnx.ModelProto) -> Run:
    """ONNX Runtime on one thread of the CPU; the newest operator sets are brought back to one that it runs."""
    if any(entry.domain == "" and entry.version > NEWEST_OPSET for entry in model.opset_import):
        model = onnx.version_converter.convert_version(model, NEWEST_OPSET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda names, feeds: session.run(list(names), {k: np.asarray(v) for k, v in feeds.items()})
