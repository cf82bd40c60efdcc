"""PyTorch modules that torch.export does not take for what they ask of numbers: packed sequences, fake quantisation.

Each is refused with the way out, and the way out is taken: files of the older exporter, beside torch.autograd.
"""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch")

from onnxattr.converters.torch import to_onnx  # noqa: E402

from onnxattr import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

nn = torch.nn
pack, unpack = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence
pytestmark = pytest.mark.filterwarnings("ignore")
LENGTHS = np.array([6, 4, 2])


class Recurrent(nn.Module):
    """The maximum of what a recurrent layer gives, over the steps of each sample."""

    def __init__(self, kind, bidirectional=False, with_state=False, enforce_sorted=True):
        super().__init__()
        self.layer = kind(3, 4, batch_first=True, bidirectional=bidirectional)
        self.head, self.with_state = nn.Linear(8 if bidirectional else 4, 2), with_state
        self.enforce_sorted = enforce_sorted

    def forward(self, x, lengths):
        packed = pack(x, lengths, batch_first=True, enforce_sorted=self.enforce_sorted)
        state = (torch.zeros(1, x.shape[0], 4),) if self.with_state else ()
        steps, _ = unpack(self.layer(packed, *state)[0], batch_first=True, total_length=x.shape[1])
        return self.head(steps.amax(1))


class PaddedBack(nn.Module):
    def forward(self, x, lengths):
        return unpack(pack(x, lengths, batch_first=True), batch_first=True, padding_value=-1.0)[0].sum(1)


class Normalised(nn.Module):
    """A layer on the numbers of a packed sequence alone."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x, lengths):
        return self.norm(pack(x, lengths, batch_first=True).data).sum(0, keepdim=True)


def trained_for_integers():
    """A module prepared for training that knows of its quantisation, with ranges that it has seen."""
    quantization = torch.ao.quantization
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    module.qconfig = quantization.QConfig(
        activation=quantization.default_fake_quant, weight=quantization.default_weight_fake_quant
    )
    quantization.prepare_qat(module.train(), inplace=True)
    module(torch.randn(64, 3) * 3)
    module.apply(quantization.disable_observer)
    return module.eval()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Recurrent(nn.GRU), "packs sequences.*lengths - 1.*dynamo=False.*enforce_sorted=True"),
        (lambda: Recurrent(nn.GRU, with_state=True), "packs sequences"),
        (PaddedBack, "packs sequences.*padding_value"),
        (Normalised, "packs sequences"),
        (trained_for_integers, r"fake quantisation .*fake_quantize\.py, line \d+ .*dynamo=False"),
    ],
)
def test_refused_with_the_way_out(make, match):
    module, x = make().eval(), np.ones((3, 6, 3), np.float32)
    inputs = [x[:, 0]] if isinstance(module, nn.Sequential) else [x, LENGTHS]
    with pytest.raises(ConversionError, match=match):
        to_onnx(module, inputs)


def older_file(module, *inputs):
    file, names = io.BytesIO(), ["x", "lengths"][: len(inputs)]
    axes = {name: {0: "samples"} for name in names}
    torch.onnx.export(module, inputs, file, dynamo=False, input_names=names, dynamic_axes=axes)
    return file.getvalue()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_lengths_in_any_order(kind):
    torch.manual_seed(0)
    module = Recurrent(kind, bidirectional=True).eval()
    x = torch.randn(3, 6, 3)
    method = GradientInput(older_file(module, x, torch.tensor(LENGTHS)))
    module.enforce_sorted = False
    for lengths in (LENGTHS, [1, 6, 4], [2, 3, 6]):
        z = torch.randn(3, 6, 3, requires_grad=True)
        module(z, torch.tensor(lengths))[[0, 1, 2], [1, 0, 1]].sum().backward()
        found = method.explain([z.detach().numpy(), np.asarray(lengths)], [1, 0, 1])
        np.testing.assert_allclose(found, (z * z.grad).detach().numpy(), atol=1e-6)


def test_fake_quantisation():
    torch.manual_seed(0)
    module, z = trained_for_integers(), torch.randn(8, 3, requires_grad=True)
    module(z)[:, 1].sum().backward()
    found = GradientInput(older_file(module, z.detach())).explain(z.detach().numpy(), np.ones(8, int))
    np.testing.assert_allclose(found, (z * z.grad).detach().numpy(), atol=1e-6)
