"""From whatever the caller has to the form that the rewriter works on.

load.py runs the steps in order: source.py reads, weights_aside.py keeps the weights out of the way of ONNX's own tools,
opsets.py brings the model into the window of opsets, other_domains.py and functions.py write out operators without a
rule by those that have one, static_nodes.py runs what is known before the model does, shapes.py infers shapes.
free_batch.py and precision.py change a loaded model on its caller's behalf.
"""
