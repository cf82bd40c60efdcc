"""Node groups: what exporters write as several nodes and what is cheaper to differentiate as one.

A group is recognised in the graph that is differentiated, which stays as it is. Its rule computes with the values that
the nodes give, in fewer operations than the rules of the nodes together.
"""

from onnxattr.autodiff.groups import gates, quotients, softmaxes, standardizations
from onnxattr.autodiff.groups.registry import Group, group, grouped

__all__ = ["Group", "gates", "group", "grouped", "quotients", "softmaxes", "standardizations"]
