"""Models whose first axis is no batch: all that is given is one sample, in every method and rendering."""

import numpy as np
import onnx
import pytest
from support.row_models import COMPUTED, METHODS, by_differences, inputs, model, run, weights
from support.tiny_graphs import parse

import onnxattr
import onnxattr.attributions as attributions
from onnxattr import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.attributions.triton import export_triton
from onnxattr.errors import ModelError, ParameterError, ShapeError, TargetError

pytestmark = pytest.mark.filterwarnings(
    "ignore:The samples of a batch are not", "ignore:The model ends in prob", "ignore:BatchNormalization node"
)


#: Each graph is run by all methods, in chunks and as a file, which takes seconds.
FAST = ("the first row", "time first", "unbatched", "similarity in the batch")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in COMPUTED]


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_in_every_method_and_rendering(name, tmp_path):
    x = inputs(name)
    target, proto = weights(name, x), model(name)
    np.testing.assert_array_equal(GradientInput(proto, batch_size=2).predict(x), run(proto, x=x)[0])
    expected = by_differences(proto, x, target)
    found = attributions.SmoothGrad(proto, noise=0.0, reducer=None).explain(x, target)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * (1 + np.abs(expected).max()))
    for method, options in METHODS.items():
        maps = [
            getattr(attributions, method)(proto, batch_size=size, reducer=None, **options).explain(x, target)
            for size in (1, 3, 32)
        ]
        assert maps[0].shape == x.shape
        np.testing.assert_array_equal(maps[0], maps[1])
        np.testing.assert_array_equal(maps[0], maps[2])
        explainer = getattr(attributions, method)(proto, reducer=None, **options)
        explainer.export(tmp_path / "e.onnx", target="weights")
        seed = {"seed": np.array(0)} if method.endswith("Grad") else {}
        outputs = run(onnx.load(tmp_path / "e.onnx"), x=x, target=target, **seed)
        np.testing.assert_allclose(outputs[1], maps[0], rtol=1e-4, atol=1e-5 * np.abs(maps[0]).max())
        np.testing.assert_allclose(outputs[0], run(proto, x=x)[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            onnxattr.load(tmp_path / "e.onnx").explain(x, target),
            maps[0],
            rtol=1e-4,
            atol=1e-5 * np.abs(maps[0]).max(),
        )


def fixed(name, x):
    """The model exported for inputs of one shape."""
    proto = model(name)
    shape = proto.graph.input[0].type.tensor_type.shape
    for dim, size in zip(shape.dim, x.shape, strict=True):
        dim.dim_value = size
    return proto


@pytest.mark.parametrize("name", COMPUTED)
def test_a_fixed_first_axis_that_is_no_batch_is_one_sample(name, tmp_path):
    x = inputs(name)
    target, proto = weights(name, x), fixed(name, x)
    with pytest.warns(UserWarning, match="samples of a batch are not|one sample"):
        method = IntegratedGradients(proto, steps=7, reducer=None)
    assert method.one_sample
    np.testing.assert_array_equal(method.predict(x), run(proto, x=x)[0])
    expected = IntegratedGradients(model(name), steps=7, reducer=None).explain(x, target)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(method.explain(x, target), expected, rtol=1e-5, atol=1e-5 * scale)
    gradient, differences = SmoothGrad(proto, noise=0.0, reducer=None), by_differences(proto, x, target)
    np.testing.assert_allclose(
        gradient.explain(x, target), differences, rtol=0, atol=2e-3 * (1 + np.abs(differences).max())
    )
    method.export(tmp_path / "e.onnx", target="weights")
    prediction, found, *_ = run(onnx.load(tmp_path / "e.onnx"), x=x, target=target)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)
    np.testing.assert_allclose(prediction, run(proto, x=x)[0], rtol=1e-6, atol=1e-6)
    assert "fixed first axis" in onnxattr.load(tmp_path / "e.onnx").metadata["rows_why"]
    with pytest.raises(ShapeError, match="one at a time"):
        method.explain(np.concatenate([x, x])[None], target)


@pytest.mark.parametrize("name", COMPUTED)
def test_attributions_of_one_sample_add_up(name):
    x = inputs(name)
    target, method = weights(name, x), IntegratedGradients(model(name), steps=400, reducer=None)
    end, start = (run(model(name), x=z)[0] for z in (x, np.zeros_like(x)))
    total = float(((end - start) * target).sum())
    assert float(method.explain(x, target).sum()) == pytest.approx(total, abs=2e-3 * (1 + abs(total)))
    assert method.convergence_delta(x, target).shape == (1,)


