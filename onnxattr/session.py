"""ONNX Runtime sessions: quiet logs, little memory, clear errors."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import math
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError, RuntimeMissingError
from onnxattr.graph.fusions import ends_the_process
from onnxattr.graph.requantised import serialised
from onnxattr.providers import (
    check_providers,
    default_providers,
    exact,
    name_of,
    on_cpu,
    preload_cuda,
    runtime,
)

#: A small model has fewer bytes than this, and fewer numbers in its weights.
_SMALL = 2**20


@functools.cache
def _share_cpu_memory() -> None:
    """Makes one arena for the CPU memory of all our sessions, which grows by what is asked for and no more.

    A method has several sessions and its runs are large: an arena each, growing by powers of two, would hold several
    times what any run needs, and touching fresh memory is what a large run spends most of its time on.
    """
    ort = runtime()
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    same_as_requested = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1}
    # An application that has registered an allocator of its own keeps it.
    with contextlib.suppress(Exception):
        ort.create_and_register_allocator(
            memory, ort.OrtArenaCfg(same_as_requested | {"max_dead_bytes_per_chunk": -1})
        )


class Session:
    """One loaded model. With ``providers=None`` the best one present is used, silently falling back to CPU."""

    def __init__(
        self,
        model: ir.Model | onnx.ModelProto | Path,
        providers: Sequence[Any] | None = None,
        folder: str | os.PathLike[str] | None = None,
        *,
        as_deployed: bool = False,
        in_reals: bool = False,
        outputs: Collection[str] | None = None,
    ):
        """Loads a model.

        Args:
            model: The model, or its file.
            providers: Execution providers in order of preference, as ONNX Runtime takes them.
            folder: Where the model's external data lies, if it has any.
            as_deployed: Whether memory is planned as in sessions with default options, by the shapes of the first run.
            in_reals: Whether dequantised values are multiplied as floats; else ONNX Runtime may round them to integers.
            outputs: The outputs to compute, where the model has them; None for all.

        Raises:
            RuntimeMissingError: If ONNX Runtime, or a provider asked for, is not available.
            ModelError: If ONNX Runtime refuses the model.
        """
        ort = runtime()
        _warn_of_two_wheels()
        _share_cpu_memory()
        chosen = exact(default_providers() if providers is None else check_providers(providers))
        preload_cuda(chosen)
        cpu = on_cpu(chosen)
        options = _options(folder, as_deployed, cpu)
        if in_reals:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        content, small, limited = _as_given(model)
        if limited:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        try:
            self._session = ort.InferenceSession(content, options, providers=chosen)
        except Exception as error:
            advice = _advice(content) if "NOT_IMPLEMENTED" in str(error) else ""
            reason = f"{error}".rstrip(". ")
            raise ModelError(
                f"ONNX Runtime {ort.__version__} refuses the model: {reason}.{advice}"
            ) from error
        if cpu:
            # Kept to start again on another provider, should one fail in a run: a copy of all weights.
            self._session._model_bytes = None
        del content
        if not small:
            _give_back_memory()
        if providers is not None and name_of(chosen[0]) not in self._session.get_providers():
            raise RuntimeMissingError(
                f"{name_of(chosen[0])} was asked for but could not be started (got {self._session.get_providers()}). "
                "CUDA needs NVIDIA's driver and `pip install onnxattr[gpu]`, which brings CUDA and cuDNN; "
                "or leave providers out."
            )
        # Each once: a file may list one twice.
        given = dict.fromkeys(output.name for output in self._session.get_outputs())
        self.outputs = [name for name in given if outputs is None or name in outputs]
        self.inputs = {value.name for value in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the model; feeds that it has no input for are left out.

        Raises:
            ModelError: If ONNX Runtime fails, for instance on an index that a lookup table does not have.
        """
        own = {name: array for name, array in feeds.items() if name in self.inputs}
        try:
            return list(self._session.run(self.outputs, own))
        except Exception as error:
            shapes = {name: array.shape for name, array in own.items()}
            raise ModelError(
                f"ONNX Runtime could not run the model on inputs of shapes {shapes}: {_whole(error)}"
            ) from error


def _whole(error: Exception) -> str:
    """An error of ONNX Runtime, with what is behind it where it speaks of its insides."""
    told = str(error)
    behind = next((said for part, said in _BEHIND.items() if part in told), None)
    return told if behind is None else f"{told.strip(' .')}. {behind}"


def _give_back_memory() -> None:
    """Gives the system what making a session has freed, one to two times the weights, which glibc would keep."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)


#: By part of an error of ONNX Runtime.
_BEHIND = {
    "Can broadcast 0 by 0 or 1": (
        "A value that this node reads is empty: where a Loop takes no step, ONNX Runtime gives 0 for each size that "
        "the graph does not tell of what it stacks. Give inputs with which it takes one step or more."
    ),
}


class _Given(NamedTuple):
    """A model as ONNX Runtime takes it."""

    #: Of a file its path in UTF-8, or what is in it where the path has other bytes.
    content: str | bytes
    #: Whether making a session frees too little for a walk through all free memory of the process.
    small: bool
    #: Whether all of ONNX Runtime's optimisations may end the process.
    limited: bool


def _as_given(model: ir.Model | onnx.ModelProto | Path) -> _Given:
    """A model as ONNX Runtime takes it: nothing else of what is made of an ``ir.Model`` here is kept."""
    if isinstance(model, Path):
        try:
            return _Given(os.fsencode(model).decode(), False, False)
        except UnicodeDecodeError:
            return _Given(model.read_bytes(), False, False)
    proto = serialised(model) if isinstance(model, ir.Model) else model
    content: bytes = proto.SerializeToString()
    weights = sum(math.prod(tensor.dims) for tensor in proto.graph.initializer)
    return _Given(content, len(content) < _SMALL and weights < _SMALL, ends_the_process(proto.graph))


def _advice(content: str | bytes) -> str:
    """What to do where ONNX Runtime lacks an operator for the types of a model."""
    if isinstance(content, str):
        graph = onnx.load(content, load_external_data=False).graph
    else:
        graph = onnx.load_from_string(content).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in graph.input}
    if kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}:
        return " Of half precision it may lack operators: try precision='float32'."
    if onnx.TensorProto.DOUBLE in kinds:
        return (
            " It lacks convolutions and more for float64: make the file of a model in float32, in PyTorch by "
            "module.float(), in Keras by layers with dtype='float32'."
        )
    return ""


def _options(folder: str | os.PathLike[str] | None, as_deployed: bool, cpu: bool) -> Any:
    """The options of a session; ``cpu``: whether it runs on the CPU alone."""
    options = runtime().SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.intra_op_num_threads = _threads()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Idle threads that wait for work in a loop would take the cores from the next session, up to half of its speed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_mem_pattern = as_deployed
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.fsencode(folder)
        )
    if not cpu:
        # A node left to the CPU inside a Loop cannot read packed weights of the graph around it: the process ends.
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def threads() -> int:
    """How many threads a session has."""
    return _threads() or os.cpu_count() or 1


def _threads() -> int:
    """How many threads a session has; 0 for as many as ONNX Runtime takes, one for each core of the machine."""
    # What Ray and Spark give each of their workers.
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return allowed if allowed < (os.cpu_count() or 1) else 0


@functools.cache
def _warn_of_two_wheels() -> None:
    """Once: looking for the wheels takes longer than loading a small model."""
    installed = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            importlib.metadata.version(name)
            installed.append(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(installed) == 2:
        warnings.warn(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, install one.",
            stacklevel=3,
        )
