"""Measures the same explanations by PyTorch with Captum, by onnx-ad and by onnxattr, as ratios of median times.

Ratios above 1 mean that the other library is slower.

`make benchmark-torch` runs it. The networks have the sizes of deployed ones and seeded weights; every gradient is
compared before it is timed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import NoiseTunnel
from captum.attr import Saliency as CaptumSaliency
from onnx_ad import reverse
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from onnxattr.converters.torch import to_onnx

from onnxattr import IntegratedGradients, SmoothGrad, vjp
from onnxattr.session import Session

POINTS = 50


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2015, arXiv 1512.03385)."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output, of ``width`` channels."""
        return self.relu(self.body(x) + self.shortcut(x))


class Transformer(nn.Module):
    """Patches of an image through encoder layers (Dosovitskiy et al., 2020, arXiv 2010.11929), of the size "tiny"."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 192, 16, 16)
        self.place = nn.Parameter(torch.randn(1, 196, 192) * 0.02)
        layer = nn.TransformerEncoderLayer(192, 3, 768, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(192, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The logits."""
        tokens = self.patch(image).flatten(2).transpose(1, 2) + self.place
        return self.head(self.encoder(tokens).mean(1))


class Recurrent(nn.Module):
    """The last state of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.head(self.lstm(series)[0][:, -1])


def resnet18() -> nn.Module:
    """A ResNet of 18 layers."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [Residual(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "ResNet18": (resnet18, (3, 224, 224), 4),
    "ViT-Tiny": (Transformer, (3, 224, 224), 4),
    "LSTM, 100 steps": (Recurrent, (100, 16), 32),
}


def main() -> None:
    """Prints how many times as long as here each computation takes elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where both sides compute")
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # float32 on both sides
    print(f"{'model':16} {'what':28} {'other / onnxattr':>16} {'onnxattr, ms':>12}")
    for name in options.models:
        build, shape, rows = MODELS[name]
        torch.manual_seed(0)
        for what, (ours, theirs) in contenders(build().eval(), shape, rows, options.device).items():
            here, elsewhere = measure([ours, theirs], options.repeats)
            print(f"{name:16} {what:28} {elsewhere / here:16.2f} {here * 1e3:12.2f}", flush=True)


Run = Callable[[], object]


def contenders(
    module: nn.Module, shape: tuple[int, ...], rows: int, device: str
) -> dict[str, tuple[Run, Run]]:
    """Each computation here and elsewhere, on the same rows; both sides start and end with arrays of the CPU."""
    x = np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)
    model = to_onnx(module, x[:1])
    module.to(device)
    predict = Session(model)
    name = model.graph.input[0].name
    path, noise = IntegratedGradients(model, steps=POINTS), SmoothGrad(model, nb_samples=POINTS)
    captum_path, captum_noise = CaptumIntegratedGradients(module), NoiseTunnel(CaptumSaliency(module))

    def given(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.copy()).to(device)

    def torch_predict() -> np.ndarray:
        with torch.no_grad():
            return module(given(x)).cpu().numpy()

    def torch_gradient() -> np.ndarray:
        leaf = given(x).requires_grad_()
        return torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)[0].cpu().numpy()

    ours, onnx_ad = gradients(model, x, len(torch_predict()[0]))
    expected = torch_gradient()
    for run in filter(None, (ours, onnx_ad)):
        found = run()
        # The mean: among millions of ReLUs a few are within rounding of their kink.
        error = np.abs(found - expected).mean() / np.abs(expected).max()
        if error > 1e-4:
            raise SystemExit(f"The gradients are not the same: {error:.1e} of the largest on average.")
    first = [0]
    by_onnx_ad = {"gradient, onnx-ad": (ours, onnx_ad)} if onnx_ad else {}
    return {
        "prediction, PyTorch": (lambda: predict.run({name: x}), torch_predict),
        "gradient, PyTorch": (ours, torch_gradient),
        **by_onnx_ad,
        f"{POINTS} steps, Captum": (
            lambda: path.explain(x[:1], first),
            lambda: captum_path.attribute(
                given(x[:1]), target=0, n_steps=POINTS, method="riemann_trapezoid", internal_batch_size=32
            ).cpu(),
        ),
        f"{POINTS} draws, Captum": (
            lambda: noise.explain(x[:1], first),
            lambda: captum_noise.attribute(
                given(x[:1]), target=0, nt_samples=POINTS, nt_samples_batch_size=32, stdevs=0.2, abs=False
            ).cpu(),
        ),
    }


def gradients(model: onnx.ModelProto, x: np.ndarray, classes: int) -> tuple[Run, Run | None]:
    """The gradient of the first class's score, by this package and by onnx-ad, both in ONNX Runtime."""
    name, output = model.graph.input[0].name, model.graph.output[0].name
    cotangent = np.zeros((len(x), classes), np.float32)
    cotangent[:, 0] = 1
    here = Session(vjp(model))
    feeds = {name: x, f"{output}_cotangent": cotangent}
    try:
        elsewhere = Session(
            reverse(with_rows(model, len(x)), [name], [output], prefix="adj_", dim="nadj", layout="onnx")
        )
    except Exception as error:  # Whatever it is, it is the result of the comparison.
        print(f"onnx-ad: {str(error).splitlines()[0][:100]}")
        return lambda: here.run(feeds)[-1], None
    position = elsewhere.outputs.index(f"adj_{name}")
    other = {name: x, f"adj_{output}": cotangent[..., None]}
    return lambda: here.run(feeds)[-1], lambda: elsewhere.run(other)[position][..., 0]


def with_rows(model: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    """The model for so many rows, with the shapes that onnx-ad asks for."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = rows
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def measure(runs: list[Run], repeats: int) -> list[float]:
    """Median seconds of each, run in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, seconds in zip(runs, times, strict=True):
            time.sleep(0.02)  # the threads of the one before come to rest
            start = time.perf_counter()
            run()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


if __name__ == "__main__":
    main()