class TestInputsOfOneSample:
    @pytest.mark.parametrize("size", ["3", "T"])
    def test_a_list_of_one_number(self, size, tmp_path):
        """(T,) -> (1,): a number, and no class."""
        proto = parse(
            f"""g (float[{size}] x) => (float[1] y) <int64[1] zero = {{0}}> {{
            t = Mul(x, x) y = ReduceSum(t, zero) }}"""
        )
        x = np.array([0.5, -1, 2], np.float32)
        method = IntegratedGradients(proto, steps=3)
        method.export(tmp_path / "e.onnx")
        for weight in (None, np.array([-3.0], np.float32)):
            expected = x * x * (1 if weight is None else -3)
            for one in (method, onnxattr.load(tmp_path / "e.onnx")):
                np.testing.assert_allclose(one.explain(x, weight), expected, rtol=1e-6)
        with pytest.raises(TargetError, match=r"weights of the output's shape \(1,\);"):
            method.explain(x, 0)

    def test_labels_and_the_predicted_class(self, tmp_path):
        """(T, 2) -> (1, 2): classes of the whole."""
        proto = parse(
            """g (float[T,2] x) => (float[1,2] y) <int64[1] zero = {0}> {
            t = Tanh(x) y = ReduceMean(t, zero) }"""
        )
        x = inputs("unbatched")
        method = GradientInput(proto)
        best = int(run(proto, x=x)[0][0].argmax())
        one_hot = np.eye(2, dtype=np.float32)
        for label in (0, 1):
            expected = method.explain(x, one_hot[label][None])
            for given in (label, np.array(label), np.array([label])):
                np.testing.assert_array_equal(method.explain(x, given), expected)
        np.testing.assert_array_equal(method.explain(x), method.explain(x, best))
        IntegratedGradients(proto, reducer=None).export(tmp_path / "e.onnx")
        outputs = run(onnx.load(tmp_path / "e.onnx"), x=x, target=np.array([-1]))
        assert outputs[1].shape == x.shape
        loaded = onnxattr.load(tmp_path / "e.onnx")
        np.testing.assert_allclose(loaded.explain(x), outputs[1])
        np.testing.assert_allclose(loaded.explain(x, best), outputs[1])
        np.testing.assert_allclose(loaded.predict(x), run(proto, x=x)[0], rtol=1e-6)

    @pytest.mark.parametrize("weight", [None, -2.0])
    def test_one_number_for_all(self, weight, tmp_path):
        """(T, 2) -> (): y = sum of x^2."""
        proto = parse("g (float[T,2] x) => (float y) { q = Mul(x, x) y = ReduceSum<keepdims = 0>(q) }")
        x = inputs("unbatched")
        for method in (GradientInput(proto), IntegratedGradients(proto, steps=3)):
            method.export(tmp_path / "e.onnx", target="weights")
            factor = (2 if isinstance(method, GradientInput) else 1) * (1 if weight is None else weight)
            for explained in (method, onnxattr.load(tmp_path / "e.onnx")):
                np.testing.assert_allclose(explained.explain(x, weight), factor * x * x, rtol=1e-5)

    def test_targets_that_do_not_fit(self):
        method = Saliency(model("centred"))
        x = inputs("centred")
        for targets in (None, 1, np.zeros(5, int), np.zeros((1, 5, 2))):
            with pytest.raises(TargetError, match="one sample"):
                method.explain(x, targets)
        with pytest.raises(ShapeError, match="one at a time"):
            method.explain(x[None], np.zeros((1, 5, 2)))

    @pytest.mark.parametrize("metadata", [{}, {"onnxattr.labels": '["cat", "dog", "elk"]'}])
    def test_one_row_of_classes_that_is_found_by_a_run(self, metadata):
        """How many rows the output has depends on numbers: labels are taken, and nothing that would round to one."""
        proto = parse(
            """g (float[N,2] x) => (float[M,3] y)
            <float[2,3] w = {1, 2, 3, 4, 5, 6}, int64[1] zero = {0}, int64[1] one = {1}, float least = {0.5}> {
            s = Softmax<axis = 0>(x) t = Mul(x, s) top = ReduceMax<keepdims = 0>(x) low = Min(top, least) up = Ceil(low)
            n = Cast<to = 7>(up) end = Reshape(n, one) first = Slice(t, zero, end, zero) y = MatMul(first, w) }"""
        )
        onnx.helper.set_model_props(proto, metadata)
        x = np.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]], np.float32)
        method, one_hot = GradientInput(proto), np.eye(3, dtype=np.float32)
        for given in (1, np.array(1), np.array([1]), [1], *(["dog", ["dog"]] if metadata else [])):
            np.testing.assert_array_equal(method.explain(x, given), method.explain(x, one_hot[[1]]))
        best = run(proto, x=x)[0][0].argmax()
        np.testing.assert_array_equal(method.explain(x), method.explain(x, one_hot[[best]]))
        for given in (1.7, [0.5], np.float32(1), "1", "horse", 3):
            with pytest.raises(TargetError):
                method.explain(x, given)
        with pytest.raises(TargetError, match=r"weights of the output's shape \(\?, 3\)"):
            method.explain(x, np.zeros((2, 5)))

    def test_one_number_that_is_found_by_a_run(self):
        """As the output of a neuron where one row is given: no target is needed. Softmax over the rows is 1."""
        proto = parse(
            """g (float[N,2] x) => (float[N] y) <int64[1] one = {1}> {
            s = Softmax<axis = 0>(x) t = Mul(x, s) q = Mul(t, t) y = ReduceSum<keepdims = 0>(q, one) }"""
        )
        x = np.array([[0.3, -0.2]], np.float32)
        np.testing.assert_allclose(GradientInput(proto).explain(x), 2 * x * x, rtol=1e-5)
        with pytest.raises(TargetError, match="one sample"):
            GradientInput(proto).explain(np.concatenate([x, x]))

    def test_points_never_become_rows(self, tmp_path):
        with pytest.raises(ModelError, match="makes rows of points"):
            IntegratedGradients(model("centred")).export(tmp_path / "e.onnx", "batch", target="weights")
        with pytest.raises(ParameterError, match="one row of classes"):
            IntegratedGradients(model("centred")).export(tmp_path / "e.onnx", target="labels")

    def test_servers_do_not_join_requests(self, tmp_path):
        export_triton(SmoothGrad(model("centred")), tmp_path / "mixed", target="weights")
        assert "max_batch_size: 0" in (tmp_path / "mixed" / "config.pbtxt").read_text()

    @pytest.mark.parametrize(("perm", "axes"), [(None, 1), ([0, 2, 3, 1], 3)])
    def test_images_keep_their_channel_axis(self, perm, axes, tmp_path):
        """Images that share their mean: the reducer and the file's metadata know the channels."""
        shape = "N,3,4,5" if perm is None else "N,4,5,3"
        images = "i = Identity(x)" if perm is None else "i = Transpose<perm = [0, 3, 1, 2]>(x)"
        proto = parse(
            f"""g (float[{shape}] x) => (float[N,3] y) <int64[1] zero = {{0}}> {{
            {images} m = ReduceMean(x, zero) c = Sub(x, m) t = Tanh(c) j = {
                "Identity" if perm is None else "Transpose<perm = [0, 3, 1, 2]>"
            }(t) p = GlobalAveragePool(j) f = Flatten(p) y = Tanh(f) }}"""
        )
        x = np.random.default_rng(0).normal(size=[2, *map(int, shape.split(",")[1:])]).astype(np.float32)
        target = np.ones((2, 3), np.float32)
        full = IntegratedGradients(proto, reducer=None).explain(x, target)
        method = IntegratedGradients(proto, reducer="sum")
        np.testing.assert_allclose(method.explain(x, target), full.sum(axis=axes, keepdims=True), atol=1e-6)
        method.export(tmp_path / "e.onnx")
        loaded = onnxattr.load(tmp_path / "e.onnx")
        np.testing.assert_allclose(loaded.explain(x, target), full.sum(axis=axes, keepdims=True), atol=1e-6)
        assert loaded.metadata["explained"]["x"]["axes"].index("channel") == axes

    def test_datasets_hold_one_sample_each(self):
        method = GradientInput(model("centred"))
        samples = [
            (inputs("centred", seed), weights("centred", inputs("centred", seed))) for seed in range(3)
        ]
        maps = method.explain(iter(samples))
        assert maps.shape == (3, 5, 2)
        for (x, target), one in zip(samples, maps, strict=True):
            np.testing.assert_array_equal(method.explain(x, target), one)

    def test_a_graph_with_edges(self):
        """Nodes (N, 2), edges (2, E): inputs without a common first axis."""
        proto = parse(
            """g (float[N,2] nodes, int64[2,E] edges) => (float[N,2] y)
            <int64 i0 = {0}, int64 i1 = {1}, int64[1] one = {1}> {
            from = Gather(edges, i0) to = Gather(edges, i1) sent = Gather(nodes, from) u = Unsqueeze(to, one)
            t = Tanh(nodes) y = ScatterND<reduction = "add">(t, u, sent) }"""
        )
        nodes = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
        edges = np.array([[0, 1, 3], [1, 2, 2]])
        target = np.zeros((4, 2), np.float32)
        target[2, 0] = 1
        found = GradientInput(proto, wrt="nodes").explain([nodes, edges], target)
        expected = np.zeros((4, 2), np.float32)
        expected[[1, 3], 0] = 1
        expected[2, 0] = 1 - np.tanh(nodes[2, 0]) ** 2
        np.testing.assert_allclose(found, nodes * expected, rtol=1e-5)

    def test_a_value_that_merges_the_batch_with_heads(self):
        """All that is given is explained together: (N * 2, T, 2) adds up to the difference of all rows."""
        name = "heads merged with the batch"
        x, proto = inputs(name), model(name)
        target = weights(name, x)
        method = IntegratedGradients(proto, wrt="m", steps=300, reducer=None)
        inner = method.explain(x, target)
        assert inner.shape == (10, 5, 2)
        ends = [float((run(proto, x=z)[0] * target).sum()) for z in (x, np.zeros_like(x))]
        assert float(inner.sum()) == pytest.approx(ends[0] - ends[1], rel=1e-3)
        # The batch and the heads are only another view of the input, in which the path is the same.
        outer = IntegratedGradients(proto, steps=300, reducer=None).explain(x, target)
        view = inner.reshape(5, 2, 5, 2).transpose(0, 2, 1, 3).reshape(x.shape)
        np.testing.assert_allclose(view, outer, rtol=1e-3, atol=1e-5)


