"""The smallest files that show what runtimes do wrong, by the names that onnxattr's tables of runtimes give them."""

from collections.abc import Callable

import numpy as np
import onnx

from portable.minimal import opencv, openvino, webgpu

Minimal = tuple[onnx.ModelProto, dict[str, np.ndarray]]
#: Functions that make a model and its feeds, by runtime and name.
MINIMAL: dict[str, dict[str, Callable[[], Minimal]]] = {
    "openvino": openvino.MINIMAL,
    "opencv": opencv.MINIMAL,
    "webgpu": webgpu.MINIMAL,
}
