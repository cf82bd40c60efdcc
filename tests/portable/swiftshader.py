"""Where WebGPU can be computed without a GPU: by the SwiftShader that Chromium carries."""

import os
from pathlib import Path

_ICD = "vk_swiftshader_icd.json"


def folder() -> Path | None:
    """The folder of Chromium with SwiftShader and the Vulkan loader; None if there is none."""
    chromium = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    near = [chromium.resolve().parent, Path("/usr/lib/chromium"), Path("/opt/google/chrome")]
    return next((place for place in near if (place / _ICD).exists() and chromium.exists()), None)


def environment() -> dict[str, str]:
    """The variables with which ONNX Runtime's plugin for WebGPU finds SwiftShader, beside those of this process."""
    place = folder()
    if place is None:
        return dict(os.environ)
    return os.environ | {
        "VK_ICD_FILENAMES": str(place / _ICD),
        "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1",
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(place), os.environ.get("LD_LIBRARY_PATH")])),
    }