#: Of one image at a time, lists of which the first axis is that of what was found in it.
FOUND = {
    "rows": "g (float[1,6] x) => (float[3,2] y) <int64[2] s = {3, 2}> { e = Mul(x, x) y = Reshape(e, s) }",
    "numbers": "g (float[1,6] x) => (float[6] y) <int64[1] s = {-1}> { e = Mul(x, x) y = Reshape(e, s) }",
    "as many rows as there are": """g (float[1,6] x) => (float[K,2] y)
        <int64[2] s = {3, 2}, int64[1] one = {1}, int64[1] zero = {0}> {
        e = Mul(x, x) r = Reshape(e, s) m = ReduceMax(x, axes) n = Floor(m) c = Cast<to = 7>(n) end = Reshape(c, one)
        axes = Constant<value = int64[2] {0, 1}>() y = Slice(r, zero, end, zero) }""",
    "as many numbers as there are": """g (float[1,6] x) => (float[K] y)
        <int64[1] s = {-1}, int64[1] one = {1}, int64[1] zero = {0}> {
        e = Mul(x, x) r = Reshape(e, s) m = ReduceMax(x, axes) n = Floor(m) c = Cast<to = 7>(n) end = Reshape(c, one)
        axes = Constant<value = int64[2] {0, 1}>() y = Slice(r, zero, end, zero) }""",
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_found_in_one_image_has_weights_of_its_own(case, tmp_path):
    proto, x = parse(FOUND[case]), np.array([[1.25, 0.5, 2.5, 1.5, 0.75, 1.75]], np.float32)
    output = run(proto, x=x)[0]
    method, target = GradientInput(proto, reducer=None), np.arange(1, 1 + output.size).reshape(output.shape)
    target = target.astype(np.float32)
    expected = np.zeros_like(x)
    expected[0, : output.size] = 2 * (output * target).ravel()
    np.testing.assert_allclose(method.explain(x, target), expected, rtol=1e-6)
    np.testing.assert_array_equal(method.predict(x), output)
    method.export(tmp_path / "e.onnx", target="weights")
    np.testing.assert_allclose(
        run(onnx.load(tmp_path / "e.onnx"), x=x, target=target)[1], expected, rtol=1e-6
    )
    # A label is no class of all rows, and the weights of one row are not those of all.
    with pytest.raises(TargetError):
        method.explain(x, target[:1])
    if case != "numbers":
        for label in (None, 0):
            with pytest.raises(TargetError, match=r"first axis of the output 'y' has"):
                method.explain(x, label)


def test_an_operator_sees_what_is_found_in_one_image_as_the_model_gives_it():
    x = np.array([[1.25, 0.5, 2.5, 1.5, 0.75, 1.75]], np.float32)
    method = GradientInput(parse(FOUND["rows"]), operator=lambda f, x, y: f(x)[1:2, 1], reducer=None)
    np.testing.assert_allclose(method.explain(x), [[0, 0, 0, 4.5, 0, 0]])
