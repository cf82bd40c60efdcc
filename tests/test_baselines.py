"""Where paths start: every kind of baseline, in every rendering, against closed forms in float64."""

import numpy as np
import onnx
import pytest
from scipy.ndimage import gaussian_filter
from support.row_models import COMPUTED, inputs, model, weights
from support.small_models import SMALL, build, elementwise, embedding, mlp, node, rows, series

import onnxattr
from onnxattr import IntegratedGradients
from onnxattr.errors import NonFiniteWarning, OnnxAttrError, ParameterError, ShapeError

SIGMA = 1.5
IMAGE, SERIES, TABLE = (5, 6, 3), (7, 2), (6,)
X = {shape: rows(3, *shape).astype(np.float64) for shape in (IMAGE, SERIES, TABLE)}
OTHER = {shape: rows(4, *shape) for shape in X}
SPACE = {IMAGE: (1, 2), SERIES: (1,), TABLE: (1,)}


def blurred(x, sigma=SIGMA):
    space = SPACE[x.shape[1:]]
    return gaussian_filter(x, [sigma if axis in space else 0 for axis in range(x.ndim)])


def mean(x):
    return x.mean(SPACE[x.shape[1:]], keepdims=True) + 0 * x


def cubic(x, b):
    """f = x^3: with two points Integrated Gradients is (x - b) (3 x^2 + 3 b^2) / 2."""
    return (x - b) * 1.5 * (x**2 + b**2)


#: By name: what is given for x, and the baseline that is meant, which broadcasts to x.
KINDS = {
    "number": lambda x: (0.5, 0.5),
    "list of numbers": lambda x: ([0.5] * x.shape[-1], 0.5),
    "one sample": lambda x: (OTHER[x.shape[1:]][0], OTHER[x.shape[1:]][:1]),
    "last axis": lambda x: (OTHER[x.shape[1:]][0].reshape(-1, x.shape[-1])[0],) * 2,
    "axes of 1": lambda x: (OTHER[x.shape[1:]][0][..., :1],) * 2,
    "row for each sample": lambda x: (OTHER[x.shape[1:]],) * 2,
    "one row": lambda x: (OTHER[x.shape[1:]][:1],) * 2,
    "rows with axes of 1": lambda x: (OTHER[x.shape[1:]].sum(tuple(range(1, x.ndim)), keepdims=True),) * 2,
    "blur": lambda x: ("blur", blurred(x)),
    "mean": lambda x: ("mean", mean(x)),
    "function": lambda x: (lambda given: np.flip(given, 1), np.flip(x, 1)),
    "function to one sample": lambda x: (lambda given: given.mean(0), x.mean(0)),
    "function to a number": lambda x: (lambda given: 0.25, 0.25),
    "tuple": lambda x: ((OTHER[x.shape[1:]],), OTHER[x.shape[1:]]),
    "dict": lambda x: ({"x": "mean"}, mean(x)),
}
IN_THE_FILE = {
    "number",
    "list of numbers",
    "one sample",
    "last axis",
    "axes of 1",
    "one row",
    "blur",
    "mean",
    "dict",
}
SHAPED = [(kind, shape) for kind in KINDS for shape in X]


def make(shape, **options):
    return IntegratedGradients(elementwise(shape), steps=2, reducer=None, sigma=SIGMA, **options)


