"""Correctness and speed of every op, compared with how one would do the same without this package.

Run it as ``python -m benchmarks``; NOTES.md says how to read what it prints.
"""
