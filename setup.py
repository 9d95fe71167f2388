"""Builds the extensions of `native/`. Everything else about the project stands in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

BASE = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-unused-function",
    "-Wno-unused-variable",
    "-Wno-sign-compare",
]
REORDER = ["-fassociative-math", "-fno-signed-zeros", "-freciprocal-math"]
"""Lets sums be vectorized. Only where nothing depends on infinities, signed zeros or the order of additions."""

SUMS = {"resample", "vad", "echo", "filters", "dtmf", "pair", "gain"}


def extension(source: Path) -> Extension:
    """One unit of `native/`. Never -march=native: what is built here must run on another machine."""
    arguments = BASE + (REORDER if source.stem in SUMS else [])
    return Extension(f"native.{source.stem}", [f"native/{source.name}"], extra_compile_args=arguments)


setup(
    ext_modules=cythonize(
        [extension(source) for source in sorted(Path("native").glob("*.pyx"))],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True},
    ),
    package_data={"native": ["*.pxd", "*.pyi", "py.typed"]},
)