def close(found, expected, tolerance=3e-6):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "shape"), SHAPED)
def test_every_kind_is_where_paths_start(kind, shape):
    x = X[shape]
    given, b = KINDS[kind](x)
    for size in (1, 4, None):
        close(make(shape, baseline_value=given, batch_size=size).explain(x, np.ones_like(x)), cubic(x, b))
    method = make(shape)
    expected = cubic(x, b)
    close(method.explain(x, np.ones_like(x), baselines=given), expected)
    delta = method.convergence_delta(x, np.ones_like(x), baselines=given)
    gap = (expected - (x**3 - b**3)).reshape(3, -1).sum(1)
    np.testing.assert_allclose(delta, gap, rtol=0, atol=1e-5 * np.abs(expected).sum())
    close(method.explain(x, np.ones_like(x)), cubic(x, 0.0))  # for that call alone


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize(("kind", "shape"), SHAPED)
def test_every_kind_in_files(kind, shape, rendering, tmp_path):
    x, path = X[shape], tmp_path / "e.onnx"
    given, b = KINDS[kind](x)
    method = make(shape, baseline_value=given, batch_size=4)
    if kind in IN_THE_FILE:
        method.export(path, rendering, target="weights")
        close(onnxattr.load(path).explain(x, np.ones_like(x)), cubic(x, b))
        return
    with pytest.raises(ParameterError, match="baseline_input=True"):
        method.export(path, rendering, target="weights")
    method.export(path, rendering, target="weights", baseline_input=True)
    if not callable(given):
        close(onnxattr.load(path, baseline=given).explain(x, np.ones_like(x)), cubic(x, b))
        close(onnxattr.load(path).explain(x, np.ones_like(x), baselines=given), cubic(x, b))


UNIFORM = build([node("Add", ["x", "x"], ["y"])], {"x": ["N", *IMAGE]}, {"y": ["N", *IMAGE]})


def drawn(x, **options):
    """The baseline, from f = 2 x, whose attribution is 2 (x - b)."""
    method = IntegratedGradients(UNIFORM, steps=2, reducer=None, baseline_value="uniform", **options)
    return x - method.explain(x, np.ones_like(x)) / 2


