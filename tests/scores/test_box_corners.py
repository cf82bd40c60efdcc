"""Boxes of other columns than corners are refused or said, as the score would be that of other boxes."""

import warnings

import numpy as np
import pytest
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput
from onnxattr.errors import TargetError
from onnxattr.metrics import AverageStability, Deletion, MuFidelity

MODEL = "m (float[N,9,7] x) => (float[N,9,7] y) { y = Identity(x) }"
#: Boxes of corners from 0 to 4, with a probability and two classes.
CORNERS = np.random.default_rng(0).uniform(0, 2, (2, 9, 7)).astype(np.float32)
CORNERS[..., 2:4] += CORNERS[..., :2]
CENTRES = np.concatenate(
    [(CORNERS[..., :2] + CORNERS[..., 2:4]) / 2, (CORNERS[..., 2:4] - CORNERS[..., :2]), CORNERS[..., 4:]], axis=-1
)  # fmt: skip
TURNED = CORNERS[:, :1, [2, 3, 0, 1, 4, 5, 6]]
REFERENCES = CORNERS[:, :2] + np.float32(0.1)
SAID = "of the 9 boxes that the model predicts have x2 < x1"
NAMES = [task.value for task in onnxattr.Tasks if "detection" in task.value]


@pytest.mark.parametrize("name", NAMES)
def test_reference_boxes_have_a_size(name, tmp_path):
    method = GradientInput(parse(MODEL), operator=name)
    method.export(tmp_path / "e.onnx")
    for one in (method, onnxattr.load(tmp_path / "e.onnx")):
        for boxes in (TURNED, TURNED[:, 0]):
            with pytest.raises(TargetError, match=r"Reference box 0 of sample 0 is \(.*docs/scores.md"):
                one.explain(CORNERS, boxes)
        padded = np.concatenate([REFERENCES, np.zeros_like(REFERENCES)], axis=1)
        np.testing.assert_allclose(one.explain(CORNERS, padded), one.explain(CORNERS, REFERENCES), rtol=1e-6)


@pytest.mark.parametrize("opened", [False, True], ids=["method", "opened file"])
@pytest.mark.parametrize("name", NAMES)
def test_predicted_boxes_that_are_no_corners_are_said_once(name, opened, tmp_path):
    def made():
        method = GradientInput(parse(MODEL), operator=name)
        if not opened:
            return method
        method.export(tmp_path / "e.onnx")
        return onnxattr.load(tmp_path / "e.onnx")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().explain(CORNERS, REFERENCES)
    method = made()
    with pytest.warns(UserWarning, match=SAID) as said:
        maps = [method.explain(CENTRES, REFERENCES) for _ in range(2)]
    assert (maps[0] == maps[1]).all()
    assert len(said) == 1
    assert said[0].filename == __file__


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "boxes", [np.zeros((2, 0, 7)), np.zeros((2, 3, 7)), np.zeros((2, 7)), REFERENCES * [[[1]], [[0]]]]
)
def test_samples_without_a_reference_box_are_said(boxes, name, tmp_path):
    method = GradientInput(parse(MODEL), operator=name)
    method.export(tmp_path / "e.onnx")
    first = int(boxes[:1].any())
    for one in (method, onnxattr.load(tmp_path / "e.onnx")):
        with pytest.warns(
            UserWarning, match=f"{2 - first} of 2 samples have no .* sample {first} is the first"
        ) as said:
            assert not one.explain(CORNERS, boxes.astype(np.float32))[first:].any()
        assert [each.filename for each in said] == [__file__]


@pytest.mark.parametrize("metric", [Deletion, MuFidelity, AverageStability])
def test_a_metric_says_it_too(metric):
    with pytest.warns(UserWarning, match=SAID) as said:
        metric(parse(MODEL), CENTRES, REFERENCES, operator=NAMES[0])
    assert [one.filename for one in said] == [__file__]


def test_an_output_of_columns_in_front_is_said():
    with pytest.raises(TargetError, match=r"last axis is read as x1, y1, .*\(N, columns, boxes\)"):
        GradientInput(parse(MODEL), operator="object detection").explain(CORNERS, np.ones((2, 1, 9)))
