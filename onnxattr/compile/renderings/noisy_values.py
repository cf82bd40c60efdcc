"""Which values of a model a noise tunnel adds noise to, and the model as a function of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from onnxattr.autodiff.paths import reaching
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import prune
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.prepared import Prepared


def noisy_values(prepared: Prepared) -> tuple[str, ...]:
    """The values that get noise: explained inputs, the float inputs before explained values, else those themselves."""
    found: dict[str, None] = {}
    for name in prepared.wrt:
        found |= dict.fromkeys(_sources(prepared, prepared.value(name)) or [name])
    return tuple(found)


def _sources(prepared: Prepared, value: ir.Value) -> list[str]:
    if value.producer() is None:
        return [str(value.name)]
    before, spec = reaching(list(prepared.model.graph), value), prepared.preprocessing
    if spec is not None and spec.in_graph and not spec.at_pixels:
        before |= {value}
        image = prepared.values.get(spec.feeds)
        return [spec.feeds] if image in before else []
    return [str(v.name) for v in prepared.inputs if v in before and v.dtype in FLOATS and dims_of(v)]


def with_inputs(prepared: Prepared, names: Sequence[str]) -> Prepared:
    """The model with some of its inner values as inputs, so that it is a function of them."""
    inner = [name for name in names if prepared.value(name).producer() is not None]
    if not inner:
        return prepared
    model = prepared.clone()
    values = named_values(model.graph)
    for name in inner:
        old = values[name]
        new = ir.Value(name=name, type=old.type, shape=old.shape)
        old.name = f"{name}/before_noise"
        ir.convenience.replace_all_uses_with(old, new)
        model.graph.inputs.append(new)
    prune(model.graph)
    return replace(prepared, model=model)
