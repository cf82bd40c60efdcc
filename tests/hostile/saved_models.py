"""SavedModels that act while they are loaded or called; `FOLDERS` maps a name to what writes the folder."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

SPEC = tf.TensorSpec([None, 4], tf.float32, name="x")


def saved(path: Path, call: Callable, **parts) -> Path:
    """A module with one signature."""
    module = tf.Module()
    module.f = tf.function(call, input_signature=[SPEC])
    for name, part in parts.items():
        setattr(module, name, part)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.f})
    return path


def acting(act: Callable[[str], object]):
    """What writes a model whose signature acts on the name of a file in the canary folder."""

    def write(path: Path, canary: Path) -> Path:
        def call(x):
            act(str(canary / "mark"))
            return {"y": x * 2}

        return saved(path, call)

    return write


def in_branch(path: Path, canary: Path) -> Path:
    def call(x):
        def act():
            tf.io.write_file(str(canary / "mark"), "ran")
            return x

        return {"y": tf.cond(tf.reduce_sum(x) < 1e9, act, lambda: x)}

    return saved(path, call)


def in_loop(path: Path, canary: Path) -> Path:
    def call(x):
        def act(i, z):
            tf.io.write_file(str(canary / "mark"), "ran")
            return i + 1, z * 2

        return {"y": tf.while_loop(lambda i, z: i < 3, act, (0, x))[1]}

    return saved(path, call)


def in_function(path: Path, canary: Path) -> Path:
    @tf.function
    def inner(x):
        tf.io.write_file(str(canary / "mark"), "ran")
        return x

    @tf.function
    def outer(x):
        return inner(x) * 2

    return saved(path, lambda x: {"y": outer(x)})


class Resource(tf.saved_model.experimental.TrackableResource):
    """A resource whose initialisation, which loading runs, writes a file."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.float32)

    def _initialize(self):
        tf.io.write_file(self.mark, "ran")


def at_load(path: Path, canary: Path) -> Path:
    return saved(path, lambda x: {"y": x * 2}, resource=Resource(str(canary / "mark")))


def in_other_method(path: Path, canary: Path) -> Path:
    @tf.function(input_signature=[])
    def log():
        tf.io.write_file(str(canary / "mark"), "ran")
        return tf.constant(1)

    return saved(path, lambda x: {"y": x * 2}, log=log)


def of_tensorflow_1(path: Path, canary: Path) -> Path:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        weight = v1.get_variable("w", [4, 2], use_resource=True)
        y = tf.matmul(x, weight)
        session.run(v1.global_variables_initializer())
        act = v1.write_file(str(canary / "mark"), "ran")
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=tf.group(act), clear_devices=True
        )
        builder.save()
    return path


def checkpoint(mark: str) -> None:
    """The operator that writes checkpoints is in every SavedModel, but not in its signature."""
    tf.raw_ops.SaveV2(prefix=mark, tensor_names=["a"], shape_and_slices=[""], tensors=[1.0])


def restored(mark: str) -> None:
    tf.raw_ops.RestoreV2(prefix=mark, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])


def debugged(mark: str) -> None:
    urls = [f"file://{mark}"]
    tf.raw_ops.DebugIdentityV2(input=1.0, debug_urls=urls, tfdbg_context_id="a", op_name="a")


def altered(change: Callable) -> Callable:
    """What writes a harmless model and changes its graph."""

    def write(path: Path, canary: Path) -> Path:
        from tensorflow.core.protobuf import saved_model_pb2

        saved(path, lambda x: {"y": x * tf.constant([1.0, 2.0, 3.0, 4.0])}, weight=tf.Variable(1.0))
        proto = saved_model_pb2.SavedModel()
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
        change(proto.meta_graphs[0], canary)
        (path / "saved_model.pb").write_bytes(proto.SerializeToString())
        return path

    return write


def signature_calls_saver(meta, canary: Path) -> None:
    """The signature's function also calls the one that writes checkpoints, with a name of its own."""
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    saver = next(name for name in functions if "traced_save" in name)
    target = next(function for name, function in functions.items() if "signature_wrapper" in name)
    name = target.node_def.add(name="prefix", op="Const")
    name.attr["dtype"].type = 7
    name.attr["value"].tensor.dtype = 7
    name.attr["value"].tensor.string_val.append(str(canary / "mark").encode())
    call = target.node_def.add(name="save", op="StatefulPartitionedCall", input=["prefix:output:0"])
    call.attr["f"].func.name = saver


def splat(meta, canary: Path) -> None:
    """A constant of 2^40 elements in a few bytes."""
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if node.op == "Const" and node.attr["dtype"].type == 1:
                tensor = node.attr["value"].tensor
                tensor.tensor_content = b""
                del tensor.tensor_shape.dim[:]
                tensor.tensor_shape.dim.add(size=2**40)
                tensor.float_val[:] = [1.0]


FOLDERS = {
    "write": acting(lambda mark: tf.io.write_file(mark, "ran")),
    "print_to_file": acting(lambda mark: tf.print("ran", output_stream=f"file://{mark}")),
    "checkpoint": acting(checkpoint),
    "read": acting(lambda mark: tf.io.read_file("/etc/passwd")),
    "restore": acting(restored),
    "python": acting(lambda mark: tf.py_function(lambda: open(mark, "w").close(), [], [])),
    "debug_identity": acting(debugged),
    "in_branch": in_branch,
    "in_loop": in_loop,
    "in_function": in_function,
    "at_load": at_load,
    "in_other_method": in_other_method,
    "of_tensorflow_1": of_tensorflow_1,
    "signature_calls_saver": altered(signature_calls_saver),
    "splat": altered(splat),
}