def test_uniform_noise_has_the_range_of_its_sample():
    x = (
        np.concatenate([rows(seed, *IMAGE) for seed in range(40)])
        * np.linspace(1, 50, 120)[:, None, None, None]
    )
    low, high = (edge(x, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    share = (drawn(x, seed=3) - low) / (high - low)
    assert -1e-4 < share.min() < 1e-3 < 1 - 1e-3 < share.max() < 1 + 1e-4
    counts, _ = np.histogram(share, 10, (0, 1))
    assert np.abs(counts - share.size / 10).max() < 5 * np.sqrt(share.size / 10)
    per_sample = share.reshape(len(x), -1)
    assert np.abs(np.corrcoef(per_sample)[~np.eye(len(x), dtype=bool)]).max() < 0.5  # samples are drawn apart


def test_uniform_noise_is_the_seed_s_in_every_rendering(tmp_path):
    x = rows(1, *IMAGE)
    expected = drawn(x, seed=7)
    assert np.abs(drawn(x, seed=8) - expected).max() > 0.1
    for size in (1, 4, None):
        np.testing.assert_allclose(drawn(x, seed=7, batch_size=size), expected, atol=1e-5)
    parts = IntegratedGradients(UNIFORM, steps=2, reducer=None, baseline_value="uniform", seed=7)
    dataset = [(x[:1], np.ones_like(x[:1])), (x[1:], np.ones_like(x[1:]))]
    np.testing.assert_allclose(x - parts.explain(iter(dataset)) / 2, expected, atol=1e-5)
    for rendering in ("batch", "loop"):
        parts.export(tmp_path / "e.onnx", rendering)
        found = onnxattr.load(tmp_path / "e.onnx", seed=7).explain(x, np.ones_like(x))
        np.testing.assert_allclose(x - found / 2, expected, atol=1e-5)


SMALLS = {"series": series, "channels first": SMALL["cnn_nchw"], "two inputs": SMALL["two_inputs"]}


def scipy_blur(name, x, sigma):
    """SciPy's blur along the axes of space of each input."""
    space = {"series": (1,), "image": (2, 3), "features": (1,)}[name]
    return gaussian_filter(x.astype(np.float64), [sigma if axis in space else 0 for axis in range(x.ndim)])


@pytest.mark.parametrize("sigma", [0.6, 3, 40])
@pytest.mark.parametrize("case", SMALLS)
def test_blur_is_scipy_s_on_networks(case, sigma):
    """Edges are mirrored, several times where the kernel is longer than the sample."""
    small = SMALLS[case]()
    blur = {name: scipy_blur(name, array, sigma) for name, array in small.inputs.items()}
    method = IntegratedGradients(small.model, steps=5, reducer=None, sigma=sigma)
    found = method.explain(small.inputs, [0, 2, 1], baselines="blur")
    expected = method.explain(small.inputs, [0, 2, 1], baselines=blur)
    for name in found if isinstance(found, dict) else ():
        close(found[name], expected[name])
    if not isinstance(found, dict):
        close(found, expected)


def test_open_sizes(tmp_path):
    """The matrices of a blur are made for the sizes that come."""
    x = rows(1, 9, 4).astype(np.float64)
    proto = elementwise(["T", 4])
    method = IntegratedGradients(
        proto, steps=2, reducer=None, sigma=SIGMA, baseline_value="blur", batch_size=3
    )
    method.export(tmp_path / "e.onnx", "loop")
    for part in (x, x[:, :3], x[:, :2]):
        b = gaussian_filter(part, [0, SIGMA, 0])
        close(method.explain(part, np.ones_like(part)), cubic(part, b))
        close(onnxattr.load(tmp_path / "e.onnx").explain(part, np.ones_like(part)), cubic(part, b))
        close(method.explain(part, np.ones_like(part), baselines=part[0, 0]), cubic(part, part[0, 0]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 2e-2), (np.float64, 1e-6)])
@pytest.mark.parametrize("kind", ["blur", "mean", "row for each sample", "function"])
def test_other_dtypes(kind, dtype, tolerance):
    x = X[SERIES].astype(dtype).astype(np.float64)
    given, b = KINDS[kind](x)
    method = IntegratedGradients(elementwise(SERIES, dtype), steps=2, sigma=SIGMA)
    close(method.explain(x, np.ones_like(x), baselines=given), cubic(x, b), tolerance)


@pytest.mark.parametrize("name", ["blur", "mean", "uniform"])
def test_missing_values_have_no_part_in_baselines(name):
    """y = Where(IsNaN(x), 0, x)^2: the gaps stay gaps on the path, and count as the mean of the others in a blur."""
    nodes = [
        node("IsNaN", ["x"], ["gone"]),
        node("Where", ["gone", "zero", "x"], ["z"]),
        node("Mul", ["z", "z"], ["y"]),
    ]
    proto = build(nodes, {"x": ["N", *SERIES]}, {"y": ["N", *SERIES]}, {"zero": np.float32(0)})
    x = rows(1, *SERIES)
    x[0, 2, 1] = x[1, :, 0] = np.nan
    method = IntegratedGradients(proto, steps=2, reducer=None, sigma=SIGMA)
    maps = method.explain(x, np.ones_like(x), baselines=name)
    assert (maps[np.isnan(x)] == 0).all()
    means = np.nan_to_num(
        np.nanmean(np.where(np.isnan(x).all(1, keepdims=True), 0, x), axis=1, keepdims=True)
    )
    filled = np.where(np.isnan(x), means, x).astype(np.float64)
    if name != "uniform":
        b = blurred(filled) if name == "blur" else means
        close(maps, np.where(np.isnan(x), 0, x**2 - b**2))
    low, high = (edge(x, axis=(1, 2), keepdims=True) for edge in (np.nanmin, np.nanmax))
    b2 = np.where(np.isnan(x), 0, x**2 - maps)
    assert (b2 <= np.maximum(low**2, high**2) + 1e-5).all()


def test_a_padding_token_at_the_embedding():
    case = embedding()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in case.model.graph.initializer}
    table, w = weights["table"].astype(np.float64), weights["w"].astype(np.float64)
    method = IntegratedGradients(case.model, wrt="embedded", steps=300)
    found = method.explain(case.given, [0, 2, 1], baselines=weights["table"][0])
    full = IntegratedGradients(
        case.model, wrt="embedded", steps=300, baseline_value=np.tile(weights["table"][0], (7, 1))
    )
    close(found, full.explain(case.given, [0, 2, 1]))
    x, alphas = table[case.given], np.linspace(0, 1, 300)
    slope = 1 - np.tanh(table[0] + alphas[:, None, None, None] * (x - table[0])) ** 2
    integral = (slope[1:] + slope[:-1]).sum(0) / 2 / 299
    close(found, (x - table[0]) * integral * w.T[[0, 2, 1]][:, None] / 7)
    assert np.abs(found[case.given == 0]).max(initial=0) == 0


