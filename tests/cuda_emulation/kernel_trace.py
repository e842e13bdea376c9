"""Reads the counts of the traced flavour (tracer.cpp), launch by launch, and prints them by source line."""

import bisect
import ctypes
import dataclasses
import json
import os
import subprocess
import tempfile

SECTOR = 32


@dataclasses.dataclass
class Instruction:
    """One memory instruction of a kernel; the requests of all its warps added up."""

    address: int
    write: bool
    shared: bool
    requests: int
    lanes: int
    bytes: int
    sectors: int
    least_sectors: int
    bank_cycles: int
    least_bank_cycles: int
    line: str = "?"

    @property
    def bytes_per_lane(self):
        return self.bytes / self.lanes


@dataclasses.dataclass
class Launch:
    kernel: str
    blocks: list[int]
    threads: list[int]
    shared_bytes: int
    block_load_sectors: int  # unique in each block
    block_store_sectors: int
    grid_load_sectors: int  # unique in the grid
    grid_store_sectors: int
    races: list[str]
    instructions: list[Instruction]

    def of(self, *, write, shared=False):
        return [i for i in self.instructions if i.write == write and i.shared == shared and i.requests]

    @property
    def store_sectors(self):
        """Of every request of a warp."""
        return sum(i.sectors for i in self.of(write=True))

    @property
    def bytes_per_lane_stored(self):
        stores = self.of(write=True)
        return sum(i.bytes for i in stores) / sum(i.lanes for i in stores)

    @property
    def bytes_per_lane_loaded(self):
        """Of the instruction that loads most."""
        return max(self.of(write=False), key=lambda i: i.bytes).bytes_per_lane

    @property
    def extra_bank_cycles(self):
        """Cycles of shared memory that conflicts add, as a part of what is needed without."""
        shared = [i for i in self.instructions if i.shared]
        least = sum(i.least_bank_cycles for i in shared)
        return (sum(i.bank_cycles for i in shared) - least) / least if least else 0.0


class Trace:
    """The launches made within a `with`."""

    def __init__(self, library):
        self.library = ctypes.CDLL(str(library))
        self.launches: list[Launch] = []

    def __enter__(self):
        self.library.cuda_emulation_forget()
        return self

    def __exit__(self, *_):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            assert self.library.cuda_emulation_report(os.fsencode(file.name)) == 0
            report = json.load(file)
        for launch in report["launches"]:
            launch["instructions"] = [Instruction(**i) for i in launch["instructions"]]
        lines = _source_lines(
            report["library"],
            {i.address for launch in report["launches"] for i in launch["instructions"]},
        )
        kernels = _Symbols(report["library"])
        for launch in report["launches"]:
            for instruction in launch["instructions"]:
                instruction.line = lines[instruction.address]
            launch["kernel"] = kernels.at(launch["kernel"])
            self.launches.append(Launch(**launch))


# One-line accessors: their callers say more.
ACCESSORS = ("memory.h", "element.cuh")


def _source_lines(library, addresses):
    """file:line of each address: the innermost that is not an accessor's."""
    if not addresses:
        return {}
    command = ["addr2line", "-a", "-i", "-s", "-e", library, *map(hex, sorted(addresses))]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines, address = {}, 0
    for line in output.splitlines():
        if line.startswith("0x"):
            address = int(line, 16)
            lines[address] = "?"
        elif lines[address] == "?" or lines[address].startswith(ACCESSORS):
            lines[address] = line.split(" ")[0]
    return lines


class _Symbols:
    """Functions of a library by address, without their parameters."""

    def __init__(self, library):
        listing = subprocess.run(["nm", "-nC", library], capture_output=True, text=True, check=True).stdout
        found = [line.split(" ", 2) for line in listing.splitlines() if line[:1] not in (" ", "")]
        self.names = {int(address, 16): name for address, kind, name in found if kind in "tTwW"}
        self.addresses = sorted(self.names)

    def at(self, address):
        name = self.names[self.addresses[bisect.bisect_right(self.addresses, address) - 1]]
        name = name.removeprefix("void ").replace("upsample_ext::gpu::", "").replace("upsample_ext::", "")
        depth = 0
        for i, letter in enumerate(name):  # up to the first parenthesis outside of <>
            depth += {"<": 1, ">": -1}.get(letter, 0)
            if letter == "(" and depth == 0:
                return name[:i]
        return name


def table(launches):
    """Each launch, and under it what each line of source asks of memory."""
    rows = []
    for launch in launches:
        rows.append(f"{launch.kernel}  blocks {launch.blocks[0]}, threads {launch.threads[0]}")
        rows.append(
            f"  sectors loaded: {launch.block_load_sectors} unique in each block, {launch.grid_load_sectors} "
            f"in the grid; stored: {launch.store_sectors}, {launch.grid_store_sectors} in the grid"
        )
        rows.append(f"  {'line':28} {'memory':7}{'':6} requests  bytes/lane  sectors/request (least)")
        for i in sorted(launch.instructions, key=lambda i: (i.line, i.address)):
            if not i.requests:
                continue
            cost, least = (i.bank_cycles, i.least_bank_cycles) if i.shared else (i.sectors, i.least_sectors)
            per_request = f"{cost / i.requests:.2f} ({least / i.requests:.2f})"
            rows.append(
                f"  {i.line:28} {'shared' if i.shared else 'global':7}"
                f"{'store' if i.write else 'load':6}"
                f"{i.requests:9} {i.bytes_per_lane:11.1f}  {per_request:>22}"
                + (" bank cycles" if i.shared else "")
            )
        rows += [f"  RACE: {race}" for race in launch.races]
    return "\n".join(rows)
