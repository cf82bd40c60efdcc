"""PyTorch modules: conversion, layer table, and gradients compared with torch.autograd."""

import gc
import math

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters import objects  # noqa: E402
from onnxattr.converters.common.verify import difference, values  # noqa: E402
from onnxattr.converters.files import convert_file  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from torch import nn  # noqa: E402

from onnxattr.attributions import DeconvNet, GradCAM, GuidedBackprop, Saliency  # noqa: E402
from onnxattr.compile.gradient import vjp  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402
from onnxattr.loading.layers import read_layers  # noqa: E402


class Residual(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * channels)
        self.down = nn.Conv2d(channels, 2 * channels, 1, stride)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(y + self.down(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.blocks = nn.Sequential(Residual(8, 1), Residual(16, 2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(32, 5)

    def forward(self, image):
        return self.head(self.pool(self.blocks(self.stem(image))).flatten(1))


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.depthwise = nn.Conv2d(12, 12, 7, padding=3, groups=12)
        self.norm, self.wide, self.narrow = nn.LayerNorm(12), nn.Linear(12, 48), nn.Linear(48, 12)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, image):
        x = self.stem(image)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(nn.functional.gelu(self.wide(y)))
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.place = nn.Parameter(torch.randn(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, image):
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.encoder(x)[:, 0])


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 5)

    def forward(self, series):
        return self.head(self.lstm(series)[0].mean(1))


IMAGE, SERIES = (3, 32, 32), (12, 6)
MODULES = {ResNet: IMAGE, ConvNeXt: IMAGE, VisionTransformer: IMAGE, Recurrent: SERIES}


def make(kind):
    torch.manual_seed(0)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module.eval()


def rows(shape, count=3):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


def table_of(model):
    return read_layers({entry.key: entry.value for entry in model.metadata_props})


def by_hooks(module, *inputs):
    """What forward hooks see: the tensors of each call of each submodule, by path and number of the call."""
    seen, handles = {}, []
    for path, part in module.named_modules():
        seen[path] = []
        note = lambda _, __, output, calls=seen[path]: calls.append(torch.utils._pytree.tree_leaves(output))  # noqa: E731
        handles.append(part.register_forward_hook(note))
    with torch.no_grad():
        module(*(torch.as_tensor(x) for x in inputs))
    for handle in handles:
        handle.remove()
    return {
        path if number == 0 else f"{path}#{number + 1}": [t.numpy() for t in tensors if t is not None]
        for path, calls in seen.items()
        for number, tensors in enumerate(calls)
    }


def assert_table_is_that_of_hooks(model, module, *inputs, missing=(), used=()):
    """Every call of every submodule has its values in the table, but for the missing ones, which say why not.

    `used` says of how many of a call's tensors there is something left, where that is not all.
    """
    used = dict(used)
    expected = by_hooks(module, *inputs)
    feeds = dict(zip([value.name for value in model.graph.input], inputs, strict=True))
    rows = {layer.path: layer for layer in table_of(model)}
    found = values(model, [name for row in rows.values() for name in row.outputs], feeds) | feeds
    for path in expected.keys() - {""}:
        if path in missing:
            assert not rows[path].outputs
            assert f"keep_layers=[{path!r}]" in rows[path].folded
            continue
        assert len(rows[path].outputs) == used.get(path, len(expected[path])), path
        for name, tensor in zip(rows[path].outputs, expected[path], strict=False):
            np.testing.assert_allclose(found[name], tensor, rtol=0, atol=1e-5 * np.abs(tensor).max())


def by_autograd(module, x, labels):
    tensor = torch.tensor(x, requires_grad=True)
    module(tensor)[torch.arange(len(x)), torch.tensor(labels)].sum().backward()
    return np.abs(tensor.grad.numpy())


@pytest.mark.parametrize("opset", range(18, 24))
@pytest.mark.parametrize("kind", MODULES)
def test_gradients_are_those_of_autograd(kind, opset):
    module, x, labels = make(kind), rows(MODULES[kind]), [0, 3, 4]
    model = to_onnx(module, x[:1], opset=opset)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    found = Saliency(model, reducer=None).explain(x, labels)
    expected = by_autograd(module, x, labels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


class LogSigmoid(nn.Module):
    def forward(self, x):
        return nn.functional.logsigmoid(x)


class CrossEntropy(nn.Module):
    def forward(self, x):
        return nn.functional.binary_cross_entropy_with_logits(x, x.sign(), reduction="none")


@pytest.mark.parametrize("kind", [LogSigmoid, CrossEntropy])
def test_logarithms_of_sigmoids_stay_finite(kind):
    """The converter is shown small numbers; ONNX Runtime's Sigmoid is 0 below -18, PyTorch's where float32 ends."""
    x = np.array([[-120, -60, -19, -1, 2, 30]], np.float32)
    model = to_onnx(kind(), np.ones_like(x))
    tensor = torch.tensor(x, requires_grad=True)
    expected = kind()(tensor)
    expected.sum().backward()
    name, output = model.graph.input[0].name, model.graph.output[0].name
    ct = {f"{output}_cotangent": np.ones_like(x)}
    found = values(vjp(model), [output, f"{name}_gradient"], {name: x} | ct)
    np.testing.assert_allclose(found[output], expected.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(found[f"{name}_gradient"], tensor.grad.numpy(), rtol=1e-5, atol=1e-12)


class Computed(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


# Numbers that the exporter's optimiser takes for 0 and 1.
NEAR_ZERO_OR_ONE = {
    "log": lambda x: torch.log(x + 1e-15),
    "root": lambda x: torch.sqrt(1e-12 + x),
    "norm": lambda x: x / (x.abs().sum(1, keepdim=True) + 1e-9),
    "entropy": lambda x: x * torch.log(x + 1e-10),
    "difference": lambda x: torch.relu(x - 1e-9) * 1e9,
    "factor": lambda x: (x * 1.000005 - x) * 1e5,
    "quotient": lambda x: (x / 0.999995 - x) * 1e5,
}


# What the exporter makes one Clip of, in which another gradient holds at 0.
BOUNDED = {
    "relu, clamp": lambda x: torch.clamp(torch.relu(x), max=1.0),
    "clamp, relu": lambda x: torch.relu(torch.clamp(x, -1.0, 1.0)),
    "clamp, clamp": lambda x: torch.clamp(torch.clamp(x, -1.0, 1.0), 0.0, 2.0),
}


@pytest.mark.parametrize("name", NEAR_ZERO_OR_ONE | BOUNDED)
def test_what_the_exporter_changes(name):
    """The converter is shown ones, as it may be by users, and finds nothing that differs elsewhere."""
    x = np.array([[0, 0, 0], [0, 2e-9, 1], [3, 0.25, 7e-9], [-1, -0.5, 2]], np.float32)
    x = x[:3] if name in NEAR_ZERO_OR_ONE else x
    assert_outputs_and_gradient(Computed((NEAR_ZERO_OR_ONE | BOUNDED)[name]), x)


def assert_outputs_and_gradient(module, x, dtype=torch.float32, atol=0.0):
    """Of the converted module and of the module in dtype."""
    model = to_onnx(module, np.ones_like(x))
    tensor = torch.tensor(x, dtype=dtype, requires_grad=True)
    expected = module(tensor)
    expected.sum().backward()
    inside, output = model.graph.input[0].name, model.graph.output[0].name
    ct = {f"{output}_cotangent": np.ones(expected.shape, np.float32)}
    found = values(vjp(model), [output, f"{inside}_gradient"], {inside: x} | ct)
    np.testing.assert_allclose(found[output], expected.detach().numpy(), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found[f"{inside}_gradient"], tensor.grad.numpy(), rtol=1e-5, atol=atol)


def with_places(x, size):
    found, places = nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), size, return_indices=True)
    return found + places.to(found)


ROWS = torch.tensor([[1.0, 3, 2, 4], [1, 3, 2, 3]])
STEPS = torch.arange(4) / 8


# Large numbers, of which the exporter's forms overflow, far ones, of which they underflow, and ties.
def attended(x, **settings):
    return nn.functional.scaled_dot_product_attention(x / 100, x.flip(-1), x, **settings)


LARGE_OR_EQUAL = {
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(1)),
    "logaddexp, broadcast": lambda x: torch.logaddexp(x, x[:, :1] - 3),
    "logaddexp, constant": lambda x: torch.logaddexp(torch.tensor(0.0), x),
    "logaddexp2": lambda x: torch.logaddexp2(x, x.roll(1, 1)),
    "logcumsumexp": lambda x: torch.logcumsumexp(x, 1),
    "logcumsumexp, inner axis": lambda x: torch.logcumsumexp(torch.stack([x, 2 * x, -x], 2), -2),
    "max": lambda x: x.max(1).values,
    "max, inner axis": lambda x: x.view(-1, 2, 2).max(-2, keepdim=True)[0],
    "min": lambda x: x.min(dim=1, keepdim=True)[0],
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum, constant": lambda x: torch.minimum(x, torch.tensor(-7.0)),
    "maximum, integers": lambda x: x * torch.maximum((x + 0.5).long(), (x.flip(1) + 0.5).long()),
    "hardtanh": lambda x: nn.functional.hardtanh(x, -7.0, 2.0),
    "relu6": lambda x: nn.functional.relu6(2 * x),
    "global pool of signals": lambda x: nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), 1),
    "global pool of volumes": lambda x: nn.functional.adaptive_max_pool3d(x.view(-1, 1, 1, 2, 2), 1),
    "global pool of one volume": lambda x: nn.functional.adaptive_max_pool3d(x.view(1, -1, 2, 2), 1),
    "pool to 3": lambda x: nn.functional.adaptive_max_pool1d(x.view(-1, 1, 4), 3),
    "pool to 2": lambda x: nn.functional.adaptive_max_pool2d(x.view(-1, 1, 1, 4), (1, 2)),
    "places of a pool to 3": lambda x: with_places(x, 3),
    "places of a pool to 2": lambda x: with_places(x, 2),
    "pool of volumes": lambda x: nn.functional.max_pool3d(x.view(-1, 1, 1, 2, 2), (1, 2, 2)),
    "fmax": lambda x: torch.fmax(x, x.flip(1)),
    "fmin": lambda x: torch.fmin(x, torch.tensor([math.nan, 1, math.nan, 2])),
    "cummax": lambda x: torch.cummax(x, 1)[0],
    "cummin, inner axis": lambda x: torch.cummin(torch.stack([x, -x, x], 2), -2).values,
    "cumprod": lambda x: torch.cumprod(x, 1),
    "hypot": lambda x: torch.hypot(x, x.flip(1)),
    "copysign": lambda x: torch.copysign(x, x.flip(1) * torch.tensor([0.0, 1, -1, -0.0])),
    "copysign, number": lambda x: torch.copysign(x, -0.0),
    "cdist": lambda x: torch.cdist(x, ROWS.to(x)),
    "cdist, samples": lambda x: torch.cdist(x[:, None], ROWS.to(x)[None].expand(x.shape[0], -1, -1)),
    "cdist, sums": lambda x: torch.cdist(x, ROWS.to(x), p=1.0),
    "cdist, largest": lambda x: torch.cdist(x, ROWS[:1].to(x), p=math.inf),
    "kthvalue": lambda x: torch.kthvalue(x + STEPS, 2, 1)[0],
    "attention of one head": lambda x: attended(x.view(-1, 2, 2)),
    "attention of one head, causal": lambda x: attended(x.view(-1, 2, 2), is_causal=True, scale=0.3),
    "attention of one head, masked": lambda x: attended(
        x.view(-1, 2, 2), attn_mask=torch.tensor([[True, False], [False, False]])
    ),
    "attention of one head, added": lambda x: attended(x.view(-1, 2, 2), attn_mask=x.view(-1, 2, 2)),
    "attention of five axes": lambda x: attended(x.view(-1, 1, 1, 2, 2)),
    "median, inner axis": lambda x: torch.median((x + STEPS).view(-1, 2, 2), -2, keepdim=True).values,
}


