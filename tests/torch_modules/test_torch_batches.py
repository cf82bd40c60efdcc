"""Modules of PyTorch that make a number of Python of their batch, or take another way for some batches."""

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.torch import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402
from onnxattr.loading.layers import read_layers  # noqa: E402

nn = torch.nn


class Cut(nn.Module):
    """What a function makes of the output of a layer, between layers."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function, self.last = nn.Linear(6, 6), function, nn.Linear(6, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.function(self.first(x))))


def chunks(h, rows, function):
    return torch.cat([function(part) for part in h.chunk(math.ceil(h.shape[0] / rows), 0)])


def heads(h):
    """As rtdl_revisiting_models splits heads, whose batch is the length of the queries."""
    return h.reshape(len(h), 2, 3).transpose(1, 2).reshape(len(h), 6)


def layers_of(model):
    return {layer.path: layer for layer in read_layers({p.key: p.value for p in model.metadata_props})}


def squares(h):
    return torch.arange(36.0).view(6, 6).to(h) / 36


def sums_of_rows_and_columns(h):
    most = torch.linalg.matrix_norm(h.view(-1, 2, 3), 1, keepdim=True)
    return h * most[:, :, 0] + torch.linalg.matrix_norm(h.view(-1, 2, 3), -math.inf)[:, None]


SAME_WAY = {
    "len": heads,
    "len, as a factor": lambda h: h.view(len(h) * 2, 3).square().view(len(h), 6),
    "chunks of 128 rows": lambda h: chunks(h, 128, torch.sin),
    "two chunks of the batch": lambda h: torch.cat([torch.sin(part) for part in h.chunk(2, 0)]),
    "two chunks of the batch and an axis": lambda h: torch.cat([
        part.sin() for part in h.reshape(-1, 3).chunk(2, 0)
    ]).view(-1, 6),
    "one chunk": lambda h: h.split(h.shape[0], 0)[0].sin(),
    "a refused size": lambda h: h if h.shape[0] <= 64 else h.view(1),
    "a number of elements": lambda h: h.sin() if h.numel() < 10_000 else torch.sin(h),
    "a number of elements, for half of it": lambda h: h.sin() if 4 * h.shape[0] < 1001 else torch.sin(h),
    "between numbers of elements": lambda h: h.sin() if 5 < h.numel() <= 10_000 else torch.sin(h),
    "take_along_dim": lambda h: torch.take_along_dim(h, h.argsort(1), 1),
    "take_along_dim, shared places": lambda h: h.take_along_dim(torch.tensor([[5, 0, 0, 1, 2, 4]]), -1),
    "kron": lambda h: torch.kron(h[:, :3], torch.tensor([[1.0, 2]]).to(h)),
    "gradient": lambda h: sum(torch.gradient(h.view(-1, 2, 3), spacing=(2.0, 3.0), dim=(1, 2))).view(-1, 6),
    "gradient, parabolas": lambda h: sum(
        torch.gradient(h.view(-1, 3, 2).mT, spacing=0.5, dim=(2,), edge_order=2)
    ).flatten(1),
    "multi_dot": lambda h: torch.linalg.multi_dot([h, squares(h), squares(h)]),
    "einsum of three": lambda h: torch.einsum("bi,ij,bj->bi", h, squares(h), h),
    "norms of matrices": sums_of_rows_and_columns,
    "bytes": lambda h: h.sin() if h.numel() * h.element_size() <= 2**20 else torch.sin(h),
}  # fmt: skip
OTHER_WAY = {
    "of one row": lambda h: 2 * h if h.shape[0] < 2 else 3 * h,
    "above a size": lambda h: 2 * h if h.shape[0] > 64 else 3 * h,
    "above a number of elements": lambda h: 2 * h if h.numel() > 1000 else 3 * h,
    "above a size, as a number": lambda h: h * (1 + int(h.shape[0] > 64)),
    "softmax over 64 rows": lambda h: chunks(h, 64, lambda part: part.softmax(0)),
    "means over 512 rows": lambda h: chunks(h, 512, lambda part: part - part.mean(0)),
}


@pytest.mark.parametrize("name", SAME_WAY)
def test_a_batch_that_is_a_number_of_python_is_of_any_size(name):
    module = Cut(SAME_WAY[name]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = to_onnx(module, np.ones((4, 6), np.float32))
    assert layers_of(model)["first"].outputs
    for rows in (1, 3, 4):
        x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows), dtype=torch.double)
        leaf = x.clone().requires_grad_()
        module.double()(leaf)[:, 1].sum().backward()
        found = GradientInput(model).explain(x.float().numpy(), [1] * rows)
        expected = (x * leaf.grad).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
        module.float()


@pytest.mark.parametrize("name", OTHER_WAY)
def test_a_batch_of_another_way_is_refused_with_a_way_out(name):
    module, x = Cut(OTHER_WAY[name]).eval(), np.ones((1, 6), np.float32)
    with pytest.raises(
        ConversionError, match=r"another way than those of the examples, .*dynamic_batch=False"
    ):
        to_onnx(module, np.repeat(x, 4, 0))
    model = to_onnx(module, x, dynamic_batch=False)
    assert GradientInput(model).explain(np.repeat(x, 3, 0), [1] * 3).shape == (3, 6)


@pytest.mark.parametrize("function", [lambda h: h + torch.zeros(4, 6), lambda h: torch.eye(4) @ h])
def test_a_tensor_of_the_rows_of_the_examples_is_refused_with_a_way_out(function):
    module, x = Cut(function).eval(), np.ones((4, 6), np.float32)
    with pytest.raises(ConversionError, match=r"has a tensor of so many rows.*x\.shape\[0\]"):
        to_onnx(module, x)


def test_one_row_keeps_its_axis_where_the_module_squeezes_it():
    module, x = Cut(lambda h: h.unsqueeze(1).squeeze()).eval(), np.random.default_rng(0).normal(size=(4, 6))
    method = GradientInput(to_onnx(module, x.astype(np.float32)))
    expected = module(torch.as_tensor(x.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(method.predict(x[:1]), expected[:1], atol=1e-6)


def test_layers_of_a_program_that_was_traced_strictly():
    module = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))).eval()
    program = torch.export.export(module, (torch.ones(2, 6),), strict=True)
    layers = layers_of(to_onnx(program))
    assert all(layers[path].outputs for path in ("0", "1", "1.0", "1.1"))


def test_the_module_of_a_program():
    """It has no modes, and raises where eval() is called."""
    module, x = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).eval(), torch.ones(2, 6)
    program = torch.export.export(module, (x,))
    model = to_onnx(program.module(), x, dynamic_batch=False)
    np.testing.assert_allclose(GradientInput(model).predict(x.numpy()), module(x).detach(), atol=1e-6)


class Columns(nn.Module):
    """As tables are embedded: a number for each category of each column."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tables, self.last = nn.ModuleList(nn.Embedding(size, 4) for size in (3, 10, 2)), nn.Linear(12, 2)

    def forward(self, ids):
        return self.last(torch.cat([table(ids[:, k]) for k, table in enumerate(self.tables)], 1).tanh())


