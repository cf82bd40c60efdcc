"""PyTorch modules: conversion, and gradients compared with torch.autograd."""

import gc
import inspect

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters import objects  # noqa: E402
from onnxattr.converters.files import convert_file  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import (  # noqa: E402
    IMAGE,
    MODULES,
    SERIES,
    Computed,
    ConvNeXt,
    Recurrent,
    ResNet,
    assert_table_is_that_of_hooks,
    by_autograd,
    make,
    rows,
    table_of,
)
from torch import nn  # noqa: E402

from onnxattr.attributions import GradientInput, Saliency  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402


@pytest.mark.parametrize("opset", range(18, 24))
@pytest.mark.parametrize("kind", MODULES)
def test_gradients_are_those_of_autograd(kind, opset):
    module, x, labels = make(kind), rows(MODULES[kind]), [0, 3, 4]
    model = to_onnx(module, x[:1], opset=opset)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    found = Saliency(model, reducer=None).explain(x, labels)
    expected = by_autograd(module, x, labels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


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
    assert inspect.getfile(ResNet).encode() not in model.SerializeToString()


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


class Causal(nn.Module):
    """A decoder of Transformer's encoder layers; PyTorch looks whether a mask is the causal one."""

    def __init__(self, window):
        super().__init__()
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.window = window

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.layers(x, mask=mask + mask.T.roll(self.window, 1) if self.window else mask)


@pytest.mark.parametrize("window", [0, 3])
def test_masks_of_every_step(window):
    module, x = Causal(window).eval(), torch.randn(3, 5, 8)
    model = to_onnx(module, x)
    x.requires_grad_(True)
    module(x)[:, 2, 1].sum().backward()
    found = GradientInput(model, neuron=(2, 1)).explain(x.detach().numpy())
    np.testing.assert_allclose(found, (x * x.grad).detach(), atol=1e-5)


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


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Counted(nn.Module):
    def forward(self, x):
        return sum(x * number for number in range(int(x.max())))


class Density(nn.Module):
    def forward(self, x):
        return torch.distributions.Normal(x, 1.0, validate_args=True).log_prob(x)


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
        (
            Branching(),
            np.ones((2, 3), np.float32),
            {},
            r"Branching: it decides in Python.* at test_convert_torch.py, line \d+ \(`return x \* 2 if.*torch.where",
        ),
        (
            Counted(),
            np.ones((2, 3), np.float32),
            {},
            r"at test_convert_torch.py, line \d+ \(.*number of rounds",
        ),
        (
            Density(),
            np.ones((2, 3), np.float32),
            {},
            r"in Python at test_convert_torch.py, line \d+ .*validate_args=False\.$",
        ),
        (
            Asserting(),
            np.ones((2, 3), np.float32),
            {},
            r"Asserting: AssertionError in .*, line \d+\.",
        ),
        (
            Computed(lambda x: torch.conv_tbc(x, torch.ones(1, 3, 2), torch.zeros(2))),
            np.ones((2, 4, 3), np.float32),
            {},
            "form of aten.conv_tbc.*[Tt]he older exporter has one: .*dynamo=False",
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
