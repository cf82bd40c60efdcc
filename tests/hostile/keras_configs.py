"""Keras files whose configuration names something that acts; `FILES` maps a name to what writes the file.

Each would write, copy or delete below the canary folder if it did what it says. The configurations are written by hand:
no Keras would save most of them.
"""

import base64
import io
import json
import marshal
import zipfile
from pathlib import Path

import h5py

VICTIM = "victim"


def code(canary: Path) -> dict:
    """A Python lambda, as Keras 3 writes one, that makes a file."""
    function = eval(f"lambda x: (open({str(canary / 'lambda')!r}, 'w'), x)[1]")
    text = base64.encodebytes(marshal.dumps(function.__code__)).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


def old_code(canary: Path) -> list:
    return [code(canary)["config"]["code"], None, None]


def layer(class_name: str, config: dict, module: str = "keras.layers", **more) -> dict:
    name = class_name.lower()
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **config},
        "name": name,
        "registered_name": None,
        **more,
    }


def sequential(*layers: dict) -> dict:
    first = layer("InputLayer", {"batch_shape": [None, 4], "dtype": "float32"})
    return layer("Sequential", {"layers": [first, *layers]}, "keras")


def lambda_layer(canary: Path) -> dict:
    return layer("Lambda", {"function": code(canary), "arguments": {}})


def write_zip(path: Path, config, weights: bytes | None = None, **members: bytes) -> Path:
    """A `.keras` file; `config` is an object, or text."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        archive.writestr("model.weights.h5", no_weights() if weights is None else weights)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def no_weights() -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file.create_group("layers")
    return held.getvalue()


def write_h5(path: Path, config) -> Path:
    """An `.h5` file of Keras 2; `config` is an object, or text."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"], weights.attrs["backend"] = [], "tensorflow"
        weights.attrs["keras_version"] = "2.15.0"
    return path


def functional(*layers: dict) -> dict:
    """A Functional model of Keras 2 that ends in its last layer; the second one makes Keras 3 give up, tf_keras not."""
    shape = {
        "batch_input_shape": [None, 4],
        "dtype": "float32",
        "sparse": False,
        "ragged": False,
        "name": "i",
    }
    first = {"class_name": "InputLayer", "config": shape, "name": "i", "inbound_nodes": []}
    old = operation("math.abs", ["i", 0, 0, {}], "z")
    config = {"name": "m", "layers": [first, old, *layers], "input_layers": [["i", 0, 0]]}
    config["output_layers"] = [[layers[-1]["name"], 0, 0]]
    return {"class_name": "Functional", "config": config}


def operation(function: str, node: list, name: str = "t", class_name: str = "TFOpLambda") -> dict:
    config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": class_name, "config": config, "name": name, "inbound_nodes": [node]}


def constant(first, **arguments) -> list:
    """The arguments of a TensorFlow function that is called while the layer is made."""
    return ["_CONSTANT_VALUE", -1, first, arguments]


def dense(source: str = "i") -> dict:
    config = {"name": "d", "units": 2, "activation": "linear"}
    return {"class_name": "Dense", "config": config, "name": "d", "inbound_nodes": [[[source, 0, 0, {}]]]}


def old_lambda(canary: Path) -> dict:
    config = {"name": "l", "function": old_code(canary), "function_type": "lambda", "module": "__main__"}
    config |= {"output_shape": None, "output_shape_type": "raw", "arguments": {}}
    return {"class_name": "Lambda", "config": config, "name": "l", "inbound_nodes": [[["i", 0, 0, {}]]]}


def node_def(canary: Path) -> dict:
    """A layer of an operator, as TensorFlow 2.2 wrote them."""
    text = f'name: "w" op: "WriteFile" input: "a" input: "b" # {canary}'
    config = {"name": "t", "trainable": True, "dtype": "float32", "node_def": text}
    config["constants"] = {"0": str(canary / "node"), "1": "ran"}
    return {
        "class_name": "TensorFlowOpLayer",
        "config": config,
        "name": "t",
        "inbound_nodes": [[["i", 0, 0, {}]]],
    }


def calls(function: str, *arguments, **more):
    """What writes an `.h5` file that calls a function of TensorFlow."""

    def write(path: Path, canary: Path) -> Path:
        made = [str(canary / value[1:]) if str(value).startswith("@") else value for value in arguments]
        named = {key: str(canary / v[1:]) if str(v).startswith("@") else v for key, v in more.items()}
        return write_h5(path, functional(operation(function, constant(made[0], **named)), dense()))

    return write


def zipped(make):
    """What writes a `.keras` file of the configuration that `make` gives for a canary folder."""
    return lambda path, canary: write_zip(path, make(canary))


def old(make):
    return lambda path, canary: write_h5(path, make(canary))


