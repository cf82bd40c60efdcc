"""The networks that are measured, as data; "MobileNetV2@112" is MobileNetV2 for images of 112 x 112."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """A network.

    Attributes:
        name: As in the tables.
        shape: Of one sample, as the ONNX file takes it.
        keras: The function of ``networks`` that builds it, with its arguments; None for a model from a package.
        torch: The class of ``torch_networks``; None where PyTorch reads the ONNX file, "" where there is no module.
        rows: Samples of the first table.
        cam: Whether it has channels of which Grad-CAM can make a map.
        relu: Whether DeconvNet changes anything.
        weighs: Rough seconds of one gradient of one row on one thread, to leave out what would take hours.
        low: Least value of the random inputs.
    """

    name: str
    shape: tuple[int, ...]
    keras: tuple[Any, ...] | None = None
    torch: str | None = None
    rows: int = 8
    cam: bool = False
    relu: bool = True
    weighs: float = 0.01
    low: float = -1.0

    @property
    def image(self) -> bool:
        """Whether PyTorch has it with the channels first."""
        return len(self.shape) == 3

    @property
    def file(self) -> str:
        """A name for files."""
        return self.name.replace(" ", "-").replace(",", "")


_IMAGE = (224, 224, 3)
CASES = {
    case.name: case
    for case in (
        Case("ResNet50", _IMAGE, ("application", "ResNet50"), cam=True, weighs=0.13),
        Case("MobileNetV2", _IMAGE, ("application", "MobileNetV2"), cam=True, weighs=0.035),
        Case("VGG16", _IMAGE, ("application", "VGG16"), rows=2, cam=True, weighs=0.35),
        Case("EfficientNet-Lite0", _IMAGE, ("lite0",), cam=True, weighs=0.04),
        Case("DenseNet121", _IMAGE, ("application", "DenseNet121"), cam=True, weighs=0.12),
        Case("ViT-Tiny", _IMAGE, ("vit_tiny",), "ViT", relu=False, weighs=0.08),
        Case("InceptionTime", (512, 1), ("inception_time",), cam=True, weighs=0.004),
        Case("overlapping pools", (64, 64, 3), ("overlapping_pools",), cam=True, weighs=0.01),
        Case("LSTM", (100, 16), ("lstm",), "Lstm", relu=False, weighs=0.005),
        Case("wide MLP", (20_000,), ("wide_mlp",), weighs=0.003),
        Case("MiniLM", (64, 384), None, "MiniLM", relu=False, weighs=0.02),
        Case("basic-pitch", (43_844, 1), None, "", weighs=0.15),
    )
}


def case(name: str) -> Case:
    """The case of that name.

    Raises:
        SystemExit: If there is none.
    """
    base, _, side = name.partition("@")
    if base not in CASES:
        raise SystemExit(f"{base!r} is no network of the benchmark; there are: {', '.join(CASES)}.")
    found = CASES[base]
    if not side:
        return found
    return replace(found, name=name, shape=(int(side), int(side), 3), keras=(*found.keras, int(side)))