@pytest.mark.parametrize("rows", [1, 4])
def test_columns_of_few_and_of_many_categories(rows):
    ids = np.array([[2, 9, 1], [0, 4, 0], [1, 8, 1], [0, 0, 0]])[:rows]
    module = Columns().eval()
    model = to_onnx(module, ids)
    expected = module(torch.as_tensor(ids)).detach().numpy()
    np.testing.assert_allclose(GradientInput(model, wrt="tables.1").predict(ids), expected, atol=1e-6)


@pytest.mark.parametrize("length", [64, 100, 37])
def test_axes_of_any_length_of_an_exported_program(length):
    """As docs/models.md shows it; the gradient at lengths other than that of the example is autograd's."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv1d(1, 4, 5, padding=2), torch.nn.GELU(), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    ).eval()  # fmt: skip
    free = {0: torch.export.Dim("N"), 2: torch.export.Dim("time")}
    program = torch.export.export(module, (torch.randn(2, 1, 64),), dynamic_shapes=(free,))
    method = GradientInput(to_onnx(program), output_layer="4")
    audio = torch.randn(3, 1, length, requires_grad=True)
    module(audio)[:, 1].sum().backward()
    expected = (audio * audio.grad).detach().numpy()
    np.testing.assert_allclose(
        method.explain(audio.detach(), [1, 1, 1]), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
