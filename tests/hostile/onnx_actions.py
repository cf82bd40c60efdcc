"""Everything that a user can do with an ONNX file, each part on its own: an early refusal hides no later one."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onnxattr
from onnxattr.attributions import IntegratedGradients, Saliency
from onnxattr.errors import OnnxAttrError, TargetError
from onnxattr.graph.values import dims_of
from onnxattr.inspection import inspect
from onnxattr.running.explainers.metadata import is_explainer

#: Arrays that a mutant declares larger than this are not fed.
_MOST_ELEMENTS = 100_000


def everything(path):
    """Inspects, explains, exports and loads what was exported, and differentiates.

    Raises:
        OnnxAttrError: The first, if any part was refused.
        Exception: Anything else that any part raises.
    """
    refused = []

    def attempt(action, *arguments):
        try:
            return action(*arguments)
        except OnnxAttrError as error:
            if len(str(error)) < 30:
                raise RuntimeError(f"says too little: {error}") from error
            refused.append(error)

    warnings.simplefilter("ignore")
    attempt(inspect, path)
    attempt(onnxattr.vjp, path)
    if attempt(is_explainer, path):
        loaded = attempt(onnxattr.load, path)
        if loaded is not None:
            attempt(explain, loaded)
    for cls, options in ((Saliency, {}), (IntegratedGradients, {"steps": 3})):
        method = attempt(lambda cls=cls, options=options: cls(path, **options))
        if method is None and "wrt=" in str(refused[-1]):
            # A model of tokens is explained behind its embedding.
            method = attempt(lambda cls=cls, options=options: cls(path, wrt="embedded", **options))
        if method is not None:
            attempt(explain, method)
            attempt(export, method)
    if refused:
        raise refused[0]


def explain(method):
    """Explains rows of small numbers, as many as fit the declared inputs."""
    prepared = getattr(method, "prepared", None) or method._prepared
    feeds = {}
    for value in prepared.inputs:
        shape = [dim if isinstance(dim, int) and dim >= 0 else 2 for dim in dims_of(value) or []]
        if np.prod(shape, dtype=float) > _MOST_ELEMENTS:
            return
        kind = value.dtype.numpy() if value.dtype else np.float32
        feeds[value.name] = np.ones(shape, kind if np.dtype(kind).kind in "fiub" else np.float32)
    prediction = method.predict(feeds)
    try:
        method.explain(feeds)
    except TargetError:
        # Where rows are mixed, and for outputs of another rank, targets are weights.
        method.explain(feeds, np.ones_like(prediction))


def export(method):
    """Exports into a folder of its own, with weights inside and beside, and loads that."""
    with TemporaryDirectory() as folder:
        for place in ("inside", "beside"):
            path = Path(folder, f"{place}.onnx")
            method.export(path, weights=place)
            onnxattr.load(path)
