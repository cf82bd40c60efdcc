"""What sessions ask of ONNX Runtime's providers."""

import pytest

from onnxattr.session import exact

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
FLOAT32 = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([CUDA, CPU], [(CUDA, FLOAT32), CPU]),
        ([(CUDA, {"device_id": "1"})], [(CUDA, {**FLOAT32, "device_id": "1"})]),
        ([(CUDA, {"use_tf32": "1"})], [(CUDA, {**FLOAT32, "use_tf32": "1"})]),
        ([(CPU, {"a": "b"}), CPU], [(CPU, {"a": "b"}), CPU]),
    ],
)
def test_cuda_computes_in_float32_unless_its_options_say_otherwise(given, expected):
    assert exact(given) == expected
