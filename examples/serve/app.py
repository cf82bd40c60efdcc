"""Predicts and explains photos over HTTP; run as `EXPLAINER=explainer.onnx uvicorn app:app`.

The explainer takes photos, as `onnxattr export model.onnx --preprocess imagenet --labels names.txt -o explainer.onnx`
writes it. Neither onnxattr nor the framework of the model is needed here. docs/serving.md shows requests.
"""

import base64
import io
import json
import os

import numpy as np
import onnxruntime
from fastapi import Body, FastAPI, HTTPException, Response
from PIL import Image, ImageOps, UnidentifiedImageError

if "EXPLAINER" not in os.environ:
    raise SystemExit("EXPLAINER is not set; name the file: EXPLAINER=explainer.onnx uvicorn app:app")
session = onnxruntime.InferenceSession(
    os.environ["EXPLAINER"], providers=onnxruntime.get_available_providers()
)
metadata = session.get_modelmeta().custom_metadata_map
spec = json.loads(metadata.get("onnxattr.preprocessing", "{}"))
if "onnxattr.explainer" not in metadata or not spec.get("in_graph"):
    raise SystemExit(
        f"{os.environ['EXPLAINER']} is no explainer that takes photos; write one with "
        "onnxattr export model.onnx --preprocess imagenet -o explainer.onnx"
    )
about, names = json.loads(metadata["onnxattr.explainer"]), json.loads(metadata.get("onnxattr.labels", "[]"))
layout = spec["layout"]
#: Most pixels of a photo: a file of a few kilobytes may hold as many as fill the memory.
MOST_PIXELS = int(os.environ.get("MOST_PIXELS", "16000000"))
#: Most bytes of a body, which would be held whole whatever it is: those of such a photo that is not compressed.
MOST_BYTES = 4 * MOST_PIXELS + 2**20
app = FastAPI(title=f"{about['method']} of {os.environ['EXPLAINER']}")


@app.post("/explain")
def explain(photo: bytes = Body(media_type="image/jpeg"), target: int = -1, picture: bool = False):
    """The first five classes, what is explained, its gap, and the heatmap over the photo; -1: the predicted class."""
    try:
        opened = Image.open(io.BytesIO(photo), formats=["JPEG", "PNG", "WEBP"])
        if opened.width * opened.height > MOST_PIXELS:
            raise HTTPException(413, f"The photo has more than {MOST_PIXELS} pixels; make it smaller.")
        # MPO: a photo of a phone, with others beside it.
        if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
            raise ValueError("it holds several pictures, as animations do")
        image = decoded(opened)
    except HTTPException:
        raise
    except UnidentifiedImageError as error:
        raise HTTPException(
            415,
            "The body is no JPEG, PNG or WebP photo. Send the bytes of the file alone, not a form: "
            "curl --data-binary @photo.jpg",
        ) from error
    except Exception as error:  # what decoders raise on damaged files is no closed list
        raise HTTPException(
            415, f"The body is no JPEG, PNG or WebP photo that can be read: {error}"
        ) from error
    if not -1 <= target < 2**31:
        raise HTTPException(422, f"target={target}: expected a class from 0 on, or -1.")
    found, scores = run(np.asarray(image), target)
    overlay = base64.b64encode(png := heatmap(image, found["attribution"])).decode()
    if picture:
        return Response(png, media_type="image/png")
    top = [{"label": int(k), "name": name(k), "value": float(scores[k])} for k in np.argsort(-scores)[:5]]
    label = target if target >= 0 else int(np.argmax(scores))
    gap = float(found["relative_gap"][0]) if "relative_gap" in found else None
    return {"top": top, "explained": name(label), "gap": gap, "picture": f"data:image/png;base64,{overlay}"}


class Limited:
    """Reads no more of a body than a photo may have, also where nothing says how long it is."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        """Answers 413 as soon as the bytes that came are too many."""
        came = 0

        async def counted():
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST_BYTES:
                raise HTTPException(
                    413, f"The body has more than {MOST_BYTES} bytes; make the photo smaller."
                )
            return message

        await self.inner(scope, counted, send)


app.add_middleware(Limited)


def decoded(photo: Image.Image) -> Image.Image:
    """A photo in RGB of 8 bits, upright, transparent pixels on white, as onnxattr and browsers show it."""
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        photo = Image.fromarray(np.rint(np.asarray(photo) / 257.0).astype(np.uint8))
    if photo.has_transparency_data:
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo.convert("RGBA"))
    return photo.convert("RGB")


def run(pixels: np.ndarray, target: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every output of the explainer by name, and the scores of the classes."""
    taken = [value.name for value in session.get_inputs()]
    batch = pixels[None] if layout == "NHWC" else pixels.transpose(2, 0, 1)[None]
    feeds = {taken[0]: batch, about["target"]: np.array([target]), "seed": np.array(0)}
    outputs = [value.name for value in session.get_outputs()]
    try:
        found = dict(zip(outputs, session.run(outputs, {n: feeds[n] for n in taken}), strict=True))
    except Exception as error:
        if "labels_fit" not in str(error):
            raise
        # The predicted class, which there always is, tells how many there are.
        last = len(run(pixels, -1)[1]) - 1
        raise HTTPException(422, f"target={target}: expected a class from 0 to {last}, or -1.") from error
    return found, classes(found[about["prediction"]][0])


def classes(prediction: np.ndarray) -> np.ndarray:
    """The scores of the classes; the one unit of a binary classifier gives that of class 1."""
    unit = about.get("unit")
    if unit not in ("probability", "logit"):
        return prediction
    positive = prediction.reshape(-1)[-1:]
    return np.concatenate([1 - positive if unit == "probability" else -positive, positive])


def name(label: int) -> str:
    """The name of a class, where the file has it."""
    return str(names[label]) if label < len(names) else str(label)


def heatmap(image: Image.Image, attribution: np.ndarray) -> bytes:
    """The photo in grey, and in red where the attributions are large, as a PNG file."""
    strength = np.abs(attribution[0]).sum(axis=-1 if layout == "NHWC" else 0)
    strength = np.clip(strength / max(float(np.quantile(strength, 0.99)), 1e-12), 0, 1)[..., None]
    mask = Image.fromarray((255 * strength[..., 0]).astype(np.uint8)).resize(image.size)
    shown = Image.composite(
        Image.new("RGB", image.size, (230, 30, 30)), image.convert("L").convert("RGB"), mask
    )
    shown.save(file := io.BytesIO(), "PNG")
    return file.getvalue()
