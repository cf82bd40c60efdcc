"""Explanations of many samples: Arrow batches in and out, folders of files, with engines that start again."""

from onnxattr.bulk.job import Report, explain_folder
from onnxattr.bulk.mapping import Mapper, mapper

__all__ = ["Mapper", "Report", "explain_folder", "mapper"]
