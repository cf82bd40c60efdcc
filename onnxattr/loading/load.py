"""Brings a model to the form that rules take, by the passes of ``pass_list``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError, one_door
from onnxattr.loading.checks.casts_left import about_casts
from onnxattr.loading.checks.newer_operators import about_newer_operators
from onnxattr.loading.pass_list import PASSES, PASSES_OF_PART, first_lines
from onnxattr.loading.passes.contract import Draft, run_passes
from onnxattr.loading.passes.lengths import share_first_axis
from onnxattr.loading.passes.opsets import OPSET
from onnxattr.loading.reading.source import ModelSource, default_opset, digest, name_of, read_model
from onnxattr.loading.rows.independence import MIXED, independence
from onnxattr.loading.verify import ORIGINAL

#: What ``load`` notes in a model's ``meta``: the folder of its external data, the files read, the SHA-256 of its file,
#: the passes that changed it.
FOLDER, FILES, DIGEST, CHANGED_BY = "folder", "files", "sha256", "changed_by"


def load(source: ModelSource, rules: RuleTable = STANDARD) -> ir.Model:
    """Loads a model and prepares a copy: checked, functions inlined, opset in the window, every value typed.

    Operators without a rule that have a definition in others are written out.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        rules: The rule table that the model is going to be differentiated with.

    Raises:
        ModelError: If the model cannot be read, is invalid, or is newer or older than what can be handled.
    """
    with one_door(f"{name_of(source)} cannot be prepared"):
        located = read_model(source)
        model = _prepared(located.proto, located.folder, rules)
        if share_first_axis(model.graph) and _mixes_rows(model):
            # They may be of different lengths, as those of an encoder and a decoder.
            model = _prepared(located.proto, located.folder, rules, rows=False)
        model.meta[FOLDER], model.meta[FILES] = located.folder, located.files
        model.meta[DIGEST] = digest(source, located.proto)
        model.meta[ORIGINAL] = located.proto
        return model


def clean_part(model: ir.Model, kept: Iterable[ir.Value], rules: RuleTable = STANDARD) -> None:
    """Writes the nodes of a loaded model in fewer, in place; other values than those that are kept may go.

    Args:
        model: What ``load`` gave, or the part of it that is explained.
        kept: The values that are asked for, besides the outputs.
        rules: The rule table that the model is going to be differentiated with.
    """
    draft = Draft(None, None, rules, kept=frozenset(kept))
    draft.model = model
    changed_by = run_passes(PASSES_OF_PART, draft)
    model.meta[CHANGED_BY] = (*model.meta.get(CHANGED_BY, ()), *changed_by)


def _mixes_rows(model: ir.Model) -> bool:
    graph = model.graph
    return independence(graph, model.opset_imports.get("", OPSET), graph.outputs).kind == MIXED


def _prepared(proto: onnx.ModelProto, folder: Path | None, rules: RuleTable, rows: bool = True) -> ir.Model:
    draft = Draft(proto, folder, rules, rows)
    try:
        changed_by = run_passes(PASSES, draft)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ModelError(
            f"The model is not valid ONNX of opset {default_opset(proto)}: {first_lines(error)}{about_casts(proto)}"
            f"{about_newer_operators(proto)}"
        ) from error
    draft.model.meta[CHANGED_BY] = changed_by
    return draft.model