def test_several_inputs_by_name_and_in_order():
    small = SMALL["two_inputs"]()
    image, features = small.inputs["image"], small.inputs["features"]
    method, labels = IntegratedGradients(small.model, steps=4, reducer=None), [0, 2, 1]
    expected = method.explain(
        small.inputs, labels, baselines=(np.full_like(image, 0.5), np.zeros_like(features))
    )
    ways = [
        {"image": 0.5}, {"image": np.full((1, 1), 0.5), "features": 0}, (0.5, 0.0),
        {"image": lambda given: 0 * given["image"] + 0.5}, lambda given: (0 * given["image"] + 0.5, 0.0),
        lambda given: {"image": 0.5, "features": given["features"] * 0},
    ]  # fmt: skip
    for way in ways:
        found = method.explain(small.inputs, labels, baselines=way)
        own = IntegratedGradients(small.model, steps=4, reducer=None, baseline_value=way).explain(
            small.inputs, labels
        )
        for name in expected:
            close(found[name], expected[name])
            close(own[name], expected[name])


def test_rows_of_baselines_follow_a_dataset():
    x, b = X[TABLE], OTHER[TABLE]
    pairs = [(x[:2], np.ones((2, 6))), (x[2:], np.ones((1, 6)))]
    method = make(TABLE)
    close(method.explain(iter(pairs), baselines=b), cubic(x, b))
    close(method.explain(iter(pairs), baselines=lambda given: given[:, ::-1]), cubic(x, x[:, ::-1]))
    for wrong in (np.concatenate([b, b]), b[:2]):
        with pytest.raises(ShapeError, match=f"{len(wrong)} rows; expected 1 or 3"):
            method.explain(iter(pairs), baselines=wrong)


def test_named_columns():
    pandas = pytest.importorskip("pandas")
    names = ["a", "b", "c", "d", "e", "f"]
    proto = elementwise(TABLE)
    proto.metadata_props.add(key="onnxattr.features", value=f'{{"x": {names}}}'.replace("'", '"'))
    x, b = X[TABLE], OTHER[TABLE]
    method = IntegratedGradients(proto, steps=2)
    frame = pandas.DataFrame(b, columns=names)[names[::-1]]
    close(method.explain(x, np.ones_like(x), baselines=frame), cubic(x, b))
    close(method.explain(x, np.ones_like(x), baselines=frame.iloc[1]), cubic(x, b[1]))
    close(IntegratedGradients(proto, steps=2, baseline_value=frame).explain(x, np.ones_like(x)), cubic(x, b))
    for name in ("blur", "mean"):
        with pytest.raises(ParameterError, match=r"a table.*background="):
            IntegratedGradients(proto, baseline_value=name)


@pytest.mark.filterwarnings("ignore:The samples of a batch are not")
@pytest.mark.parametrize("name", list(COMPUTED)[:3])
def test_models_whose_first_axis_is_no_batch(name, tmp_path):
    x, proto = inputs(name), model(name)
    target = weights(name, x)
    method = IntegratedGradients(proto, steps=4, reducer=None)
    half = IntegratedGradients(proto, steps=4, reducer=None, baseline_value=x / 2).explain(x, target)
    for given in (x / 2, x[None] / 2, lambda given: given / 2):
        close(method.explain(x, target, baselines=given), half)
    method.export(tmp_path / "e.onnx", target="weights", baseline_input=True)
    close(onnxattr.load(tmp_path / "e.onnx", baseline=x / 2).explain(x, target), half)
    means = method.explain(x, target, baselines="mean")
    axes = tuple(range(max(1, x.ndim - 1)))
    close(means, method.explain(x, target, baselines=x.mean(axes, keepdims=True) + 0 * x))
    with pytest.raises(ShapeError, match="expected 1"):
        method.explain(x, target, baselines=np.stack([x, x]))


