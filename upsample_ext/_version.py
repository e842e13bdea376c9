"""The version, in this one place: the build reads it as text, `import upsample_ext` re-exports it."""

__version__ = "0.1.0"
