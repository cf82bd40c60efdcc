"""Explains a folder of Parquet files on Spark; run as `python on_spark.py explainer.onnx rows/ maps/`.

Needs pip install "onnxattr[cpu,bulk]" pyspark, and Java 17.
"""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from onnxattr.bulk import mapper


def main(explainer: str, source: str, out: str, chunk: int = 256) -> None:
    """Each row of the files in ``source`` once in ``out``, with its attributions; what is killed is done again."""
    # Workers are processes of the Python that Spark is told of.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Two cores of this machine, a task tried four times; a cluster has its own master.
    spark = SparkSession.builder.master("local[2,4]").getOrCreate()
    explain = mapper(explainer, chunk=chunk)
    schema = explain.schema(pq.read_schema(next(Path(source).glob("*.parquet"))))
    rows = spark.read.parquet(source)
    rows.mapInArrow(explain, from_arrow_schema(schema)).write.parquet(out)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
