"""Pictures of attributions: heatmaps over photos, coloured time series, bars of features.

Needs matplotlib (`pip install 'onnxattr[plot]'`), imported on first use. Figures are made without pyplot, so neither
the caller's backend nor its open figures change. All arrays come without the batch axis. Colours mean the same
everywhere: red positive, blue negative, none zero; maps that are nowhere negative run from none to purple.
"""

from onnxattr.plots.charts import series, tabular
from onnxattr.plots.colors import color_limits
from onnxattr.plots.curves import score_curves
from onnxattr.plots.images import displayable, gallery, heatmap
from onnxattr.plots.rows import row
from onnxattr.plots.sheet import check_path, matplotlib_module

__all__ = [
    "check_path",
    "color_limits",
    "displayable",
    "gallery",
    "heatmap",
    "matplotlib_module",
    "row",
    "score_curves",
    "series",
    "tabular",
]