@pytest.mark.parametrize("name", LARGE_OR_EQUAL)
def test_large_and_equal_numbers(name):
    """Of equal ones `max`, `min` and pools give the gradient to the first, `maximum` and `logaddexp` divide it."""
    x = np.array([[-100, 0, 90, 0.5], [200, 200, -300, 200], [-7, -7, -7, -7], [1, 3, 2, 3]], np.float32)
    assert_outputs_and_gradient(Computed(LARGE_OR_EQUAL[name]), x, torch.float64, atol=1e-12)


# What is not written, and the reason.
NOT_WRITTEN = {
    "cdist": (lambda x: torch.cdist(x, ROWS, p=3.0), r"torch.cdist with p=3.0; supported: 1, 2 and inf"),
    "cumprod": (
        lambda x: torch.cumprod(x, 0).sum(1),
        r"torch.cumprod along axis 0, whose length is not fixed",
    ),
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_a_translation_cannot_write_is_said(name):
    module, reason = NOT_WRITTEN[name]
    with pytest.raises(ConversionError, match=reason):
        to_onnx(Computed(module), np.ones((3, 4), np.float32))


def test_a_relu_in_front_of_a_clamp_is_guided():
    weights = torch.tensor([[-1.0, 2.0, -3.0]]).T
    module = Computed(lambda x: torch.clamp(torch.relu(x), max=1.0) @ weights)
    x = np.array([[0.5, 0.5, -0.5], [0.25, 2.0, 0.75]], np.float32)
    maps = GuidedBackprop(to_onnx(module, x), reducer=None).explain(x, np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(maps, [[0, 2, 0], [0, 0, 0]])


class States(nn.Module):
    """The last states of a bidirectional layer that is called twice, whose shapes the exporter declares wrongly."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 5)

    def forward(self, series):
        return self.head(torch.cat([self.lstm(series)[1][0][-2], self.lstm(series)[1][1][-1]], 1))


def test_shapes_that_the_exporter_declares_wrongly_are_left_out():
    module, x, labels = make(States), rows(SERIES), [0, 3, 4]
    found = Saliency(to_onnx(module, x[:1]), reducer=None).explain(x, labels)
    expected = by_autograd(module, x, labels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_no_code_of_the_author_is_in_the_file():
    model = to_onnx(make(ResNet), torch.tensor(rows(IMAGE)))
    keys = {entry.key for node in model.graph.node for entry in node.metadata_props}
    assert "pkg.torch.onnx.fx_node" in keys
    assert __file__.encode() not in model.SerializeToString()


def test_layers_are_found_by_their_path():
    module, x = make(ResNet), rows(IMAGE)
    model = to_onnx(module, torch.tensor(x))
    usable = {layer.path for layer in table_of(model) if layer.outputs}
    assert {"stem", "stem.1", "blocks.0", "blocks.1.relu1", "blocks.1.norm1", "pool", "head"} <= usable
    assert "blocks.0.conv1" not in usable  # its normalisation is folded into it
    cut = Saliency(model, output_layer="pool", reducer=None)
    with torch.no_grad():
        expected = module.pool(module.blocks(module.stem(torch.tensor(x)))).numpy()
    np.testing.assert_allclose(cut.predict(x), expected, atol=1e-5)


class Recalling(nn.Module):
    """Modules called twice, within another called twice, by two names, without effect, and for tuples and dicts."""

    def __init__(self):
        super().__init__()
        self.pair, self.same, self.drop, self.act = Pair(), nn.Linear(6, 6), nn.Dropout(0.5), nn.ReLU()
        self.lstm, self.last = nn.LSTM(6, 6, batch_first=True), nn.ModuleDict({"head": nn.Linear(6, 5)})

    def forward(self, x):
        first = self.pair(self.same(self.same(x)))
        second = self.pair(self.drop(self.act(first["sum"]) + first["product"]))
        series, (h, c) = self.lstm(torch.stack([second["sum"], second["product"]], 1))
        return self.last["head"](series.sum(1) + h[0] * c[0])


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        left, right = self.left(x), self.right(x)
        return {"product": left * right, "sum": left + right}


FOLDED = ["blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "stem.0"]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Recalling, {}),
        (ResNet, {"missing": FOLDED}),
        (VisionTransformer, {}),
        (Recurrent, {"used": {"lstm": 1}}),
    ],
)
def test_every_call_of_a_submodule_has_the_value_that_a_hook_sees(kind, settings, verify):
    module, x = make(kind), rows({**MODULES, Recalling: (6,)}[kind])
    model = to_onnx(module, x, verify=verify)
    assert_table_is_that_of_hooks(model, module, x, **settings)


@pytest.mark.parametrize(
    ("keep", "kept"), [(FOLDED[:1], FOLDED[:1]), ("stem.0", ["stem.0"]), ("all", FOLDED)]
)
def test_kept_layers_have_values(keep, kept):
    module, x = make(ResNet), rows(IMAGE)
    model = to_onnx(module, x, keep_layers=keep)
    assert_table_is_that_of_hooks(model, module, x, missing=set(FOLDED) - set(kept))
    assert [value.name for value in model.graph.output] == [to_onnx(module, x).graph.output[0].name]


class Checked(nn.Module):
    """What refuses inputs that it is not made for, in a way that torch.export does not trace."""

    def __init__(self, fits):
        super().__init__()
        torch.manual_seed(0)
        self.fits, self.dense = fits, nn.Linear(6, 3)

    def forward(self, x):
        if not torch.compiler.is_exporting() and not self.fits(x):
            raise ValueError("inputs of another kind are expected")
        return torch.tanh(self.dense(x))


FITS = {
    "from 0 to 1": lambda x: x.min() >= 0 and x.max() <= 1,
    "each column in its range": lambda x: (x.round() == torch.tensor([0.0, 0, 0, 1, 1, 1])).all(),
    "shares": lambda x: torch.allclose(x.sum(1), torch.full((len(x),), 3.0)),
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("dynamic_batch", [True, False])
def test_a_module_that_checks_its_inputs(name, dynamic_batch):
    module = Checked(FITS[name]).eval()
    x = torch.tensor(
        [[0.1, 0.2, 0.3, 0.8, 0.8, 0.8], [0.4, 0.1, 0.1, 0.6, 0.9, 0.9], [0, 0, 0.3, 0.9, 0.9, 0.9]]
    )
    converted = to_onnx(module, x[:1] if not dynamic_batch else x, dynamic_batch=dynamic_batch)
    np.testing.assert_allclose(Saliency(converted).predict(x.numpy()), module(x).detach().numpy(), atol=1e-6)


class ThreeRows(nn.Module):
    """What takes the batch of its examples alone, by an operator that torch.export lets pass."""

    def __init__(self, operator):
        super().__init__()
        self.operator, self.places = operator, torch.tensor([[0, 1, 0, 1]] * 3)

    def forward(self, x):
        return getattr(torch.zeros(3, 4), self.operator)(1, self.places, x)


@pytest.mark.parametrize("operator", ["scatter_add", "scatter"])
def test_a_module_that_takes_the_batch_of_the_examples_alone(operator):
    module, x = ThreeRows(operator).eval(), torch.ones(3, 4)
    with pytest.raises(ConversionError, match=r"The module itself fails.*\(2, 4\).*dynamic_batch=False"):
        to_onnx(module, x)
    converted = to_onnx(module, x, dynamic_batch=False)
    found = Saliency(converted).predict(x.numpy())
    np.testing.assert_array_equal(found, module(x).numpy())


def test_unknown_kept_layer_is_an_error_with_suggestions():
    with pytest.raises(ConversionError, match=r"'blocks.0.cnov1'.*did you mean.*'blocks.0.conv1'"):
        to_onnx(make(ResNet), rows(IMAGE), keep_layers=["blocks.0.cnov1"])


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(6, 5), nn.Linear(6, 5)
        self.again = self.used

    def forward(self, x):
        return self.used(x) * self.again(-x)


def test_modules_of_two_names_and_of_no_use():
    module, x = make(Sparse), rows((6,))
    model = to_onnx(module, x)
    table = {layer.path: layer for layer in table_of(model)}
    assert table["unused"].folded == "not called when the model predicts"
    with torch.no_grad():
        for path, sign in (("used", 1), ("again", -1)):
            found = Saliency(model, output_layer=path, reducer=None).predict(x)
            np.testing.assert_allclose(found, module.used(torch.tensor(sign * x)).numpy(), atol=1e-6)


class Repeating(nn.Module):
    """The exporter merges the two calls of the same numbers into one."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(6, 5)

    def forward(self, x):
        return self.line(x) * self.line(x)


def test_calls_that_are_merged_share_their_value():
    module, x = make(Repeating), rows((6,))
    model = to_onnx(module, x)
    assert_table_is_that_of_hooks(model, module, x)
    first, second = table_of(model)
    assert first.outputs == second.outputs


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layers_in_half_precision(dtype):
    """ONNX Runtime has no bfloat16 on CPUs: its values are those of onnx's evaluator."""
    net = (
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5), nn.Identity())
        .eval()
        .to(dtype)
    )
    model = to_onnx(net, torch.tensor(rows((6,))).to(dtype), opset=22, verify=dtype == torch.float16)
    outputs = [layer.outputs for layer in table_of(model)]
    assert all(outputs)
    assert outputs[1] == outputs[2]
    assert outputs[3] == outputs[4] == (model.graph.output[0].name,)


