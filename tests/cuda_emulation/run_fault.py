"""Runs kernels of faults.cu: python run_fault.py FLAVOUR (faulty|corrected) NAME ...

Exits with the first error. Prints the counts of the traced flavour. Runs in a separate process, because
sanitizers end it.
"""

import ctypes
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import kernel_trace  # noqa: E402

import build  # noqa: E402


def run(library, name, faulty):
    error = library.cuda_emulation_fault(name.encode(), faulty)
    if error:
        sys.exit(error % 256)


def main():
    flavour, which, *names = sys.argv[1:]
    library = ctypes.CDLL(str(build.faults_library(flavour)))
    library.cuda_emulation_fault.argtypes = [ctypes.c_char_p, ctypes.c_bool]
    for name in names:
        if flavour != "traced":
            run(library, name, which == "faulty")
            continue
        with kernel_trace.Trace(build.faults_library(flavour)) as trace:
            run(library, name, which == "faulty")
        for launch in trace.launches:
            counted = ("store_sectors", "block_load_sectors", "bytes_per_lane_stored", "extra_bank_cycles")
            print(json.dumps({count: getattr(launch, count) for count in counted if launch.of(write=True)}))


if __name__ == "__main__":
    main()
