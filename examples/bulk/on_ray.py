"""Explains a folder of Parquet files with Ray Data; run as `python on_ray.py explainer.onnx rows/ maps/`.

Needs pip install "onnxattr[cpu,ray]".
"""

import sys

import ray

from onnxattr.bulk import Mapper


def main(explainer: str, source: str, out: str, rows_at_once: int = 1024) -> None:
    """Each row of the files in ``source`` once in ``out``, with its attributions; an actor that dies starts again."""
    ray.init(ignore_reinit_error=True)
    table = ray.data.read_parquet(source)
    maps = table.map_batches(
        Mapper,
        fn_constructor_args=(explainer,),
        batch_format="pyarrow",
        batch_size=rows_at_once,
        concurrency=1,
    )
    maps.write_parquet(out)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
