"""Memory traffic of the main kernels, called by the ordinary Python functions in the traced flavour.

    python tests/cuda_emulation/traffic.py [--lines] [--json FILE] [WORD ...]

Prints one row per case whose name contains all the words; --lines adds the traffic of each source line.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import kernel_trace  # noqa: E402

import build  # noqa: E402

# As many planes as give each emulated multiprocessor the share of work that large images give a real one.
PLANAR, CHANNELS_LAST = (2, 8, 48, 64), (1, 64, 24, 40)


@dataclasses.dataclass
class Traffic:
    """A case's totals over its launches, and the minimum: reading its input and writing its output once."""

    case: str
    rows_aligned: bool  # of the larger image: a multiple of 16 bytes
    read_bytes: int
    written_bytes: int
    load_sectors: int
    store_sectors: int
    unique_store_sectors: int
    bytes_per_lane_loaded: float
    bytes_per_lane_stored: float
    extra_bank_cycles: float
    launches: list

    @property
    def least_store_sectors(self):
        return self.written_bytes / kernel_trace.SECTOR

    @property
    def stores(self):
        """Sectors stored, per sector of what is written; 0 where that is a number or two."""
        return self.store_sectors / self.least_store_sectors if self.written_bytes else 0.0

    @property
    def traffic(self):
        """Sectors loaded (once by each block) and stored, per sector of what is read and written."""
        least = (self.read_bytes + self.written_bytes) / kernel_trace.SECTOR
        return (self.load_sectors + self.store_sectors) / least


def measure(name, function, read, written):
    """`written` may be a function of the result."""
    with kernel_trace.Trace(build.library("traced")) as trace:
        result = function()
    launches = trace.launches
    wide = max([*read, *written(result)], key=lambda t: t.numel())
    row = wide.shape[1] if wide.dim() == 4 and wide.stride(1) == 1 else wide.shape[-1]
    widest = max(launches, key=lambda launch: launch.store_sectors)
    return Traffic(
        case=name,
        rows_aligned=row * wide.element_size() % 16 == 0,
        read_bytes=sum(t.numel() * t.element_size() for t in read),
        written_bytes=sum(t.numel() * t.element_size() for t in written(result)),
        load_sectors=sum(launch.block_load_sectors for launch in launches),
        store_sectors=sum(launch.store_sectors for launch in launches),
        unique_store_sectors=sum(launch.grid_store_sectors for launch in launches),
        bytes_per_lane_loaded=widest.bytes_per_lane_loaded,
        bytes_per_lane_stored=widest.bytes_per_lane_stored,
        extra_bank_cycles=max(launch.extra_bank_cycles for launch in launches),
        launches=launches,
    )


DIRECTIONS, LAYOUTS = ("forward", "backward"), ("nchw", "nhwc")
DTYPES, FACTORS = ("float32", "float16"), (2, 4, 1.37)
# Each op that is measured, and its launcher (the stem of a file in csrc/cuda).
OPS = {
    "bilinear": "resample",
    "nearest": "resample",
    "separable": "resample",
    "depthwise": "deconv",
    "argmax": "argmax",
    "cross-entropy": "cross_entropy",
}
# The launchers of the others, and why they are not: a test compares both lists with what is there.
UNMEASURED = {
    "add": "the forward resize, with another epilogue",
    "concat": "the forward resize and copies, of several images",
    "chain": "one op of a single resize after the other",
    "threshold": "the forward resize, with another epilogue",
}


def measure_case(torch, upsample_ext, name, op, direction, dtype, factor, layout):
    shape = PLANAR if layout == "nchw" else CHANNELS_LAST
    memory_format = torch.contiguous_format if layout == "nchw" else torch.channels_last
    x = torch.randn(shape).to(getattr(torch, dtype)).contiguous(memory_format=memory_format)
    x.requires_grad_(direction == "backward")
    size = tuple(int(extent * factor) for extent in shape[2:])
    read = [x]
    if op == "bilinear":
        forward = functools.partial(upsample_ext.upsample_bilinear2d, x, size)
    elif op == "nearest":
        forward = functools.partial(upsample_ext.interpolate, x, size)
    elif op == "separable":
        forward = functools.partial(upsample_ext.bilinear_conv_transpose2d, x, factor)
    elif op == "depthwise":
        weight = torch.randn(shape[1], 1, 2 * factor, 2 * factor).to(x.dtype)
        forward = functools.partial(
            upsample_ext.conv_transpose2d,
            *(x, weight),
            stride=factor,
            padding=factor // 2,
            groups=shape[1],
        )
    elif op == "argmax":
        forward = functools.partial(upsample_ext.upsample_argmax, x, size)
    else:
        target = torch.randint(shape[1], (shape[0], *size))
        read.append(target)
        forward = functools.partial(upsample_ext.upsample_cross_entropy, x, target)
    if direction == "forward":
        written = [] if op == "cross-entropy" else None
        return measure(name, forward, read, lambda output: [output] if written is None else written)
    if op == "cross-entropy":  # the loss is computed with its gradient
        return measure(name, lambda: torch.autograd.grad(forward(), x), read, lambda grads: grads)
    output = forward()
    grad_output = torch.randn_like(output)
    return measure(
        name, lambda: torch.autograd.grad(output, x, grad_output), [grad_output], lambda grads: grads
    )


def cases():
    """name -> what measures it, called with torch and the package"""
    found = {}
    for op in OPS:
        for direction, layout, dtype, factor in itertools.product(DIRECTIONS, LAYOUTS, DTYPES, FACTORS):
            if (op, direction) == ("argmax", "backward"):
                continue
            if (op in ("separable", "depthwise") and factor not in (2, 4)) or (op, factor) == ("nearest", 4):
                continue
            name = f"{op} {direction} {dtype} x{factor} {layout}"
            found[name] = functools.partial(
                measure_case,
                **{"name": name, "op": op, "direction": direction},
                **{"dtype": dtype, "factor": factor, "layout": layout},
            )
    return found


HEADER = f"{'case':40} loads+stores  stores  bytes/lane loaded, stored  bank conflicts"


def row(t):
    return (
        f"{t.case:40} {t.traffic:12.3f} {t.stores:7.3f} {t.bytes_per_lane_loaded:18.1f} "
        f"{t.bytes_per_lane_stored:7.1f} {t.extra_bank_cycles:15.1%}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    parser.add_argument("--lines", action="store_true", help="what each line of source does")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows to this file")
    options = parser.parse_args()

    build.build(["traced"])
    sys.path.insert(0, str(build.package_directory("traced")))
    os.environ["CUSIM_MULTIPROCESSORS"] = "1"
    import torch

    import upsample_ext

    torch.manual_seed(0)
    torch.set_num_threads(1)
    measured, failed = [], {}
    print(HEADER)
    for name, run in cases().items():
        if not all(word in name.split() for word in options.words):
            continue
        try:
            measured.append(run(torch, upsample_ext))
        except RuntimeError as error:  # a race, for example
            failed[name] = str(error)
            print(f"{name:40} {error}")
            continue
        print(row(measured[-1]), flush=True)
        if options.lines:
            print(kernel_trace.table(measured[-1].launches))
    if options.json:
        derived = ("least_store_sectors", "stores", "traffic")
        rows = [dataclasses.asdict(t) | {name: getattr(t, name) for name in derived} for t in measured]
        options.json.write_text(json.dumps({"measured": rows, "failed": failed}))


if __name__ == "__main__":
    main()