def test_a_baseline_without_a_finite_gradient_is_named():
    proto = build([node("Sqrt", ["x"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]})
    method = IntegratedGradients(proto, steps=3)
    for baseline in (-1.0, lambda x: -x):
        with pytest.warns(NonFiniteWarning, match="point 1 of 3"):
            method.explain([[1, 4]], np.ones((1, 2)), baselines=baseline)


X6 = mlp().given
WRONG = {
    "a colour's name": (
        {"baseline_value": "Black"},
        ["'Black': what number that is depends on how", "give the number"],
    ),
    "a name of zero": ({"baseline_value": "zeros"}, ["'zeros': give 0.0"]),
    "another name of noise": ({"baseline_value": "gaussian"}, ["'uniform' draws"]),
    "another name": ({"baseline_value": "black"}, ["'black'", "'blur'", "numbers"]),
    "two baselines": ({"baseline_value": [X6[0], X6[1]]}, ["2 baselines", "background="]),
    "a list of rows": ({"baseline_value": [0.0, 1.0]}, ["(2,)", "(6,)", "(N, 6)"]),
    "unknown input": ({"baseline_value": {"y": 0.0}}, ["['y']", "['x']"]),
    "no blur": ({"baseline_value": "blur", "sigma": 0}, ["sigma=0", "above 0"]),
    "None": ({"baseline_value": None}, ["None", "numbers"]),
    "infinite in a dict": ({"baseline_value": {"x": np.inf}}, ["baseline_value['x']", "finite"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_baseline(case):
    options, fragments = WRONG[case]
    with pytest.raises(ParameterError) as error:
        IntegratedGradients(mlp().model, **options)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


CALLS = {
    "rows": (X6[:2], ["2 rows", "1 or 3"]),
    "function to another shape": (lambda x: x[:, :4], ["(inputs)", "(3, 4)", "(6,)"]),
    "function to nothing": (lambda x: None, ["(inputs)", "numbers"]),
    "function to NaN": (lambda x: x * np.nan, ["(inputs)", "finite"]),
    "function to another name": (lambda x: {"y": x}, ["['y']", "'x'"]),
    "name": ("blurry", ["'blurry'", "'blur'"]),
}


@pytest.mark.parametrize("case", CALLS)
def test_what_is_no_baseline_of_these_inputs(case):
    given, fragments = CALLS[case]
    with pytest.raises(OnnxAttrError) as error:
        IntegratedGradients(mlp().model, steps=3).explain(X6, baselines=given)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


def test_numbers_for_an_axis_that_could_be_another_are_refused():
    with pytest.raises(ParameterError, match=r"such as \(3, 1, 1\) or \(1, 1, 3\)"):
        IntegratedGradients(elementwise([3, 5, 3]), baseline_value=np.ones(3))
    with pytest.raises(ParameterError, match=r"such as \(3, 1, 1\)"):
        IntegratedGradients(elementwise([3, 5, 6]), baseline_value=np.ones(3))
    IntegratedGradients(elementwise([3, 5, 3]), baseline_value=np.ones((3, 1, 1)))


def test_files_say_whether_they_take_baselines(tmp_path):
    x = X6
    IntegratedGradients(mlp().model, steps=3).export(tmp_path / "e.onnx")
    with pytest.raises(ParameterError, match=r"takes no baselines.*baseline_input=True"):
        onnxattr.load(tmp_path / "e.onnx", baseline=1.0).explain(x)
    IntegratedGradients(mlp().model, steps=3).export(tmp_path / "e.onnx", baseline_input=True)
    for wrong in ("blur", abs):
        with pytest.raises(ParameterError, match="numbers"):
            onnxattr.load(tmp_path / "e.onnx", baseline=wrong).explain(x)
    expected = IntegratedGradients(mlp().model, steps=3, baseline_value=x[0]).explain(x)
    close(onnxattr.load(tmp_path / "e.onnx", baseline=x[0]).explain(x), expected)


@pytest.mark.parametrize("given", [{"baseline_value": np.ones((11, 4))}, {"background": np.ones((2, 11, 4))}])
def test_an_export_is_tried_at_the_sizes_of_the_baseline(given, tmp_path):
    x = rows(1, 11, 4)
    method = IntegratedGradients(elementwise(["T", 4]), steps=2, reducer=None, **given)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(x, np.ones_like(x)), cubic(x.astype(np.float64), 1.0))
