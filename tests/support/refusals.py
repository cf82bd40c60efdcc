"""Models that bad input is given to, and the check of an error by its type and words."""

import onnx
import pytest

from onnxattr.errors import OnnxAttrError
from onnxattr.session import Session
from support.small_models import cnn_nchw, embedding, mlp, two_inputs

MLP, CNN, TWO, TOKENS = mlp(), cnn_nchw(), two_inputs(), embedding()
VECTORS = {"x": ["N", 4]}, {"y": ["N", 4]}


def mlp_with(**fields):
    """The MLP with other fields of its ModelProto."""
    model = onnx.ModelProto()
    model.CopyFrom(MLP.model)
    if "opset" in fields:
        model.opset_import[0].version = fields["opset"]
    if "ir_version" in fields:
        model.ir_version = fields["ir_version"]
    if "layers" in fields:
        onnx.helper.set_model_props(model, {"onnxattr.layers": fields["layers"]})
    if "views" in fields:
        onnx.helper.set_model_props(model, {"onnxattr.layer_views": fields["views"]})
    return model


def check(error, expected, fragments):
    assert type(error.value) is expected
    assert isinstance(error.value, OnnxAttrError)
    message = str(error.value)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(self, feeds):
        raise AssertionError("a session ran before the error")

    monkeypatch.setattr(Session, "run", refuse)
