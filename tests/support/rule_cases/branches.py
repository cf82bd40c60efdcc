"""Rows of the com.microsoft operators on several streams of features; formulas where ONNX Runtime has no kernel yet."""

import numpy as np
import onnxruntime

from support.rule_cases import microsoft, w, x

_NO_KERNEL = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 32)


def unit(a, epsilon=1e-5):
    return a / np.sqrt((a**2).mean(-1, keepdims=True) + epsilon)


def norm(a, scale=None, epsilon=1e-5, num_branches=0):
    streams = a.reshape(*a.shape[:-1], num_branches, -1) if num_branches else a
    y = unit(streams, epsilon)
    return [(y if scale is None else y * scale.reshape(-1, y.shape[-1])).reshape(a.shape)]


def before(a, gates, reduction_scale=1.0, num_branches=0):
    streams = a.reshape(*a.shape[:-1], num_branches, -1) if num_branches else a
    return [reduction_scale * (streams * gates.reshape(*streams.shape[:-1], -1)).sum(-2)]


def after(a, block, gates, mix=None, num_branches=0):
    streams = a.reshape(*a.shape[:-1], num_branches, -1) if num_branches else a
    mixed = streams if mix is None else np.swapaxes(mix, -1, -2) @ streams
    return [(mixed + gates.reshape(*streams.shape[:-1], -1) * block[..., None, :]).reshape(a.shape)]


def engram(key, query, value, of_key, of_query, last=None, epsilon=1e-5):
    dot = (unit(key, epsilon) * of_key * unit(query, epsilon) * of_query).sum(-1) / np.sqrt(key.shape[-1])
    gate = 1 / (1 + np.exp(-np.sign(dot) * np.sqrt(np.maximum(np.abs(dot), 1e-6))))
    y = gate[..., None] * value[..., None, :]
    return [y] if last is None else [y, unit(y, epsilon) * last]


def row(op, formula, *operands, outputs="f", **settings):
    own = {"formula": lambda *arrays: formula(*arrays, **settings)} if _NO_KERNEL else {}
    return microsoft(op, *operands, outputs=outputs, **own, **settings)


CASES = [
    row("BranchwiseRMSNorm", norm, x(2, 3, 4, 6)),
    row("BranchwiseRMSNorm", norm, x(2, 3, 4, 6), w(4, 6), epsilon=0.1),
    row("BranchwiseRMSNorm", norm, x(2, 24), x(24), num_branches=4),
    row("BranchwiseRMSNorm", norm, x(2, 3, 24), w(6), num_branches=4),
    row("HyperConnectionPreMix", before, x(2, 3, 4, 6), x(2, 3, 4), reduction_scale=0.5),
    row("HyperConnectionPreMix", before, x(2, 4, 6), x(2, 4, 6)),
    row("HyperConnectionPreMix", before, x(2, 3, 24), x(2, 3, 24), num_branches=4),
    row("HyperConnectionPreMix", before, x(2, 24), x(2, 4, 1), num_branches=4),
    row("HyperConnectionPostMix", after, x(2, 3, 4, 6), x(2, 3, 6), x(2, 3, 4)),
    row("HyperConnectionPostMix", after, x(2, 3, 4, 6), x(2, 3, 6), x(2, 3, 4, 6), x(2, 3, 4, 4)),
    row("HyperConnectionPostMix", after, x(2, 24), x(2, 6), x(2, 4, 1), x(2, 4, 4), num_branches=4),
    row("EngramGate", engram, x(2, 3, 4, 6), x(2, 3, 4, 6), x(2, 3, 6), w(4, 6), w(4, 6)),
    row("EngramGate", engram, x(2, 3, 4, 6), x(2, 3, 4, 6), x(2, 3, 6), x(4, 6), w(4, 6), w(4, 6), outputs="ff",
        epsilon=0.1),
]  # fmt: skip
