"""The fairseq plug-ins: importing this package registers them all."""

from fairseq_dlf.translation import archs  # noqa: F401
