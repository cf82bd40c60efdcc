"""Independent references for the attribution methods, and the table that compares onnxattr with them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by TensorFlow when it is first imported
