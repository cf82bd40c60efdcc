"""Pictures of attributions: heatmaps over photos, coloured time series, bars of features.

Needs matplotlib (`pip install 'onnxattr[plot]'`), imported on first use. Figures are made without pyplot, so neither
the caller's backend nor its open figures change. All arrays come without the batch axis. Colours mean the same
everywhere: red positive, blue negative, none zero; maps that are nowhere negative run from none to purple.
"""

from onnxattr.plots.colors import color_limits
from onnxattr.plots.curves import score_curves
from onnxattr.plots.grids import Marks, grid
from onnxattr.plots.images import displayable, heatmap
from onnxattr.plots.lines import series, strips
from onnxattr.plots.panels import Panel, gallery, panel_sheet
from onnxattr.plots.sheet import check_path, matplotlib_module
from onnxattr.plots.swarms import summary
from onnxattr.plots.tables import bars, tabular, waterfall
from onnxattr.plots.tokens import tokens
from onnxattr.plots.xplique import plot_attribution, plot_attributions, plot_timeseries_attributions
from onnxattr.plots.xplique_features import (
    plot_feature_impact,
    plot_mean_feature_impact,
    summary_plot_tabular,
)

__all__ = [
    "Marks",
    "Panel",
    "bars",
    "check_path",
    "color_limits",
    "displayable",
    "gallery",
    "grid",
    "heatmap",
    "matplotlib_module",
    "panel_sheet",
    "plot_attribution",
    "plot_attributions",
    "plot_feature_impact",
    "plot_mean_feature_impact",
    "plot_timeseries_attributions",
    "score_curves",
    "series",
    "strips",
    "summary",
    "summary_plot_tabular",
    "tabular",
    "tokens",
    "waterfall",
]
