"""Which packages a wheel holds: onnxattr, and converters as onnxattr.converters; pyproject.toml says the rest."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["onnxattr", "onnxattr.*"]),
        *(f"onnxattr.{name}" for name in find_packages(include=["converters", "converters.*"])),
    ],
    package_dir={"onnxattr.converters": "converters"},
)
