"""PyTorch in eager mode and in its channels-last layout, and Captum on both."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import numpy as np
import torch
from captum import attr
from torch import nn

from benchmarks.bench.cases import Case
from benchmarks.bench.files import ROOT, onnx_file
from benchmarks.bench.sides.base import BATCH, NOISE, Run, Side, UnavailableError

Tensors = tuple[nn.Module, torch.Tensor]


class PyTorch(Side):
    """Modules without gradients of their weights."""

    tasks: ClassVar = ("gradient", "saliency", "IG", "SquareGrad", "DeconvNet", "GradCAM")

    def __init__(self, case: Case, threads: int):
        super().__init__(case, threads)
        if case.torch == "":
            raise UnavailableError("no package has it for PyTorch")
        sys.path.insert(0, str(ROOT / "tests"))
        from benchmarks.bench import torch_networks

        if threads:
            torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.modules = {"": torch_networks.load(case.torch, onnx_file(case))}
        if case.image:
            last = torch_networks.load(case.torch, onnx_file(case))
            self.modules[" channels_last"] = last.to(memory_format=torch.channels_last)

    def prepare(self, task: str, rows: int, points: int = 50) -> dict[str, Run]:
        """See ``Side``."""
        x = self.samples(rows)
        runs: dict[str, Run] = {}
        for layout, module in self.modules.items():
            given = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if self.case.image else x)
            if layout:
                given = given.contiguous(memory_format=torch.channels_last)
            if task == "gradient":
                runs[f"PyTorch{layout}"] = self._arrays(self._gradient(module, given))
                if not layout:
                    runs["PyTorch forward"] = self._forward(module, given)
            else:
                runs[f"Captum{layout}"] = self._arrays(self._method(task, module, given, points))
        return runs

    def _arrays(self, run: Any) -> Run:
        """With channels last, as the other sides, where the network is for images; a view, which costs nothing."""

        def arrays() -> np.ndarray:
            found = run().detach().numpy()
            return found.transpose(0, 2, 3, 1) if self.case.image and found.ndim == 4 else found

        return arrays

    def _forward(self, module: nn.Module, x: torch.Tensor) -> Run:
        def run() -> np.ndarray:
            with torch.no_grad():
                return module(x).numpy()

        return run

    def _gradient(self, module: nn.Module, x: torch.Tensor) -> Any:
        def run() -> torch.Tensor:
            leaf = x.detach().requires_grad_(True)
            return torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)[0]

        return run

    def _method(self, task: str, module: nn.Module, x: torch.Tensor, points: int) -> Any:
        if task == "IG":
            path = attr.IntegratedGradients(module)
            options = {"n_steps": points, "method": "riemann_trapezoid", "internal_batch_size": BATCH}
            return lambda: path.attribute(x, baselines=0.0, target=0, **options)
        if task == "SquareGrad":
            noisy = attr.NoiseTunnel(attr.Saliency(module))
            options = {"nt_samples": points, "nt_samples_batch_size": max(1, BATCH // len(x))}
            return lambda: noisy.attribute(
                x, nt_type="smoothgrad_sq", stdevs=NOISE, target=0, abs=False, **options
            )
        if task == "GradCAM":
            return self._cam(module, x)
        kind = {"saliency": attr.Saliency, "DeconvNet": attr.Deconvolution}[task](module)
        return lambda: kind.attribute(x, target=0)

    def _cam(self, module: nn.Module, x: torch.Tensor) -> Any:
        if not hasattr(module, "last_convolution"):
            raise UnavailableError("no layer for Captum's Grad-CAM")
        cam = attr.LayerGradCam(module, module.last_convolution())
        size = tuple(x.shape[2:])
        return lambda: attr.LayerAttribution.interpolate(cam.attribute(x, target=0), size)
