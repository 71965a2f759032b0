"""Installation of fairseq_dlf; everything but what depends on the machine is in pyproject.toml."""

import platform
import sys

from setuptools import setup


def fairseq_requirement() -> str:
    """fairseq from a wheel where one exists, else the fork that builds from source.

    fairseq 0.12.2 itself cannot be installed by a present-day pip (its metadata
    is invalid). ve-fairseq has wheels for CPython 3.11 and 3.12 on Linux x86-64.
    """
    has_wheel = (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in ((3, 11), (3, 12))
        and sys.platform == "linux"
        and platform.machine() == "x86_64"
    )
    return "ve-fairseq==0.12.3" if has_wheel else "fairseq-fixed"


setup(
    install_requires=[
        fairseq_requirement(),
        "torch>=2.4",
        "numpy>=1.26",
        "sacrebleu>=2.4",
        "safetensors>=0.4",
        "sacremoses>=0.1",
        "subword-nmt>=0.3.8",
        "sentencepiece>=0.2",
        "tqdm>=4.60",
        "setuptools",
    ]
)