FILES = {
    "lambda.keras": zipped(lambda c: sequential(lambda_layer(c))),
    "lambda_in_wrapper.keras": zipped(
        lambda c: sequential(layer("TimeDistributed", {"layer": sequential(lambda_layer(c))}))
    ),
    "lambda_in_bidirectional.keras": zipped(
        lambda c: sequential(
            layer("Bidirectional", {"layer": layer("LSTM", {"units": 2}), "backward_layer": lambda_layer(c)})
        )
    ),
    "lambda_in_cell.keras": zipped(lambda c: sequential(layer("RNN", {"cell": [lambda_layer(c)]}))),
    "lambda_as_activation.keras": zipped(
        lambda c: sequential(layer("Dense", {"units": 2, "activation": code(c)}))
    ),
    "lambda_as_initializer.keras": zipped(
        lambda c: sequential(layer("Dense", {"units": 2, "kernel_initializer": code(c)}))
    ),
    "lambda_in_build_config.keras": zipped(
        lambda c: sequential(
            layer("Dense", {"units": 2}, build_config={"input_shape": [None, 4], "f": code(c)})
        )
    ),
    "lambda_in_inner_compile_config.keras": zipped(
        lambda c: sequential({**sequential(), "compile_config": {"loss": code(c), "optimizer": "sgd"}})
    ),
    "lambda_by_later_key.keras": lambda path, c: write_zip(
        path,
        json.dumps(sequential(layer("Flatten", {})))[:-1]
        + ', "config": '
        + json.dumps(sequential(lambda_layer(c))["config"])
        + "}",
    ),
    "lambda_escaped.keras": lambda path, c: write_zip(
        path,
        json.dumps(sequential(lambda_layer(c)))
        .replace('"Lambda"', '"\\u004cambda"')
        .replace("__lambda__", "\\u005f_lambda__"),
    ),
    "lambda_under_other_name.keras": zipped(
        lambda c: sequential(layer("Flatten", {"function": code(c)}, registered_name="Lambda"))
    ),
    "own_class.keras": zipped(
        lambda c: sequential(
            layer("Acting", {"path": str(c / "own")}, None, registered_name="hostile>Acting")
        )
    ),
    "own_class_as_dense.keras": zipped(
        lambda c: sequential(layer("Dense", {"path": str(c / "own")}, registered_name="hostile>Acting"))
    ),
    "own_function.keras": zipped(
        lambda c: sequential(
            layer(
                "Dense",
                {
                    "units": 2,
                    "activation": {
                        "class_name": "function",
                        "config": "hostile>acting",
                        "module": "builtins",
                        "registered_name": "hostile>acting",
                    },
                },
            )
        )
    ),
    "function_of_os.keras": zipped(
        lambda c: sequential(
            layer(
                "Dense",
                {
                    "units": 2,
                    "activation": {
                        "class_name": "function",
                        "config": "system",
                        "module": "os",
                        "registered_name": "system",
                    },
                },
            )
        )
    ),
    "function_that_downloads.keras": zipped(
        lambda c: sequential(
            layer(
                "Dense",
                {
                    "units": 2,
                    "activation": {
                        "class_name": "function",
                        "config": "get_file",
                        "module": "keras.utils",
                        "registered_name": None,
                    },
                },
            )
        )
    ),
    "class_of_subprocess.keras": zipped(
        lambda c: sequential(layer("Popen", {"args": ["touch", str(c / "process")]}, "subprocess"))
    ),
    "saved_model_layer.keras": zipped(
        lambda c: sequential(layer("TFSMLayer", {"filepath": str(c / VICTIM), "call_endpoint": "serve"}))
    ),
    "vocabulary_file.keras": zipped(
        lambda c: sequential(layer("StringLookup", {"vocabulary": "/etc/passwd"}))
    ),
    "map_of_code.keras": zipped(lambda c: sequential(layer("Map", {"f": code(c)}, "keras.src.ops.core"))),
    "lambda.h5": old(lambda c: functional(old_lambda(c), dense("l"))),
    "lambda_escaped.h5": lambda path, c: write_h5(
        path, json.dumps(functional(old_lambda(c), dense("l"))).replace('"Lambda"', '"\\u004cambda"')
    ),
    "lambda_in_sequential.h5": old(
        lambda c: {
            "class_name": "Sequential",
            "config": [{"class_name": "TimeDistributed", "config": {"layer": old_lambda(c)}}],
        }
    ),
    "operator_of_old_tensorflow.h5": old(lambda c: functional(node_def(c), dense())),
    "write.h5": calls("io.write_file", "@written", contents="ran"),
    "write_of_compat.h5": calls("compat.v1.write_file", "@written", contents="ran"),
    "write_raw.h5": calls("raw_ops.WriteFile", None, filename="@written", contents="ran"),
    "copy.h5": calls("io.gfile.copy", f"@{VICTIM}/a", dst="@copied"),
    "rename.h5": calls("io.gfile.rename", f"@{VICTIM}/a", dst="@renamed"),
    "rmtree.h5": calls("io.gfile.rmtree", f"@{VICTIM}"),
    "makedirs.h5": calls("io.gfile.makedirs", "@made/dirs"),
    "print_to_file.h5": calls("print", "ran", output_stream="file:///tmp/onnxattr_printed"),
    "zeros.h5": calls("zeros", [10**5, 10**5]),
    "full.keras": zipped(
        lambda c: {
            **functional(
                layer(
                    "Full", {"shape": [10**5, 10**5]}, "keras.src.ops.numpy", inbound_nodes=[{"args": [1.0]}]
                )
            ),
            "module": "keras",
        }
    ),
    "download.h5": calls("keras.utils.get_file", "mark", origin="file:///etc/passwd"),
    "save_checkpoint.h5": calls("raw_ops.SaveV2", None, prefix="@saved", tensor_names=["a"], tensors=[1.0]),
    "summary.h5": calls("summary.create_file_writer", "@summary"),
    "slicing.h5": old(
        lambda c: functional(
            operation("io.write_file", constant(str(c / "w"), contents="x"), class_name="SlicingOpLambda"),
            dense(),
        )
    ),
    "method.h5": old(
        lambda c: functional(
            {
                **operation("math.abs", ["i", 0, 0, {}]),
                "class_name": "InstanceMethod",
                "config": {"name": "t", "attr_name": "numpy"},
            },
            dense(),
        )
    ),
    "tensorflow_call.keras": zipped(
        lambda c: {
            "module": "tf_keras",
            "registered_name": "Functional",
            **functional(operation("io.write_file", constant(str(c / "w"), contents="x")), dense()),
        }
    ),
}
