"""The generator of the noise: its formula in NumPy, runtimes that compute less exactly, and the one before it."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from support.small_models import elementwise, mlp

import onnxattr
from onnxattr.attributions import IntegratedGradients, SmoothGrad
from onnxattr.compile.clean_up import finish
from onnxattr.compile.hashing import PAIRS, PRIME, SEEDS, elements, row_keys
from onnxattr.compile.noise import draw_noise, normal_like
from onnxattr.graph.builder import OpBuilder
from onnxattr.inspection import inspect
from onnxattr.session import Session

OLD = Path(__file__).parents[1] / "golden" / "noise_1.onnx"
INT64 = ir.DataType.INT64


def step(x, y, k=0):
    return (x * x + y + k) % PRIME, x


def constant(number):
    """The binary digits 1 to 40 of the square root of a number, and those before them."""
    low, high = 0, 2**60
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle * middle <= (number + 2) * 2**80 else (low, middle)
    return low % PRIME


def numpy_keys(seed, sample, draw, purpose):
    seed, s, d = seed % SEEDS, np.asarray(sample)[:, None], np.asarray(draw)[:, None] + 1
    low, high = purpose % PRIME, purpose // PRIME
    start = [(constant(10) + low + 2 * high) % PRIME, (constant(11) + 3 * low + 5 * high) % PRIME]
    x, y = step(np.full((1, 2), seed % PRIME), np.array([start]), seed // PRIME % PRIME)
    for k in (seed // PAIRS, s % PRIME, d % PRIME, s // PRIME, d // PRIME, s // PAIRS, 0):
        x, y = step(x, y, k)
    return np.concatenate([x, y], axis=1)


def numpy_elements(count, keys, start=0):
    counter = np.arange(start, count)[None]
    x, y = step(counter % PRIME, counter // PRIME, constant(0))
    x, y = step(x, y, counter // PAIRS)
    x, y = step(x, y, constant(2))
    y, x = x, step(x - keys[:, :1], y, keys[:, 1:2])[0]
    for word in (2, 3):
        x, y = step(x, y, keys[:, word : word + 1])
    return x * PRIME + y


def numpy_normal(count, keys):
    half = (count + 1) // 2
    u = (numpy_elements(2 * half, keys) + 1) / PAIRS
    radius, angle = np.sqrt(-2 * np.log(u[:, :half])), 2 * np.pi * u[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]


@pytest.mark.parametrize("position", [0, 3])
@pytest.mark.parametrize("shape", [(5, 7, 11), (1, 20001), (300, 1)])
@pytest.mark.parametrize("seed", [0, 7, 2**24 + 1, SEEDS - 1])
def test_numpy_draws_the_same(seed, shape, position):
    drawn = draw_noise(seed, shape, 9, first_row=4090, position=position)
    draw, row = np.divmod(np.arange(9 * shape[0]), shape[0])
    count = int(np.prod(shape[1:]))
    expected = numpy_normal(count, numpy_keys(seed, row + 4090, draw, 7 + position))
    np.testing.assert_allclose(drawn.reshape(-1, count), expected, rtol=0, atol=4e-6)


def generator(few):
    """seed (), sample (R,), draw (R,), count () -> the integers of each row."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="generator")
    op = OpBuilder(graph, 18)
    seed, count = op.input("seed", INT64, []), op.input("count", INT64, [])
    sample, draw = (op.input(name, INT64, ["R"]) for name in ("sample", "draw"))
    graph.outputs.append(elements(op, count, row_keys(op, seed, sample, draw, 7), few))
    return finish(ir.Model(graph, ir_version=8))


FEW, ANY = generator(True), generator(False)


def integers(sample, draw, count, model=ANY, seed=7):
    feeds = {"seed": seed, "count": count, "sample": sample, "draw": draw}
    return Session(model).run({name: np.asarray(value, np.int64) for name, value in feeds.items()})[0]


#: Samples and draws of any size: counters of long streams, of tunnels, and the draw of a row that uses none.
SAMPLES, DRAWS = [0, 1, PRIME, PAIRS, 5 * 10**9, 2], [-1, 0, PRIME, 16_000_000, 1, 4]


@pytest.mark.parametrize("model", [FEW, ANY], ids=["few elements", "any number"])
def test_large_numbers_too(model):
    found = integers(SAMPLES, DRAWS, 5000, model, seed=2**31 - 3)
    np.testing.assert_array_equal(found, numpy_elements(5000, numpy_keys(2**31 - 3, SAMPLES, DRAWS, 7)))


def test_more_elements_than_pairs_of_residues():
    last = integers([3], [0], PAIRS + 5)[0, -5:]
    expected = numpy_elements(PAIRS + 5, numpy_keys(7, [3], [0], 7), PAIRS)
    np.testing.assert_array_equal(last, expected[0])
    assert (last != integers([3], [0], 5)[0]).all()


class Div(OpRun):
    """Integers divided in float32, as OpenVINO does."""

    def _run(self, a, b):
        if np.issubdtype(a.dtype, np.floating):
            return (a / b,)
        return (np.trunc(a.astype(np.float32) / b.astype(np.float32)).astype(a.dtype),)


