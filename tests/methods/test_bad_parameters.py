"""Parameters that do not fit are one clear error before anything runs."""

import json

import numpy as np
import pytest
from onnx import TensorProto
from support.refusals import MLP, TOKENS, VECTORS, check, mlp_with
from support.small_models import build, node

import onnxattr.attributions as attributions
from onnxattr.errors import (
    FoldedLayerError,
    ModelError,
    OnnxAttrError,
    OperatorError,
    ParameterError,
    RuntimeMissingError,
)


def layer(name, index, output, path=None, folded=None):
    path = path or name
    return {
        "name": name, "index": index, "class": "Dense", "path": path, "output": output, "folded": folded, "relu": None,
        "can_be_kept": folded is not None,
    }  # fmt: skip


LAYERS = json.dumps({
    "version": 1,
    "layers": [
        layer("hidden", 0, "active"),
        layer("scaling", 1, None, folded="folded into 'out'; convert with keep_layers=['scaling']"),
        layer("twin", None, "hidden", "left/twin"),
        layer("twin", None, "active", "right/twin"),
        layer("out", 2, "logits"),
    ],
})  # fmt: skip
ROUNDED = build(
    [node("Cast", ["x"], ["i"], to=TensorProto.INT32), node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)],
    *VECTORS,
)


TABLE = mlp_with(layers=LAYERS)
WITHOUT_TABLE = mlp_with()
FOLDED = (
    "Layer 'scaling' is not in the converted model: folded into 'out'; convert with keep_layers=['scaling']"
)
PARAMETERS = {
    "steps 1": ("IntegratedGradients", {"steps": 1}, ParameterError, ["steps=1", "2"]),
    "steps 0": ("IntegratedGradients", {"steps": 0}, ParameterError, ["steps=0", "2"]),
    "steps 2.5": ("IntegratedGradients", {"steps": 2.5}, ParameterError, ["steps=2.5", "integer"]),
    "baseline NaN": ("IntegratedGradients", {"baseline_value": np.nan}, ParameterError, ["nan", "finite"]),
    "baseline text": ("IntegratedGradients", {"baseline_value": "0"}, ParameterError, ["'0'", "numbers"]),
    "ragged baseline": ("IntegratedGradients", {"baseline_value": [[0], 1]}, ParameterError, ["[[0], 1]", "numbers"]),
    "baseline shape": ("IntegratedGradients", {"baseline_value": np.ones(5)}, ParameterError, ["(5,)", "'x': (6,)"]),
    "baseline of a batch": (
        "IntegratedGradients", {"baseline_value": np.ones((3, 2, 6))}, ParameterError, ["(3, 2, 6)", "one sample"]
    ),
    "negative noise": ("SmoothGrad", {"noise": -0.1}, ParameterError, ["noise=-0.1", "not negative"]),
    "infinite noise": ("SquareGrad", {"noise": np.inf}, ParameterError, ["noise=inf", "finite"]),
    "noise text": ("VarGrad", {"noise": "0.2"}, ParameterError, ["'0.2'", "finite number"]),
    "no samples": ("SmoothGrad", {"nb_samples": 0}, ParameterError, ["nb_samples=0", "from 1 on"]),
    "one sample": ("VarGrad", {"nb_samples": 1}, ParameterError, ["nb_samples=1", "from 2 on"]),
    "half a sample": ("SquareGrad", {"nb_samples": 1.5}, ParameterError, ["nb_samples=1.5", "integer"]),
    "seed -1": ("SmoothGrad", {"seed": -1}, ParameterError, ["seed=-1", "0 to 2147483646"]),
    "large seed": ("SmoothGrad", {"seed": 2**31 - 1}, ParameterError, ["seed=2147483647", "0 to 2147483646"]),
    "seed None": ("SmoothGrad", {"seed": None}, ParameterError, ["seed=None", "integer"]),
    "seed 1.5": ("SmoothGrad", {"seed": 1.5}, ParameterError, ["seed=1.5", "integer"]),
    "unknown reducer": ("Saliency", {"reducer": "l3"}, ParameterError, ["'l3'", "'mean'"]),
    "unknown operator": ("Saliency", {"operator": "detection"}, ParameterError, ["'detection'", "'classification'"]),
    "operator function": ("Saliency", {"operator": sum}, OperatorError, ["sum", "operator(f, x, y)"]),
    "unknown option": ("Saliency", {"stepz": 3}, ParameterError, ["Saliency", "stepz", "providers"]),
    "another method's parameter": ("DeconvNet", {"steps": 3}, ParameterError, ["DeconvNet", "steps", "providers"]),
    "misspelt own parameter": ("IntegratedGradients", {"step": 3}, ParameterError, ["'step'", "steps", "seed"]),
    "batch_size 0": ("Saliency", {"batch_size": 0}, ParameterError, ["batch_size=0", "from 1 on"]),
    "batch_size 2.5": ("Saliency", {"batch_size": 2.5}, ParameterError, ["batch_size=2.5", "integer"]),
    "batch_size True": ("Saliency", {"batch_size": True}, ParameterError, ["batch_size=True", "integer"]),
    "unknown policy": ("DeconvNet", {"relu_policy": "some"}, ParameterError, ["'some'", "'all'"]),
    "policy without table": ("DeconvNet", {"relu_policy": "xplique"}, ModelError, ["layer table", "Convert", "'all'"]),
    "channel axis": ("Saliency", {"channel_axis": 4}, ParameterError, ["channel_axis=4", "1, 2 or 3"]),
    "channel axis text": ("Saliency", {"channel_axis": "last"}, ParameterError, ["'last'", "1, 2 or 3"]),
    "missing provider": ("Saliency", {"providers": ["TPUExecutionProvider"]}, RuntimeMissingError,
                         ["TPUExecutionProvider", "CPUExecutionProvider"]),
    "no provider": ("Saliency", {"providers": []}, ParameterError, ["providers=[]", "None"]),
    "provider text": ("Saliency", {"providers": "CPU"}, ParameterError, ["'CPU'", "sequence", "None"]),
    "provider number": ("Saliency", {"providers": [3]}, ParameterError, ["[3]", "names"]),
    "unknown wrt": ("Saliency", {"wrt": "pixels"}, ModelError, ["'pixels'", "['x']", "inspect"]),
    "empty wrt": ("Saliency", {"wrt": ()}, ParameterError, ["wrt=()", "name"]),
    "wrt fraction": ("Saliency", {"wrt": 0.5}, ParameterError, ["wrt=0.5", "name"]),
    "wrt index": ("Saliency", {"wrt": 3}, ModelError, ["wrt=3", "0 to 2"]),
    "wrt twice": ("Saliency", {"wrt": ("x", "x")}, ParameterError, ["('x', 'x')", "once"]),
    "wrt after the score": ("Saliency", {"wrt": "logits", "output_layer": "active"}, ModelError, ["logits", "inspect"]),
    "wrt is the score": ("Saliency", {"wrt": "logits"}, ModelError, ["'logits'", "explained output"]),
    "wrt beside the score": ("Saliency", {"wrt": "w1"}, ModelError, ["'w1'", "weight"]),
    "unknown layer": ("Saliency", {"output_layer": "lodgits"}, ModelError, ["'lodgits'", "hidden", "out", "inspect"]),
    "folded layer": ("Saliency", {"output_layer": "scaling"}, FoldedLayerError, [FOLDED]),
    "folded index": ("Saliency", {"output_layer": 1}, FoldedLayerError, [FOLDED]),
    "layer index": ("Saliency", {"output_layer": 3}, ModelError, ["output_layer=3", "0 to 2"]),
    "negative layer index": ("Saliency", {"output_layer": -4}, ModelError, ["output_layer=-4", "0 to 2"]),
    "ambiguous layer": ("Saliency", {"output_layer": "twin"}, ModelError, ["'twin'", "left/twin", "right/twin"]),
    "layer 1.5": ("Saliency", {"output_layer": 1.5}, ParameterError, ["output_layer=1.5", "name", "index"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters(case, nothing_runs):
    method, options, expected, fragments = PARAMETERS[case]
    with pytest.raises(OnnxAttrError) as error:
        getattr(attributions, method)(WITHOUT_TABLE if "without table" in case else TABLE, **options)
    check(error, expected, fragments)


ELSEWHERE = {
    "layer index without table": (
        {"output_layer": -2}, MLP.model, ModelError, ["output_layer=-2", "no layer table", "name"]
    ),
    "integer value as layer": (
        {"output_layer": "i"}, ROUNDED, ModelError, ["'i'", "INT32", "only float"]
    ),
    "integer wrt": ({"wrt": "tokens"}, TOKENS.model, ModelError, ["'tokens'", "INT64", "embedded"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_parameters_that_do_not_fit_the_model(case, nothing_runs):
    options, model, expected, fragments = ELSEWHERE[case]
    with pytest.raises(OnnxAttrError) as error:
        attributions.Saliency(model, **options)
    check(error, expected, fragments)
