"""ONNX Runtime and its execution providers: those that are there, and what they are given."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from typing import Any

from onnxattr.errors import ParameterError, RuntimeMissingError

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_NEED_CUDA = (_CUDA, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


def runtime() -> Any:
    """Imports ONNX Runtime.

    Raises:
        RuntimeMissingError: If neither wheel is installed, or the two have broken each other.
    """
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018
    except (ImportError, AttributeError) as error:
        raise RuntimeMissingError(
            "ONNX Runtime is not installed: run `pip install onnxattr[cpu]`, or `pip install onnxattr[gpu]` for CUDA. "
            "If both wheels were installed, uninstall both first: they overwrite each other."
        ) from error
    return onnxruntime


def default_providers() -> list[str]:
    """CUDA with CPU behind it where a GPU is in sight and the wheel can use it, else CPU."""
    gpu = os.path.exists("/dev/nvidia0") or os.environ.get("CUDA_VISIBLE_DEVICES", "") not in ("", "-1")
    if (
        gpu
        and os.environ.get("CUDA_VISIBLE_DEVICES") != "-1"
        and _CUDA in runtime().get_available_providers()
    ):
        return [_CUDA, _CPU]
    return [_CPU]


def on_cpu(providers: Sequence[Any] | None) -> bool:
    """Whether sessions with these providers compute on the CPU."""
    first = (default_providers() if providers is None else providers)[0]
    return bool(name_of(first) == _CPU)


def check_providers(providers: Sequence[Any]) -> list[Any]:
    """The providers as a list, if ONNX Runtime has them all.

    Raises:
        ParameterError: If they are not names, or pairs of a name and options.
        RuntimeMissingError: If one is not available.
    """
    named = isinstance(providers, Sequence) and not isinstance(providers, str) and len(providers) > 0
    if not named or not all(isinstance(name_of(entry), str) for entry in providers):
        raise ParameterError(
            f"providers={providers!r}: expected a sequence of provider names, or of pairs (name, options); "
            "None for the best present."
        )
    available = runtime().get_available_providers()
    missing = [name_of(entry) for entry in providers if name_of(entry) not in available]
    if missing:
        raise RuntimeMissingError(
            f"Providers {missing} are not in this ONNX Runtime; it has {available}. Leave providers out to use the "
            "best of these, or install onnxattr[gpu] for CUDA."
        )
    return list(providers)


#: What a CUDA session is given unless its options say otherwise. ONNX Runtime's own defaults let convolutions and
#: products round to TensorFloat-32, ten bits, which flips decisions of ReLUs and max-pools, and take the algorithm that
#: was the fastest of a trial for each new shape.
_EXACT_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


def preload_cuda(providers: Sequence[Any]) -> None:
    """Loads the CUDA and cuDNN libraries that pip installs with onnxattr[gpu], if a provider of the list needs them.

    Without it ONNX Runtime finds only libraries in the folders of the system, and a session falls back to the CPU.
    """
    if any(name_of(entry) in _NEED_CUDA for entry in providers):
        _load_cuda_libraries()


@functools.cache
def _load_cuda_libraries() -> None:
    preload = getattr(runtime(), "preload_dlls", None)
    if preload is not None:
        # It prints which libraries it could not load; the standard output belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            preload()


def exact(providers: Sequence[Any]) -> list[Any]:
    """The providers with the options under which CUDA computes in float32; options that are given stay as they are."""
    with_options = []
    for entry in providers:
        options = entry[1] if isinstance(entry, (tuple, list)) and len(entry) > 1 else {}
        cuda = name_of(entry) == _CUDA
        with_options.append((_CUDA, _EXACT_CUDA | dict(options)) if cuda else entry)
    return with_options


def name_of(entry: Any) -> Any:
    """The name of a provider that is given alone or with its options."""
    return entry[0] if isinstance(entry, (tuple, list)) and entry else entry
