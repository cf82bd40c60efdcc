"""The layer tables of PyTorch modules: every call of a submodule has the value that a hook sees."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.common.verify import difference, values  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import (  # noqa: E402
    IMAGE,
    MODULES,
    Recurrent,
    ResNet,
    VisionTransformer,
    assert_table_is_that_of_hooks,
    by_hooks,
    make,
    rows,
    table_of,
)
from torch import nn  # noqa: E402

from onnxattr.attributions import DeconvNet, GradCAM, Saliency  # noqa: E402
from onnxattr.errors import ConversionError, ModelError  # noqa: E402


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
        for path, sign in (("used#1", 1), ("again#1", -1)):
            found = Saliency(model, output_layer=path, reducer=None).predict(x)
            np.testing.assert_allclose(found, module.used(torch.tensor(sign * x)).numpy(), atol=1e-6)
    for path in ("used", "again"):
        with pytest.raises(ModelError, match=f"'{path}' names a layer that is called at several places"):
            Saliency(model, output_layer=path)


def test_the_first_of_several_calls_is_said():
    model = to_onnx(make(Recalling), rows((6,)))
    with pytest.warns(UserWarning, match="'same' is a layer that is called 2 times.*'same#1'.*'same#2'"):
        Saliency(model, output_layer="same")


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
