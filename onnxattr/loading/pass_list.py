"""The passes that bring a model to the form that rules take, in order: ``PASSES``.

A file comes as protobuf, from which its weights and what onnx_ir cannot hold are taken off; from there on the model is
an onnx_ir model until it is serialised. onnx's checker, inference, inliner and version converter, which need protobuf,
get it from ``passes/bridge.py``.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import sort
from onnxattr.loading.checks.call_counts import check_calls
from onnxattr.loading.checks.checker import check_valid
from onnxattr.loading.checks.negative_sizes import check_inferred_sizes, free_negative_sizes
from onnxattr.loading.checks.value_sizes import check_sizes
from onnxattr.loading.layers import append_views
from onnxattr.loading.passes.cast_pairs import read_before_cast_pairs
from onnxattr.loading.passes.casts_like import write_casts
from onnxattr.loading.passes.class_labels import name_classes
from onnxattr.loading.passes.constant_states import read_constant_states_outside
from onnxattr.loading.passes.constants import lift_constants
from onnxattr.loading.passes.contract import Draft, Fact, check, step
from onnxattr.loading.passes.copied_weights import read_weights_directly
from onnxattr.loading.passes.decompositions import write_out
from onnxattr.loading.passes.empty_operands import leave_out_empty
from onnxattr.loading.passes.functions import expand
from onnxattr.loading.passes.imports import adopt, import_default, spell_in_short
from onnxattr.loading.passes.inlining import drop_references, inline, leave_out_operators
from onnxattr.loading.passes.lengths import tell_lengths_apart
from onnxattr.loading.passes.loop_counters import count_in_numbers
from onnxattr.loading.passes.matrices import multiply_matrices
from onnxattr.loading.passes.node_names import name_nodes
from onnxattr.loading.passes.old_operators import hide_experimental, write_out_hidden
from onnxattr.loading.passes.opsets import (
    NEWEST_OPSET,
    check_versions,
    downgrade,
    set_ir_version,
    state_defaults,
    upgrade,
)
from onnxattr.loading.passes.pads import pad_every_axis
from onnxattr.loading.passes.pixels import take_floats
from onnxattr.loading.passes.repeated_positions import fold_elements
from onnxattr.loading.passes.reshapes import write_targets_down
from onnxattr.loading.passes.resized_axes import resize_every_axis
from onnxattr.loading.passes.rounded_casts import quantise_what_is_rounded
from onnxattr.loading.passes.saved_names import rename_saved_shapes
from onnxattr.loading.passes.series import compute_series_as_images
from onnxattr.loading.passes.stated_pads import state_pads
from onnxattr.loading.passes.static_nodes import infer_and_resolve
from onnxattr.loading.passes.ties import note_ties
from onnxattr.loading.passes.time_first import put_time_first
from onnxattr.loading.passes.transforms import multiply_out_transforms
from onnxattr.loading.passes.transposes import join_transposes
from onnxattr.loading.passes.turned_operands import keep_operands_apart
from onnxattr.loading.reading.detached_weights import (
    attach_weights,
    detach_weights,
    read_tensors,
    with_small_data,
)
from onnxattr.loading.reading.outputs import (
    declare_each_once,
    give_own_values,
    list_each_once,
    type_given_outputs,
)
from onnxattr.loading.reading.sparse_weights import write_out_sparse


def _write_out_sparse(draft: Draft) -> bool:
    given = draft.file
    draft.proto = write_out_sparse(given)
    return draft.proto is not given


def _detach(draft: Draft) -> bool:
    draft.proto, weights = detach_weights(with_small_data(draft.file, draft.folder))
    draft.weights = read_tensors(weights, draft.folder)
    return bool(weights)


def _read(draft: Draft) -> bool:
    # Values of onnx_ir hold the tensors of the protobuf itself: those renamed in a copy would be renamed there.
    apart = onnx.ModelProto()
    apart.CopyFrom(draft.file)
    try:
        draft.model = ir.serde.deserialize_model(apart)
    except (ir.serde.SerdeError, ValueError, LookupError, AssertionError) as error:
        # onnx's checker says it better, of what it finds.
        check_valid(draft.file)
        raise ModelError(f"The model cannot be read: {first_lines(error)}. Export it again.") from error
    return True


def _sort(draft: Draft) -> bool:
    """Brings nodes in order as ONNX Runtime does, also those of files that are no valid ONNX for it."""
    try:
        return sort(draft.model.graph)
    except ValueError:
        return False  # in a circle, of which the checker tells


F = Fact
#: What is true of a model that was read, before the first pass.
READ = frozenset({F.WELL_FORMED})
#: All passes, in order. A new one is a line here: each fact that it requires has to be ensured above.
PASSES = (
    # On protobuf: what onnx_ir cannot hold, or should not.
    step("write out sparse weights", _write_out_sparse, [F.WELL_FORMED], [F.DENSE]),
    step("detach large weights", _detach, [F.WELL_FORMED, F.DENSE], [F.DETACHED]),
    step("spell domains in short", lambda d: spell_in_short(d.file), [F.DETACHED]),
    step("append other views of layers' outputs", lambda d: append_views(d.file), [F.DETACHED]),
    step("give subgraphs values of their own", lambda d: give_own_values(d.file.graph), [], [F.BODIES]),
    step("list outputs once", lambda d: list_each_once(d.file.graph), [F.DETACHED]),
    step("declare inputs and weights once", lambda d: declare_each_once(d.file.graph), [F.DETACHED]),
    step(
        "type outputs that are inputs", lambda d: type_given_outputs(d.file.graph), [F.DETACHED], [F.OUTPUTS]
    ),
    step("read into onnx_ir", _read, [F.DETACHED, F.BODIES, F.OUTPUTS], [F.IN_IR]),
    # On onnx_ir: what a model must be before anything makes it larger.
    step("import ai.onnx", lambda d: import_default(d.model), [F.IN_IR]),
    check("check versions", lambda d: check_versions(d.model), [F.IN_IR], [F.VERSIONS]),
    step("leave out functions named as operators", lambda d: leave_out_operators(d.model), [F.VERSIONS]),
    check("check calls of functions", lambda d: check_calls(d.model, d.protobuf), [F.IN_IR], [F.CALLS]),
    step("adopt contrib operators", lambda d: adopt(d.model), [F.VERSIONS], [F.IMPORTED]),
    step("sort nodes", _sort, [F.IN_IR]),
    step("write out experimental operators", lambda d: hide_experimental(d.model), [F.IMPORTED]),
    step("free sizes of -1", lambda d: free_negative_sizes(d.model.graph), [F.IN_IR], [F.FREE_SIZES]),
    check(
        "run onnx's checker",
        lambda d: check_valid(d.protobuf("checker")),
        [F.IMPORTED, F.FREE_SIZES],
        [F.VALID],
    ),
    step(
        "inline functions",
        lambda d: inline(d.model, d.rules, d.protobuf),
        [F.CALLS, F.VALID],
        [F.INLINED],
    ),
    step("write out experimental operators of functions", lambda d: write_out_hidden(d.model), [F.INLINED]),
    step("drop references to attributes", lambda d: drop_references(d.model.graph), [F.INLINED]),
    check(
        "check for negative sizes",
        lambda d: check_inferred_sizes(d.model, d.protobuf),
        [F.VALID, F.INLINED],
    ),
    check(
        "check sizes of values",
        lambda d: check_sizes(d.model, d.protobuf, d.weights),
        [F.VALID, F.INLINED],
        [F.BOUNDED],
    ),
    # On onnx_ir: the form that rules take.
    step("tell lengths apart", lambda d: tell_lengths_apart(d.model.graph, d.rows), [F.IN_IR], [F.LENGTHS]),
    step("read weights directly", lambda d: read_weights_directly(d.model.graph, d.weights), [F.IN_IR]),
    step("state forgotten defaults", lambda d: state_defaults(d.model.graph), [F.IN_IR], [F.DEFAULTS]),
    step("put the time of recurrent nodes first", lambda d: put_time_first(d.model.graph), [F.IN_IR]),
    step("count loops in numbers", lambda d: count_in_numbers(d.model.graph), [F.IN_IR]),
    step("leave out empty operands", lambda d: leave_out_empty(d.model.graph), [F.IN_IR]),
    step("upgrade the opset", lambda d: upgrade(d.model, d.proto), [F.BOUNDED, F.DEFAULTS]),
    step("downgrade the opset", lambda d: downgrade(d.model, NEWEST_OPSET), [F.BOUNDED], [F.IN_WINDOW]),
    step("lift constants", lambda d: lift_constants(d.model), [F.IN_WINDOW], [F.NO_CONSTANTS]),
    step("name classes", lambda d: name_classes(d.model), [F.INLINED, F.NO_CONSTANTS]),
    step(
        "read constant states of loops outside",
        lambda d: read_constant_states_outside(d.model.graph),
        [F.NO_CONSTANTS],
    ),
    step(
        "write out decompositions",
        lambda d: write_out(d.model, d.rules, d.proto),
        [F.NO_CONSTANTS],
        [F.STANDARD],
    ),
    step("write out functions of ONNX", lambda d: expand(d.model, d.rules), [F.STANDARD], [F.HAVE_RULES]),
    step(
        "infer types, resolve what is decided before a run",
        lambda d: infer_and_resolve(d.model, d.proto),
        [F.LENGTHS, F.NO_CONSTANTS, F.HAVE_RULES],
        [F.RESOLVED, F.TYPED],
    ),
    step("write casts", lambda d: write_casts(d.model.graph, d.rules), [F.TYPED]),
    step("set the IR version", lambda d: set_ir_version(d.model), [F.IN_WINDOW]),
    step(
        "attach weights",
        lambda d: attach_weights(d.model.graph, d.weights),
        [F.DETACHED, F.TYPED],
        [F.COMPLETE],
    ),
    step(
        "resize every axis",
        lambda d: resize_every_axis(d.model.graph, d.model.opset_imports[""]),
        [F.TYPED],
    ),
    step("pad every axis", lambda d: pad_every_axis(d.model.graph, d.model.opset_imports[""]), [F.TYPED]),
    step(
        "multiply matrices", lambda d: multiply_matrices(d.model.graph, d.model.opset_imports[""]), [F.TYPED]
    ),
    step("fold elements", lambda d: fold_elements(d.model, d.rules), [F.TYPED, F.COMPLETE]),
    step(
        "multiply out Fourier transforms",
        lambda d: multiply_out_transforms(d.model, d.rules),
        [F.TYPED, F.COMPLETE],
    ),
    step("state pads", lambda d: state_pads(d.model), [F.TYPED]),
    check("note ties", lambda d: note_ties(d.model), [F.TYPED]),
    step("take pixels as floats", lambda d: take_floats(d.model), [F.TYPED]),
    step(
        "quantise what is rounded",
        lambda d: quantise_what_is_rounded(d.model.graph, d.model.opset_imports[""]),
        [F.TYPED, F.COMPLETE],
    ),
    step("read before pairs of casts", lambda d: read_before_cast_pairs(d.model.graph), [F.TYPED]),
    step(
        "keep turned operands apart",
        lambda d: keep_operands_apart(d.model.graph, d.model.opset_imports[""]),
        [F.TYPED],
    ),
    step("rename shapes that were saved", lambda d: rename_saved_shapes(d.model.graph), [F.COMPLETE]),
    step("name nodes", lambda d: name_nodes(d.model.graph), [F.IN_IR], [F.NAMED]),
)
#: What is done to the part of a model that is explained, once everything that a caller names in it is found.
PASSES_OF_PART = (
    step(
        "write targets of Reshapes down",
        lambda d: write_targets_down(d.model, d.kept),
        [F.TYPED, F.NO_CONSTANTS],
    ),
    step(
        "compute series as images",
        lambda d: compute_series_as_images(d.model, d.kept, d.rules),
        [F.TYPED, F.COMPLETE],
    ),
    step("join Transposes", lambda d: join_transposes(d.model, d.kept, d.rules), [F.TYPED]),
)


def first_lines(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:600]
