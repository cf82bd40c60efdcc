"""Models that give texts beside their scores, as the names of classes are."""

import numpy as np
import pytest
from onnx import parser

from onnxattr import GradientInput
from onnxattr.inspection import inspect

BEST = "i = ArgMax<axis = 1, keepdims = 0>(y) names = Constant<value_strings = ['a', 'b', 'c']>() "
CASES = {
    "names looked up by Gather": BEST + "t = Gather(names, i)",
    "names looked up by ArrayFeatureExtractor": BEST + "t = ai.onnx.ml.ArrayFeatureExtractor(names, i)",
    "names by code": BEST
    + "t = ai.onnx.ml.LabelEncoder<keys_int64s = [0, 1, 2], values_strings = ['a', 'b', 'c']>(i)",
    "a number as text": BEST + "t = Cast<to = 8>(i)",
    "a choice": "z = Constant<value = float {0}>() c = Greater(y, z) a = Constant<value_string = 'up'>() "
    "b = Constant<value_string = 'down'>() t = Where(c, a, b)",
}


@pytest.mark.parametrize("case", CASES)
def test_texts_change_nothing(case):
    body = CASES[case].replace("'", '"')
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]> g (float[N,3] x) => (float[N,3] y, string t) '
        f"{{ y = Sin(x) {body} }}"
    )
    for value in model.graph.output[1:]:
        value.type.tensor_type.ClearField("shape")
    assert "t: string" in inspect(model)
    x = np.array([[0.1, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(GradientInput(model).explain(x, [1]), [[0, 0.2 * np.cos(0.2), 0]], rtol=1e-5)
