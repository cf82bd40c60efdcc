"""Modules that fold elements of groups, as pools and convolutions of graph networks do, beside PyTorch in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.common.verify import values  # noqa: E402
from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import Computed, assert_outputs_and_gradient  # noqa: E402

GROUP = torch.tensor([0, 2, 0, 1, 2, 2, 0, 4])  # none of group 3
ROWS = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)


def pooled(x, reduce, include_self=True, places=GROUP):
    return (2 * x[:, :5]).scatter_reduce(1, places.expand(len(x), -1), x, reduce, include_self=include_self)


def of_nodes(x, reduce, **settings):
    nodes = torch.stack([x, x.square(), x.relu()], 2)
    return (2 * nodes[:, :5] - 1).index_reduce(1, GROUP, nodes, reduce, **settings)


def attention(x):
    """The softmax of each group, as attention over the edges of a graph has it."""
    largest = x.detach().new_zeros(len(x), 5).index_reduce(1, GROUP, x.detach(), "amax", include_self=False)
    weight = (x - largest[:, GROUP]).exp()
    return weight / (x.new_zeros(len(x), 5).index_add(1, GROUP, weight)[:, GROUP] + 1e-16)


def whole(x, include_self):
    """Means of whole numbers, which PyTorch rounds down."""
    places = GROUP.expand(len(x), -1)
    mean = (9 * x[:, :5]).long().scatter_reduce(1, places, (7 * x).long(), "mean", include_self=include_self)
    return mean * x[:, :5]


FUNCTIONS = {
    "mean": lambda x: pooled(x, "mean"),
    "mean without self": lambda x: pooled(x, "mean", False),
    "mean along the last axis": lambda x: x[:, :5].scatter_reduce(-1, GROUP.expand(len(x), -1), x, "mean"),
    "mean of whole numbers": lambda x: whole(x, True),
    "mean of whole numbers without self": lambda x: whole(x, False),
    "mean of one number": lambda x: x * x.sum().scatter_reduce(0, torch.tensor(0), x.mean() * 3, "mean"),
    "sum into one number": lambda x: x * x.sum().scatter_add(0, torch.tensor(0), x.mean() * 3),
    "slices, mean": lambda x: of_nodes(x, "mean"),
    "slices, mean without self": lambda x: of_nodes(x, "mean", include_self=False),
    "slices, prod": lambda x: of_nodes(x, "prod"),
    "slices, prod without self": lambda x: of_nodes(x, "prod", include_self=False),
    "slices, amax": lambda x: of_nodes(x, "amax"),
    "slices, amin without self": lambda x: of_nodes(x, "amin", include_self=False),
    "slices of one number": lambda x: x * x.sum().index_reduce(0, torch.tensor(0), x.mean() * 3, "amax"),
    "attention": attention,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    function = FUNCTIONS[name]
    assert_outputs_and_gradient(Computed(lambda x: function(x)), ROWS, torch.float64, 1e-6, ROWS[:2])


# What PyTorch has no gradient of: a source larger than the index, and reductions by the names of scatter.
OUTPUTS = {
    "part of the source": lambda x: pooled(x, "mean", places=GROUP[:5]),
    "part of the source, amax": lambda x: pooled(x, "amax", False, GROUP[:5]),
    "part of the source, written": lambda x: x[:, :5].scatter(1, GROUP[2:5].expand(len(x), -1), x),
    "part of the source, added": lambda x: x[:, :5].scatter_add(1, GROUP[:5].expand(len(x), -1), x),
    "add": lambda x: x[:, :5].scatter(1, GROUP.expand(len(x), -1), x, reduce="add"),
    "multiply": lambda x: x[:, :5].scatter(1, GROUP.expand(len(x), -1), x, reduce="multiply"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name):
    function = OUTPUTS[name]
    model = to_onnx(Computed(lambda x: function(x)), ROWS[:2], verify=False)
    output = model.graph.output[0].name
    found = values(model, [output], {model.graph.input[0].name: ROWS})[output]
    np.testing.assert_allclose(found, function(torch.tensor(ROWS)).numpy(), rtol=1e-5)
