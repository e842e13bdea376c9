"""What the inner loops of the CPU kernels cost on processors that are not here, by llvm-mca.

    python -m benchmarks.loops                        # the table, for every level and processor below
    python -m benchmarks.loops --filter bfloat16      # the loops whose name matches
    python -m benchmarks.loops --filter argmax --show neoverse-v2     # and llvm-mca's own view of them
    python -m benchmarks.loops --write                # into benchmarks/LOOPS.md

A loop is a kernel function, instantiated in its level's own file with the flags of setup.py, of which the
innermost loop with the most vector instructions is taken from the assembly. llvm-mca (LLVM 19 or newer)
predicts how many cycles a turn takes if all memory is in the first cache and every branch is predicted.
Needs g++ (for aarch64 aarch64-linux-gnu-g++) and llvm-mca; what is not there is left out.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

# What the table says before its first line.
LEGEND = """# Inner loops, by llvm-mca

Written by `python -m benchmarks.loops --write`; how to read it is in
[NOTES.md](NOTES.md#inner-loops-on-other-processors).

A cell is: cycles for 16 results; bytes of the images that are read and written in a cycle; the unit that is
in use most (`latency`: none is for more than 85% of the time; `front end`: the decoder), and instructions
that are slow on that processor. In **bold** where fewer than 8 bytes a cycle are moved: there a core waits
for arithmetic, not for memory, which gives it some 8 to 10 bytes a cycle (34 to 44 GB/s at 4.4 GHz).
llvm-mca has all memory in the first cache and predicts every branch; it knows no clock that falls for 64-byte
vectors (Intel before Ice Lake).
"""

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = ROOT / "csrc" / "cpu" / "levels"
TABLE = ROOT / "benchmarks" / "LOOPS.md"
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-w", "-S", "-x", "c++"]
OLDEST_LLVM = 19
KERNELS = "argmax", "copy_image", "cross_entropy", "deconv", "resample"


@dataclass(frozen=True)
class Target:
    """A level, and the processors that are asked about it."""

    level: str
    triple: str
    compiler: str
    processors: tuple[str, ...]
    vector_bytes: int
    permutes: bool = True  # kPermutes of simd.h: without it, blocks are never kShared, kWide or kWidest
    shuffles: bool = True  # kShufflesBytes: without it, filters of bytes are those of floats


X86 = "x86_64", "g++"
TARGETS = (
    # LLVM 22 takes znver5 for znver4.
    Target("avx512", *X86, ("znver4", "icelake-server", "sapphirerapids"), 64),
    Target("avx2", *X86, ("znver4", "skylake", "haswell"), 32),
    Target("baseline", *X86, ("skylake",), 16, permutes=False, shuffles=False),
    Target("baseline", "aarch64", "aarch64-linux-gnu-g++", ("neoverse-v2", "apple-m4"), 16),
)


@dataclass(frozen=True)
class Loop:
    """A loop by the function that it is in, the vectors of results of a turn, and the bytes of a result.

    The bytes are those of the images that memory must deliver and take for one result, each once.
    """

    name: str
    function: str
    vectors: int
    bytes: float
    without: str = "never"  # an instruction that other loops of the function have
    shuffles: bool = False  # runs at levels that shuffle bytes


def blend(name, types, reach, rows, shares, put, moved):
    return Loop(
        name, f"interpolate_blocks<Reach::{reach}, {rows}, {shares}, Put::{put}, {types}>", rows, moved
    )


FLOAT, HALF = "float, Store<float>, float", "half_t, Store<half_t>, float"
BFLOAT16, UINT8 = "bfloat16_t, Store<bfloat16_t>, float", "uint8_t, Store<uint8_t>, float"
TO_FLOAT, TO_BFLOAT16 = "Store<float>, float", "Store<bfloat16_t>, float"  # from a row of float
STREAMS = r"\tv?movnt"  # by whole lines, in a loop of its own
FOUR_OF_BYTES = r"\b48\("  # the same of bytes at AVX-512, four vectors of 16
COMPARES_INDEX = r"pcmp|\tcm(ge|gt|hi|le|lt)\b"  # as the blocks at a row's ends do
# Enlarged twice, an image has a sample for four results.
LOOPS = (
    blend("resize x2, float32", FLOAT, "kShared", 1, "true", "kStore", 5),
    blend("resize x2, float32, streamed", FLOAT, "kShared", 4, "true", "kStream", 5),
    blend("resize x2, bfloat16", BFLOAT16, "kShared", 2, "true", "kStore", 2.5),
    blend("resize x2, float16", HALF, "kShared", 2, "true", "kStore", 2.5),
    blend("resize x2, uint8", UINT8, "kShared", 2, "true", "kStore", 1.25),
    blend("resize x1.37, float32", FLOAT, "kShared", 1, "false", "kStore", 6.1),
    blend("resize x1.37, bfloat16", BFLOAT16, "kNear", 1, "false", "kStore", 3.1),
    blend("resize x0.6, float32", FLOAT, "kWide", 1, "false", "kStore", 15),
    blend("threshold x2, float32", "float, Threshold, float", "kShared", 2, "true", "kStore", 2),
    Loop("resize x2, NHWC, float32", f"interpolate_pixels<2, 2, {FLOAT}>", 4, 5, STREAMS),
    Loop("resize x2, NHWC, bfloat16", f"interpolate_pixels<2, 2, {BFLOAT16}>", 4, 2.5, STREAMS),
    Loop("resize x2, NHWC, uint8", f"interpolate_pixels<2, 2, {UINT8}>", 4, 1.25, FOUR_OF_BYTES),
    Loop("bicubic x2, uint8, rows", "sum_byte_rows<2, 2>", 8, 1.5, shuffles=True),
    Loop("bicubic x2, uint8, columns", "pass_windows<2, 2>", 4, 1.5, shuffles=True),
    Loop("bicubic x2, float32, columns", f"write_run_of_rows<4, 4, Put::kStore, {TO_FLOAT}>", 4, 8),
    Loop("rows of a gradient, float32", "scatter_segment<2, false, float, float>", 2, 4),
    Loop("rows of a gradient, bfloat16", "scatter_segment<2, false, bfloat16_t, float>", 2, 2),
    Loop(
        "columns of a gradient, x2, float32", f"write_shared<Reach::kWide, 4, Put::kStore, {TO_FLOAT}>", 1, 20
    ),
    Loop(
        "columns of a gradient, x2, bfloat16",
        f"write_shared<Reach::kWide, 4, Put::kStore, {TO_BFLOAT16}>",
        1,
        10,
    ),
    Loop(
        "columns of a gradient, x4, float32",
        f"write_shared<Reach::kWidest, 8, Put::kStore, {TO_FLOAT}>",
        1,
        68,
    ),
    Loop("argmax x4, a class", "argmax_block<Reach::kShared, 4, Keep::kNumbers>", 4, 0.25),
    Loop("cross-entropy x4, logits", "interpolate_tile<Reach::kShared, 4, float>", 4, 0.25),
    Loop("cross-entropy x4, exponentials", "exponentiate_tile<4, false, float>", 4, 0),
    Loop("deconv x2, float32", "forward_rows<2, 2, 2, false, float, float>", 2, 5, COMPARES_INDEX),
    Loop("deconv x2, bfloat16", "forward_rows<2, 2, 2, false, bfloat16_t, float>", 2, 2.5, COMPARES_INDEX),
    Loop(
        "deconv x2, NHWC, float32", "sum_run_of_channels<Write::kWhole, 1, 4, 4, float, float, float>", 2, 5
    ),
)

# Instructions that a processor takes from microcode, or that hold up more than their number tells.
SLOW = (
    (r"compress\w+\s.*\)$", "compress to memory", ("znver4",)),
    (r"vmovdqu(8|16)\s.*\)\{%k", "masked byte store", ("znver4",)),
    (r"v\w*(gather|scatter)", "gather", ("znver4", "haswell", "skylake", "icelake-server", "sapphirerapids")),
    (r"\t(bl|call)\s", "call", ()),
)
MEMORY_RATE = 8  # bytes a cycle


def find_mca():
    """The newest llvm-mca, as a path, and its major version."""
    found = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for path in pathlib.Path(folder or ".").glob("llvm-mca*"):
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if number := re.search(r"version (\d+)", version):
                found.append((int(number[1]), str(path)))
    version, path = max(found, default=(0, ""))
    return (path, version) if version >= OLDEST_LLVM else (None, version)


# ---- from a level's source to the assembly of its loops ---------------------------------------------------


def loops_of(target, loops):
    """Those that the level runs, with the functions that it runs them in."""
    loops = [loop for loop in loops if target.shuffles or not loop.shuffles]
    if target.permutes:
        return loops
    own = [loop for loop in loops if "kWide" not in loop.function]
    return [replace(loop, function=loop.function.replace("kShared", "kNear")) for loop in own]


def assembly(target, loops):
    """The level's own file, compiled with pointers to the loops' functions in place of its table."""
    source = (LEVELS / f"{target.level}.cpp").read_text()
    pointers = [f"void* const loop_{i} = (void*)&{loop.function};" for i, loop in enumerate(loops)]
    instead = [f'#include "../kernels/{name}.h"' for name in KERNELS]
    instead += [f"namespace upsample_ext::{target.level} {{", 'extern "C" {']
    instead += [f"extern void* const loop_{i};" for i in range(len(loops))] + pointers + ["}", "}"]
    table = '#include "../kernels/level_table.h"'
    assert source.count(table) == 1
    source = source.replace(table, "\n".join(instead))
    command = [target.compiler, *FLAGS, "-o", "-", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=LEVELS)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[:2000])
    return done.stdout


def functions_of(text):
    """The lines of each function by its symbol."""
    found = {}
    for symbol, body in re.findall(r"^([\w.$]+):\n(.*?)^\t\.size\t\1,", text, re.MULTILINE | re.DOTALL):
        found[symbol] = body.splitlines()
    return found


BRANCH = re.compile(r"\t(j\w+|b(?:\.?\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+, [^,]+,)\s+(\.L\w+)$")
ALWAYS = re.compile(r"\t(jmp|b|ret\w*|br)\b")  # control does not go on to the next line
VECTOR = re.compile(r"%[xyz]mm\d|\b[vq]\d+\b|\bs\d+\b")


def basic_blocks(lines):
    """The blocks of a function as lists of instructions, and which of them may follow each."""
    blocks, label_of, jumps = [[]], {}, {}
    ended = False
    for line in lines:
        line = line.split("//")[0].rstrip()
        label = re.fullmatch(r"(\.L\w+):", line)
        if label or ended:
            blocks.append([])
            ended = False
        if label:
            label_of[label[1]] = len(blocks) - 1
        elif re.match(r"\t[a-z]", line):
            blocks[-1].append(line)
            if jump := BRANCH.match(line):
                jumps[len(blocks) - 1] = jump[2]
            ended = bool(jump or ALWAYS.match(line))
    after = []
    for i, block in enumerate(blocks):
        falls = i + 1 < len(blocks) and not (block and ALWAYS.match(block[-1]))
        after.append({i + 1} if falls else set())
        if jumps.get(i) in label_of:
            after[i].add(label_of[jumps[i]])
    return blocks, after


def closure(starts, following, stops):
    """All that is reached from the starts, not beyond the stops; both included."""
    found, ends = set(stops), list(starts - stops)
    while ends:
        block = ends.pop()
        if block not in found:
            found.add(block)
            ends += following[block]
    return found


def innermost_loops(lines):
    """The instructions of every loop that has no loop in it, in the order of the assembly."""
    blocks, after = basic_blocks(lines)
    before = [{i for i, following in enumerate(after) if b in following} for b in range(len(blocks))]
    reachable = closure({0}, after, set())
    loops = []
    for latch in reachable:
        for header in after[latch]:
            # Back from the latch to the header: an edge that closes no loop leads past it, to the entry.
            body = closure({latch}, before, {header}) & reachable
            if 0 not in body or header == 0:
                loops.append(body)
    for body in loops:
        if not any(other < body for other in loops):
            yield [line for i in sorted(body) for line in blocks[i]]


def hottest_loop(lines, without):
    """The innermost loop with the most vector instructions; None where there is no loop."""
    loops = [tuple(loop) for loop in innermost_loops(lines)]
    loops = [loop for loop in loops if not any(re.search(without, line) for line in loop)]
    count = {loop: sum(bool(VECTOR.search(line)) for line in loop) for loop in loops}
    return max(count, key=count.get, default=None)


def loop_bodies(target, loops):
    """The instructions of each loop, in order."""
    text = assembly(target, loops)
    functions = functions_of(text)
    bodies = []
    for i, loop in enumerate(loops):
        symbol = re.search(rf"^loop_{i}:\n\t\.(?:quad|xword)\t(\S+)", text, re.MULTILINE)[1]
        bodies.append(hottest_loop(functions[symbol], loop.without))
    return bodies


# ---- llvm-mca -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    cycles: float  # a turn of the loop
    bottleneck: str  # the unit in use for most of them


def estimate(mca, target, processor, body, show=False):
    options = [f"-mtriple={target.triple}", f"-mcpu={processor}", "-iterations=200"]
    # A jump of a snippet has no target, and those of the loop are predicted.
    text = "\n".join(line for line in body if not BRANCH.match(line)) + "\n"
    # llvm-mca takes stores past the cache and requests for lines for slow instructions that hold up others,
    # and lets the address of a store with a step wait for what is stored; the processors do not.
    text = re.sub(r"\t(v?)movnt\w+", r"\t\1movups", text).replace("prefetchw", "prefetcht0")
    text = re.sub(r"(\tst\w+\s.*\[(\w+)\]), (\d+)\n", r"\1\n\tadd \2, \2, \3\n", text)
    if show:
        print(subprocess.run([mca, *options], input=text, capture_output=True, text=True).stdout)
    done = subprocess.run([mca, *options, "-json"], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{processor}: {done.stderr[:500]}")
    report = json.loads(done.stdout)
    region = report["CodeRegions"][0]
    summary = region["SummaryView"]
    cycles = summary["TotalCycles"] / summary["Iterations"]
    resources = report["TargetInfo"]["Resources"]
    pressure = {}
    for use in region["ResourcePressureView"]["ResourcePressureInfo"]:
        if use["InstructionIndex"] == len(region["Instructions"]):  # the sum over the loop
            pressure[resources[use["ResourceIndex"]]] = use["ResourceUsage"]
    busiest = max(pressure, key=pressure.get, default="")
    issue = summary["uOpsPerCycle"] / summary["DispatchWidth"]
    used = pressure.get(busiest, 0) / cycles
    if max(issue, used) < 0.85:
        return Estimate(cycles, "latency")
    unit = re.sub(r"^(Zn4|SKL|HW|ICX|SPR|V2Unit|CyUnit)|\..*$", "", busiest)
    return Estimate(cycles, unit if used >= issue else "front end")


# ---- the table ------------------------------------------------------------------------------------------


def rows_of(target, loops, mca, show=None):
    """For each loop the cells of the target's processors, in order."""
    loops = loops_of(target, loops)
    bodies = loop_bodies(target, loops)
    for loop, body in zip(loops, bodies, strict=True):
        cells = []
        for processor in target.processors:
            if body is None:
                cells.append("no loop")
                continue
            if show == processor:
                print(f"==== {loop.name}, {target.level}, {processor}", *body, sep="\n")
            done = estimate(mca, target, processor, body, show == processor)
            results = loop.vectors * target.vector_bytes / 4
            notes = [done.bottleneck]
            for pattern, words, slow in SLOW:
                if processor in (slow or [processor]) and any(re.search(pattern, line) for line in body):
                    notes.append(words)
            moved, cycles = loop.bytes * results / done.cycles, f"{16 * done.cycles / results:.1f}"
            if loop.bytes > 0 and moved < MEMORY_RATE:
                cycles = f"**{cycles}**"
            cells.append("; ".join([cycles, f"{moved:.0f} B" if loop.bytes > 0 else "", *notes]))
        yield loop, cells


def tables(loops, mca, version, show=None):
    targets = [target for target in TARGETS if shutil.which(target.compiler)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda target: list(rows_of(target, loops, mca, show)), targets))
    for target, rows in zip(targets, found, strict=True):
        compiler = subprocess.run([target.compiler, "--version"], capture_output=True, text=True).stdout
        yield ""
        yield f"## {target.level}, {target.triple}"
        yield ""
        yield f"{compiler.splitlines()[0]}, LLVM {version}"
        yield ""
        yield "| loop | " + " | ".join(target.processors) + " |"
        yield "|---|" + "---|" * len(target.processors)
        for loop, cells in rows:
            yield f"| {loop.name} | " + " | ".join(cells) + " |"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="", help="only loops whose name matches this regular expression")
    parser.add_argument("--show", metavar="PROCESSOR", help="print each loop and llvm-mca's view of it")
    parser.add_argument("--write", action="store_true", help=f"into {TABLE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    mca, version = find_mca()
    if mca is None:
        print(f"llvm-mca {OLDEST_LLVM} or newer is needed, found {version or 'none'}", file=sys.stderr)
        return 2
    loops = [loop for loop in LOOPS if re.search(options.filter, loop.name)]
    text = LEGEND + "\n".join(tables(loops, mca, version, options.show)) + "\n"
    if options.write:
        TABLE.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
