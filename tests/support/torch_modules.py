"""PyTorch modules of several kinds, and what their layers and gradients are."""

import numpy as np
import torch
from onnxattr.converters.common.verify import values
from onnxattr.converters.torch import to_onnx
from torch import nn

from onnxattr.compile.gradient import vjp
from onnxattr.loading.layers import read_layers


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


class Computed(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def assert_outputs_and_gradient(module, x, dtype=torch.float32, atol=0.0, examples=None):
    """Of the converted module and of the module in dtype; it is converted on examples, ones unless given."""
    model = to_onnx(module, np.ones_like(x) if examples is None else examples)
    tensor = torch.tensor(x, dtype=dtype, requires_grad=True)
    expected = module(tensor)
    expected.sum().backward()
    inside, output = model.graph.input[0].name, model.graph.output[0].name
    ct = {f"{output}_cotangent": np.ones(expected.shape, np.float32)}
    found = values(vjp(model), [output, f"{inside}_gradient"], {inside: x} | ct)
    np.testing.assert_allclose(found[output], expected.detach().numpy(), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found[f"{inside}_gradient"], tensor.grad.numpy(), rtol=1e-5, atol=atol)
