"""What pictures make of masked arrays, of what is no number, of bytes in other types, and of marks that do not fit."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from onnxattr import plots
from onnxattr.errors import ShapeError
from onnxattr.plots.images import displayable
from onnxattr.plots.tokens import tokens_html

PHOTOS = np.random.default_rng(0).random((3, 8, 10, 3))
MASKED = np.ma.array([[1.0, 2.0], [-3.0, 4.0]], mask=[[False, True], [False, False]])


def test_what_a_mask_hides_is_no_number():
    shown = plots.grid([np.ones((2, 2, 3))], {"M": [MASKED]}, title="t")
    np.testing.assert_array_equal(np.ma.getmaskarray(shown.axes[1].images[-1].get_array()), MASKED.mask)
    bars = plots.bars(["a", "b"], MASKED[0], title="t")
    assert [bar.get_width() for bar in next(ax for ax in bars.axes if ax.patches).patches] == [0, 1]
    spans = tokens_html([["a", "b"]], [MASKED[0]])[0]
    assert spans.count('title="nan"') == 1
    assert plots.color_limits(MASKED) == plots.color_limits(np.array([1.0, -3.0, 4.0]))


@pytest.mark.parametrize("given", [np.array([1j, 2]), np.array(["a", "b"]), np.array([None, "x"])])
def test_what_is_no_number_is_refused(given):
    for draw in (
        lambda: plots.heatmap(Figure().add_subplot(), given[None]),
        lambda: plots.bars(["a", "b"], given, title="t"),
        lambda: plots.summary(["a", "b"], given[None], title="t"),
        lambda: plots.strips([given], [given], title="t"),
        lambda: plots.tokens([["a", "b"]], [given], title="t"),
        lambda: plots.plot_feature_impact(given),
    ):
        with pytest.raises(ShapeError, match="no array of real numbers"):
            draw()


def test_masks_of_another_size_lie_over_the_whole_image():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True
    for size in ((4, 5), (8, 10), (32, 20)):
        figure = plots.grid(
            [np.ones((*size, 3))], {"M": [np.ones(size)]}, title="t", marks=plots.Marks([mask])
        )
        for ax in [ax for ax in figure.axes if ax.images]:
            lines = np.concatenate([path.vertices for part in ax.collections for path in part.get_paths()])
            share = np.array(size[::-1]) / (5, 4)
            # Contours go half-way between the places of two elements.
            np.testing.assert_allclose(lines.min(axis=0), (2, 1) * share - 0.5)
            np.testing.assert_allclose(lines.max(axis=0), (4, 3) * share - 0.5)
            assert (*ax.get_xlim(), *ax.get_ylim()) == (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"masks": [np.ones((8, 10))] * 2}, "masks for 2 images, and 3"),
        ({"masks": np.ones((3, 8, 10, 1))}, r"a mask has shape \(8, 10, 1\)"),
        ({"boxes": [[(1, 2, 3, 4)]]}, "boxes for 1 images, and 3"),
        ({"boxes": [(1, 2, 3, 4)] * 3}, r"boxes of an image have shape \(4,\)"),
        ({"boxes": [[(1, 2, 3)]] * 3}, r"boxes of an image have shape \(1, 3\)"),
        ({"boxes": [[], [], [(5, 5, 2, 2)]]}, r"the box \[5.0, 5.0, 2.0, 2.0\] is none"),
        ({"boxes": [[], [], [(np.nan, 5, 2, 2)]]}, "is none"),
        ({"labels": [["a"]]}, "labels for 1 images, and 3"),
    ],
)
def test_marks_that_do_not_fit(marks, message):
    with pytest.raises(ShapeError, match=message):
        plots.grid(PHOTOS, {"M": np.ones((3, 8, 10))}, title="t", marks=plots.Marks(**marks))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float16, np.float32])
def test_bytes_look_alike_in_every_type(dtype):
    photo = np.resize(np.array([7, 40, 120], dtype), (6, 5, 3))
    np.testing.assert_allclose(displayable(photo), photo.astype(float) / 255)