@pytest.mark.parametrize("seed", [0, 7, 2**24 + 1, 2**31 - 130, SEEDS - 2, SEEDS - 1])
def test_division_of_integers_in_float32_gives_the_same(seed):
    """Other than integer division: products below 2^31, sums, differences and comparisons."""
    samples, draws = [0, 1, PRIME, 10**6], [0, 5, PRIME, 4 * 10**6]
    feeds = {"seed": seed, "count": 30001, "sample": samples, "draw": draws}
    model = ANY
    rough = ReferenceEvaluator(model, new_ops=[Div])
    (found,) = rough.run(None, {name: np.asarray(value, np.int64) for name, value in feeds.items()})
    np.testing.assert_array_equal(found, integers(samples, draws, 30001, seed=seed))
    kinds = {node.op_type for node in model.graph.node}
    assert kinds <= {"Add", "Cast", "Concat", "Div", "Less", "Mul", "Range", "Split", "Sub", "Unsqueeze"}


def test_no_integer_leaves_31_bits_and_none_that_is_divided_24():
    model = FEW
    integers_32 = [name for node in model.graph.node for name in node.output]
    values = ReferenceEvaluator(model, verbose=0).run(
        integers_32,
        {
            "seed": np.int64(SEEDS - 1),
            "count": np.int64(9000),
            "sample": np.arange(99),
            "draw": np.arange(99),
        },
    )
    for value in values:
        assert np.abs(value.astype(np.int64)).max() < 2**31
    by_name = dict(zip(integers_32, values, strict=True))
    divided = [
        by_name[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Div" and by_name.get(node.input[0]) is not None
    ]
    large = [value for value in divided if np.abs(value).max() >= 2**24]
    assert [value.size for value in large] == [1]  # the seed, whose quotient is mended


def test_keys_and_rows_do_not_repeat():
    """Of 4 million keys of 48 bits two are equal with a probability of 3 %."""
    rows = 2**22
    made = integers(np.arange(rows) // 50, np.arange(rows) % 50, 2).astype(np.int64)
    for values in ((made[:, 0] * PAIRS + made[:, 1]) % 2**62, integers([0], [0], 2**22)[0]):
        assert values.shape == (rows,)
        ordered = np.sort(values)
        assert (ordered[1:] != ordered[:-1]).all()


@pytest.mark.parametrize("lag", [1, 2, 63, 64, 150, PRIME, PRIME + 1, 2**16])
def test_pairs_of_integers_fill_the_square(lag):
    """The chi-squared statistic of 64 x 64 cells, by the leading and by the last bits."""
    made = integers(np.arange(32), np.arange(32) % 3, 2**17)
    for bits in (made // (PAIRS // 64 + 1), made % PRIME % 64):
        cells = np.bincount((bits[:, lag:] * 64 + bits[:, :-lag]).ravel(), minlength=4096).reshape(64, 64)
        expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / cells.sum()
        chi = ((cells - expected) ** 2 / expected).sum()
        assert abs(chi - 63**2) < 5 * np.sqrt(2 * 63**2)


def test_the_graph_has_no_sine_and_no_64_bit_arithmetic_on_elements():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="noise")
    op = OpBuilder(graph, 18)
    like = op.input("like", ir.DataType.FLOAT, ["R", 4, 5])
    sample, draw = (op.input(name, INT64, ["R"]) for name in ("sample", "draw"))
    graph.outputs.append(normal_like(op, like, op.input("seed", INT64, []), sample, draw))
    assert not {node.op_type for node in graph} & {"Sin", "Cos", "Mod", "ReduceProd", "RandomNormalLike"}
    wide = [v for node in graph for v in node.outputs if v.dtype == INT64 and v.shape is not None]
    assert all(len(v.shape) < 2 or v.shape[1] == 1 for v in wide)


def test_the_file_tells_the_version(tmp_path):
    for method, version in (
        (SmoothGrad(mlp().model, nb_samples=2), 2),
        (IntegratedGradients(mlp().model), None),
    ):
        method.export(tmp_path / "e.onnx")
        (entry,) = (e for e in onnx.load(tmp_path / "e.onnx").metadata_props if e.key == "onnxattr.explainer")
        assert json.loads(entry.value)["noise"] == version


def test_a_file_with_the_first_generator_explains_with_it():
    """The numbers are those of ``SmoothGrad(y = x^3, nb_samples=4, noise=0.5, seed=7)`` when the file was written."""
    explainer = onnxattr.load(OLD, seed=7)
    assert explainer.metadata["noise"] == 1
    assert "SmoothGrad" in inspect(OLD)
    x = np.array([[1, 2, 3], [0, -1, 0.5]], np.float32)
    expected = [[1.9339516, 0, 0], [0, 0, 2.596359]]
    np.testing.assert_allclose(explainer.explain(x, [0, 2]), expected, rtol=1e-6)
    now = SmoothGrad(elementwise([3]), nb_samples=4, noise=0.5, seed=7).explain(x, np.eye(3)[[0, 2]])
    assert np.abs(now - expected).max() > 0.1
