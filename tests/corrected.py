"""The base of the float64 forward passes that the tests use in place of onnx's own."""

from onnx import helper
from onnx.reference.op_run import OpRun


class Corrected(OpRun):
    """Base: attributes as a plain dict, defaults left to each operator."""

    op_domain = ""

    def _run(self, *inputs, **_):
        attributes = {a.name: helper.get_attribute_value(a) for a in self.onnx_node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        result = self.compute(attributes, *inputs)
        return result if isinstance(result, tuple) else (result,)
