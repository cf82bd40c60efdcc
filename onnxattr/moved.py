"""Modules by the names they had in version 0.1: importing one says where it is now."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

#: By the package that modules were in and the one they are in: their names, with "=" and the new one where it changed.
_ROOMS: dict[tuple[str, str], str] = {
    ("", "attributions"): "elsewhere triton",
    ("", "autodiff"): "rules",
    ("", "cli"): "console",
    ("", "compile"): "exported=explainer_file finish_graph=clean_up gradient noise relus renderings",
    ("", "graph"): "builder schemas subgraphs values",
    ("", "inspection"): "inspection_places=places",
    ("", "loading"): "channels landmarks layers model=prepared",
    ("", "loading.meaning"): "class_names",
    ("", "loading.weights"): "weights=files",
    ("", "inputs"): "csv_rows",
    ("running", "inputs"): "array_files csv_rows",
    ("", "running"): "chunk_size driver",
    ("", "running.explainers"): "explainer trial",
    ("", "running.given"): "arrays frames input_values",
    ("", "testing"): "evaluator evaluator_windows",
    ("attributions", "compile"): "axes baseline_graphs baseline_kinds definition=method placed_path placement "
    "quadrature sample_shapes upsampling",
    ("attributions", "running"): "collected explained finite origin reason refine rows",
    ("attributions", "running.baselines"): "background baseline_inputs=inputs baselines=values",
    ("attributions", "running.given"): "batches feature_mask one_sample",
    ("converters", "converters.common"): "dependencies graph_edit layer_rows onnx_finish=onnx_model patching "
    "trust verify",
    ("converters", "converters.keras"): "tensorflow_operator tf2onnx_patches=tf2onnx_driver tf2onnx_taps",
    ("converters", "converters.keras.checking"): "guard_rows keras_check=check",
    ("converters", "converters.keras.layer_table"): "keras_layers=table keras_values=values",
    ("converters", "converters.keras.recurrence"): "keras_recurrent=layers recurrent_cells=cells "
    "recurrent_ops=operators",
    ("converters", "converters.keras.tracing"): "keras_inputs=inputs keras_trace=trace relu_groups",
    ("converters", "converters.keras.reading"): "hdf5_bounds keras_archive=archive keras_budget=budget "
    "keras_guard=guard keras_loading=load keras_pure=pure keras_steps=steps saved_model_guard saved_model_ops",
    ("converters", "converters.keras.translations"): "tf2onnx_resizes=resizes tf2onnx_selects=selects",
    ("converters", "converters.sklearn"): "sklearn_layers=layers sklearn_names=names "
    "sklearn_operators=operators sklearn_steps=steps",
    ("converters", "converters.torch"): "torch_calls=calls torch_export=export torch_layers=layers",
    ("loading", "loading"): "known_values=constant_values",
    ("loading", "loading.passes"): "appended batchwise=time_first body_names=own_names cast_pairs copied_weights "
    "functions lengths old_operators opsets other_domains=decompositions pads row_scans sequences static_nodes",
    ("loading", "loading.checks"): "call_counts loop_steps negative_sizes value_sizes",
    ("loading", "loading.reading"): "bodies=outputs external_data source weights_aside=detached_weights wellformed",
    ("loading", "loading.shapes"): "body_constants ceiled_pools declared_shapes=declared loop_shapes=loops "
    "missing_shapes=missing_ranks resizes runtime_sizes solved_sizes",
    ("loading", "loading.rows"): "row_bodies=bodies row_independence=independence row_movement=movement "
    "row_operators=operators row_sets=sets row_sizes=sizes row_walk=walk",
}  # fmt: skip


def _moves() -> dict[str, str]:
    """Old names of modules with their new ones."""
    found = {}
    for (old_room, new_room), names in _ROOMS.items():
        for name in names.split():
            old, _, new = name.partition("=")
            found[".".join(filter(None, ("onnxattr", old_room, old)))] = f"onnxattr.{new_room}.{new or old}"
    return found


#: Old names of modules with their new ones.
MOVED = _moves()


class _Signpost(importlib.abc.MetaPathFinder):
    """Asked after all other finders: raises for a module that has another name now, and finds nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in MOVED:
            raise ModuleNotFoundError(f"{fullname} is {MOVED[fullname]} now.", name=fullname)
        return None


def put_up() -> None:
    """Makes imports of old names say the new ones."""
    if not any(isinstance(finder, _Signpost) for finder in sys.meta_path):
        sys.meta_path.append(_Signpost())
