"""External data outside the model's folder, behind links and in devices is refused."""

import os
import socket

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.external_weights import LABELS, SIZE, WEIGHTS, X, check, model_with, save
from support.small_models import node

from onnxattr.attributions import GradientInput, Saliency
from onnxattr.errors import ModelError


def fifo(folder):
    os.mkfifo(folder / "sub/w.bin")


def a_socket(folder):
    # Its address is short: the name of a socket has up to 107 letters.
    here = os.getcwd()
    os.chdir(folder / "sub")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("w.bin")
    os.chdir(here)


def link_to_a_device(folder):
    (folder / "sub/w.bin").symlink_to("/dev/zero")


def link_out(folder):
    (folder / "sub/w.bin").symlink_to("../secret.bin")


def link_out_in_steps(folder):
    (folder / "sub/step").symlink_to("../secret.bin")
    (folder / "sub/w.bin").symlink_to("step")


def linked_folder(folder):
    (folder / "sub/up").symlink_to("..")


def circle(folder):
    (folder / "sub/w.bin").symlink_to("w.bin")


def here(folder):
    (folder / "sub/w.bin").write_bytes((folder / "secret.bin").read_bytes())


def nothing(folder):
    pass


REFUSED = {
    "missing": ({}, nothing, "'w.bin' is not beside the model"),
    "FIFO": ({}, fifo, "'w.bin' is a FIFO"),
    "socket": ({}, a_socket, "'w.bin' is a socket"),
    "folder": ({"location": "."}, nothing, "'.' is a folder"),
    "link to a device": ({}, link_to_a_device, "is a link to /dev/zero, which is not in"),
    "link out": ({}, link_out, r"is a link to .*/secret.bin, which is not in .*/sub"),
    "link to a link out": ({}, link_out_in_steps, r"is a link to .*/secret.bin, which is not in"),
    "linked folder": ({"location": "up/secret.bin"}, linked_folder, r"is a link to .*/secret.bin, which is not in"),
    "link to itself": ({}, circle, "not beside the model.*links"),
    "parent": ({"location": "../secret.bin"}, nothing, "leads out of the model's folder"),
    "parent inside": ({"location": "a/../../secret.bin"}, nothing, "leads out of the model's folder"),
    "down and up": ({"location": "../sub/../secret.bin"}, nothing, "leads out of the model's folder"),
    "absolute": ({"location": "{folder}/secret.bin"}, nothing, "is an absolute path"),
    "absolute, inside": ({"location": "{folder}/sub/w.bin"}, here, "is an absolute path"),
    "absolute on Windows": ({"location": "C:\\secret.bin"}, nothing, "is an absolute path"),
    "device": ({"location": "/dev/zero"}, nothing, "is an absolute path"),
    "no name": ({"location": ""}, nothing, "no data file is named"),
    "NUL": ({"location": "a\0b"}, nothing, "is not the name of a file"),
    "long name": ({"location": "n" * 300}, nothing, "not beside the model.*too long"),
    "below a file": ({"location": "w.bin/x"}, here, "not beside the model"),
    "offset beyond the end": ({"offset": 4}, here, r"bytes 4 to 14404 are needed of 'w.bin', which has 14400"),
    "offset of 2**60": ({"offset": 2**60}, here, "which has 14400"),
    "offset beyond 64 bits": ({"offset": 10**30}, here, "expected a number of bytes"),
    "negative offset": ({"offset": -4}, here, "offset is '-4'; expected a number of bytes from 0 on"),
    "negative length": ({"length": -1}, here, "length is '-1'"),
    "length in words": ({"length": "many"}, here, "length is 'many'"),
    "length too small": ({"length": 4}, here, r"is said to be 4 bytes; its shape \[60, 60\] takes 14400"),
    "length of 2**60": ({"length": 2**60}, here, r"takes 14400"),
    "shape of 2**60": ({"dims": [2**60]}, here, "needed of 'w.bin', which has 14400"),
    "shape beyond 64 bits": ({"dims": [2**60, 2**60]}, here, "needed of 'w.bin', which has 14400"),
    "negative shape": ({"dims": [-60, -60]}, here, "negative dimension"),
    "text": ({"data_type": TensorProto.STRING}, here, "type 8, which has no size"),
    "unknown type": ({"data_type": 99}, here, "unknown type 99"),
    "no type": ({"data_type": 0}, here, "unknown type 0"),
}  # fmt: skip


def in_initializer(model):
    return model.graph.initializer[0]


def in_constant(model):
    tensor = model.graph.initializer.pop()
    model.graph.node.insert(0, node("Constant", [], ["w"], value=tensor))
    return model.graph.node[0].attribute[0].t


def in_branch(model):
    value = helper.make_tensor_value_info("y", 1, ["N", SIZE])
    body = helper.make_graph(list(model.graph.node), "body", [], [value], [model.graph.initializer.pop()])
    other = helper.make_graph(
        [node("Identity", ["x"], ["y2"])], "o", [], [helper.make_tensor_value_info("y2", 1, None)]
    )
    del model.graph.node[:]
    model.graph.node.append(node("If", ["c"], ["y"], then_branch=body, else_branch=other))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch").initializer[0]


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_which_rule_refused(case, place, tmp_path):
    entries, prepare, words = REFUSED[case]
    model = model_with()
    tensor = place(model)
    entries = {"location": "w.bin"} | entries
    for field in ("dims", "data_type"):
        if field == "dims" and field in entries:
            tensor.dims[:] = entries.pop(field)
        elif field in entries:
            tensor.data_type = entries.pop(field)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value).format(folder=tmp_path))
    (tmp_path / "sub").mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "sub/model.onnx").write_bytes(model.SerializeToString())
    prepare(tmp_path)
    with pytest.raises(ModelError, match=words):
        Saliency(tmp_path / "sub/model.onnx")


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
def test_the_same_places_with_good_data(place, tmp_path):
    """What the refusals above refuse is what is wrong, not the place."""
    model = model_with()
    tensor = place(model)
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    given = {"x": X, "c": np.array(True)} if place is in_branch else X
    check(GradientInput(tmp_path / "model.onnx").explain(given, LABELS))


def test_data_that_vanishes_after_loading_is_an_error(tmp_path):
    (tmp_path / "w.bin").write_bytes(save(tmp_path / "model.onnx"))
    method = Saliency(tmp_path / "model.onnx")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"'w.bin' cannot be read: No such file"):
        method.export(tmp_path / "e.onnx", weights="inside")
    with pytest.raises(ModelError, match="refuses the model"):
        method.explain(X, LABELS)