def test_deconvnet_sees_the_relu_modules():
    module, x = make(ResNet), rows(IMAGE)
    model = to_onnx(module, x)
    maps = [
        DeconvNet(model, reducer=None, relu_policy=policy).explain(x, [0, 1, 2])
        for policy in ("all", "xplique")
    ]
    np.testing.assert_array_equal(*maps)


def test_modes_are_given_back_and_files_are_whole(tmp_path):
    module = make(ResNet)
    module.stem.train()
    model = to_onnx(module, {"image": rows(IMAGE)}, tmp_path / "net.onnx")
    assert module.stem[1].training
    assert not module.blocks[0].norm1.training
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert onnx.load(tmp_path / "net.onnx") == model


class Padded(nn.Module):
    """A text classifier as tutorials write it; ``masked`` says what it takes the mean of."""

    def __init__(self, masked):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.words, self.encoder, self.head = (
            nn.Embedding(50, 16),
            nn.TransformerEncoder(layer, 2),
            nn.Linear(16, 3),
        )
        self.masked = masked

    def forward(self, ids, mask):
        steps = self.encoder(self.words(ids), src_key_padding_mask=mask == 0)
        if not self.masked:
            return self.head(steps.mean(1))
        return self.head((steps * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def test_padded_texts():
    """PyTorch's fast path calls no part of the encoder and works on nested tensors, whose values no graph has."""
    torch.manual_seed(0)
    ids, mask = torch.randint(1, 50, (3, 9)), torch.ones(3, 9, dtype=torch.int64)
    mask[1, 6:], mask[2, 3:] = 0, 0
    module = Padded(masked=True).eval()
    model = to_onnx(module, (ids, mask))
    usable = {layer.path for layer in table_of(model) if layer.outputs}
    assert usable >= {"encoder", "encoder.layers.0", "encoder.layers.1.linear1"}
    embedded = module.words(ids).detach().requires_grad_(True)
    module.words.forward = lambda _: embedded
    module(ids, mask)[:, 1].sum().backward()
    found = Saliency(model, wrt="words", reducer=None).explain((ids, mask), 1)
    np.testing.assert_allclose(found, embedded.grad.abs(), atol=1e-5 * float(embedded.grad.abs().max()))
    assert torch.backends.mha.get_fastpath_enabled()


def test_zeros_in_place_of_masked_steps_are_named():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    with pytest.raises(ConversionError, match=r"without PyTorch's fast path.*enable_nested_tensor=False"):
        to_onnx(Padded(masked=False).eval(), (torch.ones_like(mask), mask))


def test_exported_programs():
    module, x = make(ConvNeXt), rows(IMAGE)
    batch = torch.export.Dim("N", min=1)
    program = torch.export.export(module, (torch.tensor(x),), dynamic_shapes={"image": {0: batch}})
    model = to_onnx(program)
    found = Saliency(model, reducer=None).explain(x, [1, 1, 1])
    expected = by_autograd(module, x, [1, 1, 1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
    assert_table_is_that_of_hooks(model, module, x)


def test_exported_programs_from_files(tmp_path):
    module, x = make(Recurrent), rows(SERIES)
    batch = torch.export.Dim("N", min=1)
    program = torch.export.export(module, (torch.tensor(x),), dynamic_shapes={"series": {0: batch}})
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(ConversionError, match="--trust"):
        convert_file(tmp_path / "net.pt2", tmp_path / "net.onnx")
    model = convert_file(tmp_path / "net.pt2", tmp_path / "net.onnx", trust=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.pt2"]
    with torch.no_grad():
        np.testing.assert_allclose(Saliency(model).predict(x), module(torch.tensor(x)).numpy(), atol=1e-6)


@pytest.mark.parametrize("keep", ["all", ()])
def test_layers_of_exported_programs(keep):
    """What a program knows: of a module's outputs those that are used; a module without effect has left no trace."""
    for kind, shape in ((Recalling, (6,)), (ResNet, IMAGE)):
        module, x = make(kind), rows(shape)
        model = to_onnx(torch.export.export(module, (torch.tensor(x),)), keep_layers=keep)
        expected = by_hooks(module, x)
        table = {layer.path: layer for layer in table_of(model)}
        assert table.keys() >= {path for path, part in module.named_modules() if list(part.parameters())} - {
            "",
            "last",
        }
        found = values(
            model, [n for layer in table.values() for n in layer.outputs], {model.graph.input[0].name: x}
        )
        for path, layer in table.items():
            assert bool(layer.outputs) == (path not in FOLDED or bool(keep)), path
            pool = list(expected[path])
            for name in layer.outputs:
                assert any(difference(found[name], tensor) < 1e-5 for tensor in pool), path


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(30, 8), nn.Linear(8, 5)

    def forward(self, ids, mask):
        states = self.words(ids) * mask[..., None]
        return {"scores": self.head(states.sum(1)), "states": states}


def test_embedded_tokens_are_explained_by_the_name_of_their_layer_s_value():
    torch.manual_seed(0)
    module, ids = Tokens().eval(), np.random.default_rng(0).integers(0, 30, (3, 7))
    mask = (np.arange(7) < [[7], [4], [1]]).astype(np.float32)
    model = to_onnx(module, (ids, mask))
    assert [value.name for value in model.graph.input] == ["ids", "mask"]
    assert [value.name for value in model.graph.output] == ["scores", "states"]
    (value,) = next(layer.outputs for layer in table_of(model) if layer.path == "words")
    found = Saliency(model, output_layer="scores", wrt=value, reducer=None).explain([ids, mask], [0, 1, 2])
    expected = np.abs(module.head.weight.detach().numpy()[:3])[:, None] * mask[..., None]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Asserting(nn.Module):
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise AssertionError  # as a bare assertion does, to which pytest would add words
        return x * 2


class Counting(nn.Module):
    def forward(self, x):
        return x / int(np.int64(x.shape[0]))


@pytest.mark.parametrize(
    ("module", "inputs", "settings", "match"),
    [
        (Counting(), np.ones((2, 3), np.float32), {}, r"x\.shape\[0\]"),
        (Random(), np.ones((2, 3), np.float32), {}, "computes the same each time"),
        (Branching(), np.ones((2, 3), np.float32), {}, "torch.onnx.export could not convert Branching"),
        (
            Asserting(),
            np.ones((2, 3), np.float32),
            {},
            r"Asserting: AssertionError in .*, line \d+\.",
        ),
        (
            nn.RReLU(),
            np.ones((2, 3), np.float32),
            {},
            "rrelu.*the older exporter may have it: .*dynamo=False",
        ),
        (nn.Linear(3, 2), None, {}, "example_inputs are missing"),
        (nn.Linear(3, 2), np.ones((2, 3), np.float32), {"opset": 12}, "opset=12"),
        (nn.Linear(3, 2).state_dict(), np.ones((2, 3), np.float32), {}, "state dict"),
        (nn.Linear(3, 2), [np.ones((2, 3), np.float32)] * 2, {}, "2 example inputs"),
        (nn.ReLU(), np.float32(1), {}, "no batch axis"),
    ],
)
def test_refusals(module, inputs, settings, match):
    with pytest.raises(ConversionError, match=match):
        to_onnx(module, inputs, **settings)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.scale = nn.Linear(4, 2), 1.0

    def forward(self, x):
        return self.linear(x).tanh() * self.scale


def assert_explained_as_it_is(module, x):
    found = Saliency(module, sample=x).explain(x, 0)
    z = x.clone().requires_grad_()
    module(z)[:, 0].sum().backward()
    np.testing.assert_allclose(found, z.grad.abs().numpy(), rtol=1e-5)


def converted_once_until_it_changes():
    """Where the conversion of a module was kept, which is let go."""
    module, x = Scaled().eval(), torch.rand(3, 4)
    assert_explained_as_it_is(module, x)
    kept = objects._kept[id(module)][2]
    Saliency(module, sample=x)
    assert objects._kept[id(module)][2] is kept
    with torch.no_grad():
        module.linear.weight.mul_(2)
    assert_explained_as_it_is(module, x)
    module.scale = 3.0
    assert_explained_as_it_is(module, x)
    Scaled.forward = lambda self, x: self.linear(x) * 5
    assert_explained_as_it_is(module, x)
    with pytest.raises(ConversionError, match=r"sample="):
        Saliency(module)
    return id(module)


def test_a_module_given_to_methods_is_converted_once_until_it_changes():
    # In a frame of its own: exporting looks at the variables of frames, which Python then keeps with them.
    place = converted_once_until_it_changes()
    gc.collect()
    assert place not in objects._kept


@pytest.mark.parametrize("layer", ["blocks.0.conv2", "blocks.1.conv1", "blocks.1.norm2"])
@pytest.mark.parametrize("asked", ["conv_layer", "wrt", "output_layer"])
def test_a_layer_that_a_conversion_merges_is_kept_for_the_method_that_asks_for_it(layer, asked):
    module = make(ResNet)
    x = torch.tensor(rows(IMAGE))
    seen = {}
    handle = module.get_submodule(layer).register_forward_hook(
        lambda part, args, output: seen.__setitem__("layer", output)
    )
    z = x.clone().requires_grad_()
    scores = module(z)
    handle.remove()
    a = seen["layer"]
    if asked == "output_layer":
        expected = torch.autograd.grad(a[:, 1].sum(), z)[0].abs()
        unit = np.zeros(a.shape, np.float32)
        unit[:, 1] = 1
        found = Saliency(module, output_layer=layer, reducer=None, sample=x).explain(x, unit)
    else:
        slope = torch.autograd.grad(scores[:, 1].sum(), a)[0]
        if asked == "wrt":
            expected = slope.abs()
            found = Saliency(module, wrt=layer, reducer=None, sample=x).explain(x, 1)
        else:
            expected = torch.relu((slope.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True))
            found = GradCAM(module, conv_layer=layer, upsampling=None, sample=x).explain(x, 1)
    expected = expected.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
