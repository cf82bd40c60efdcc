"""What PyTorch modules are refused for, named with the way out."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` installs it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test-torch` installs it")

from onnxattr.converters.torch import to_onnx  # noqa: E402
from support.torch_modules import Computed  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

nn = torch.nn


@dataclasses.dataclass
class Result:
    scores: torch.Tensor


class Trained(nn.Module):
    """Layers of which some are put into training mode by the forward pass, or never leave it."""

    def __init__(self, layer, inside):
        super().__init__()
        self.first, self.second, self.inside = nn.Linear(6, 6), layer, inside
        if not inside:
            layer.train = lambda mode=True: layer

    def forward(self, x):
        if self.inside:
            self.second.train()
        return self.second(self.first(x))


def dynamic_integers():
    return torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(6, 3)), {nn.Linear}, dtype=torch.qint8
    )


def recurrent_integers():
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(6, 3)), {nn.LSTM}, dtype=torch.qint8)


def static_integers():
    module = torch.ao.quantization.QuantWrapper(nn.Sequential(nn.Linear(6, 3)).eval())
    module.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare(module)
    prepared(torch.randn(6, 6))
    return torch.ao.quantization.convert(prepared)


MODE = r"Layers \['second'\] are in training mode .*\.train\(\) inside forward"
REFUSED = {
    "dropout, inside": (lambda: Trained(nn.Dropout(), True), MODE),
    "dropout, always": (lambda: Trained(nn.Dropout(), False), MODE),
    "batch normalisation, inside": (lambda: Trained(nn.BatchNorm1d(6), True), MODE),
    "batch normalisation, always": (lambda: Trained(nn.BatchNorm1d(6), False), MODE),
    "dropout as a function": (
        lambda: Computed(lambda x: nn.functional.dropout(x, training=True)),
        "draws random numbers.*dropout with training=True",
    ),
    "a compiled layer": (
        lambda: nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.Tanh()))),
        r"Layer '0' is compiled by torch.jit: put the module that it was made of",
    ),
    "dynamic integers": (
        dynamic_integers,
        r"Layer '0' \(Linear\) is quantised by torch.ao.*convert the module that was quantised",
    ),
    "recurrent integers": (recurrent_integers, r"'0' \(LSTM\) is quantised by torch.ao.*No exporter"),
    "static integers": (
        static_integers,
        r"Layer 'module.0' \(Linear\) is quantised by torch.ao.*QuantizeLinear.*dynamo=False",
    ),
    "bfloat16": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Softplus()).bfloat16(),
        r"Softplus.*bfloat16.*opset=22, where more have one, or module.float\(\)",
    ),
    "dataclass": (
        lambda: Computed(lambda x: Result(x.sin())),
        r"output has a Result.*tuple or a dict.*register_dataclass\(Result\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_way_out(name):
    make, match = REFUSED[name]
    module = make().eval()
    kind = next((weight.dtype for weight in module.parameters()), torch.float32)
    with pytest.raises(ConversionError, match=match):
        to_onnx(module, torch.ones(3, 6, dtype=kind))
    assert not any(part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * len([n for n in x.sum(1).tolist() if n > 0]),
        lambda x: torch.cond(x.sum() > 0, lambda y: y if y.max() > 0 else -y, lambda y: -y, (x,)),
    ],
    ids=["branch", "list", "within a branch"],
)
def test_nothing_is_printed_beside_the_refusal(function, capfd):
    """PyTorch prints the graph that it had until then, hundreds of lines of a large model."""
    with pytest.raises(ConversionError):
        to_onnx(Computed(function), np.ones((3, 6), np.float32))
    assert capfd.readouterr() == ("", "")
