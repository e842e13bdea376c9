"""The version, defined only here: the build reads it as text, and `upsample_ext` re-exports it."""

__version__ = "0.1.0"
