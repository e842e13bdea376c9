"""Runs one kernel of faults.cu: python run_fault.py FLAVOUR NAME (faulty|corrected). Exits with its error.

Prints what the traced flavour has counted. A process of its own, because sanitizers end it.
"""

import ctypes
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build  # noqa: E402
import trace as tracing  # noqa: E402


def main():
    flavour, name, which = sys.argv[1:]
    library = ctypes.CDLL(str(build.faults_library(flavour)))
    library.cuda_emulation_fault.argtypes = [ctypes.c_char_p, ctypes.c_bool]
    arguments = name.encode(), which == "faulty"
    if flavour != "traced":
        sys.exit(library.cuda_emulation_fault(*arguments) % 256)
    with tracing.Trace(build.faults_library(flavour)) as trace:
        error = library.cuda_emulation_fault(*arguments)
    for launch in trace.launches:
        counted = ("store_sectors", "block_load_sectors", "bytes_per_lane_stored", "extra_bank_cycles")
        print(json.dumps({name: getattr(launch, name) for name in counted if launch.of(write=True)}))
    sys.exit(error % 256)


if __name__ == "__main__":
    main()
