"""Attention with caches that have room left, or rows of different lengths, whose ends have no meaning."""

import numpy as np
import onnx_ir as ir
import pytest
from support.rule_cases import case, const, feed, x
from support.tiny_graphs import run

from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

NEW = (x(2, 1, 32), x(2, 1, 16), x(2, 1, 16))
#: Numbers of keys of the past, of each row up to the end, and of the longest row.
LENGTHS = {"a row shorter": (4, [3, 5], 5), "room left": (9, [4, 4], 4), "both": (9, [2, 5], 5)}


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_against_the_kernel(lengths, added):
    past, seen, longest = LENGTHS[lengths]
    operands = [*NEW, x(2, 2, past, 8), x(2, 2, past, 8), feed(np.array(seen) - 1, np.int32)]
    operands += [const(longest, np.int32), *[None] * 3, *([x(2, 4, 1, longest)] if added else [])]
    # Without its further outputs the kernel reads no past.
    row = case("com.microsoft::GroupQueryAttention", *operands, num_heads=4, kv_num_heads=2, outputs="fff")
    written, primal = ir.serde.serialize_model(load(row.model())), row.primal()
    check_vjp(written, row.feeds(), wrt=row.wrt(), outputs=["y0"], directions=2)
    results = run(written, **row.feeds())
    np.testing.assert_allclose(results["y0"], primal["y0"], rtol=0, atol=1e-6)
    for name in ("y1", "y2"):
        assert results[name].shape == primal[name].shape == (2, 2, max(past, longest), 8)
        for present, expected, count in zip(results[name], primal[name], seen, strict=True):
            np.testing.assert_array_equal(present[:, :count], expected[:, :count])
