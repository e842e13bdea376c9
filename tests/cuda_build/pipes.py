"""What the main kernels execute, counted in their machine code by the pipe that runs it.

    python tests/cuda_build/pipes.py                 # the table, for sm_90

Of each kernel its innermost loop that stores (or, of a reduction, that loads) is taken, once round: the
shortest path through it, as where a result row reads the rows that are held already, and the longest. At copy
speed (2.8 TB/s, 132 multiprocessors at 1.755 GHz) four warp instructions issue a cycle while 12.1 bytes move:
that is the budget of a loop, by the bytes that it moves. The ALU has half the lanes, a multiplication of
integers takes two turns of the FMA pipe, and special functions and conversions have an eighth.
"""

import collections
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import kernels  # noqa: E402
from toolkit import find_cuda_home  # noqa: E402

BYTES_A_CYCLE = 2.8e12 / (132 * 1.755e9)
ISSUES_A_CYCLE = 4

ALU = "ALU"
FMA = "FMA"
IMAD = "IMAD"
XU = "XU"
LSU = "LSU"
OTHER = "other"  # control flow, uniform registers
# Cycles that a warp's instruction occupies its quarter's pipe.
CYCLES = {ALU: 2, FMA: 1, IMAD: 2, XU: 8, LSU: 4, OTHER: 0}
_PIPES = {
    ALU: r"IADD3|VIADD|P?LOP3|SHF|[IF]SETP|F?SEL|PRMT|FMNMX|V?IMNMX|LEA|F2FP|I2FP|IABS|BMSK|MOV",
    IMAD: r"IMAD",
    FMA: r"F(FMA|MUL|ADD)|H(FMA|ADD|MUL)2|HADD2|D(FMA|ADD|MUL|SETP)",
    XU: r"MUFU|F2I|I2F|F2F|FRND|POPC|FLO",
    LSU: r"LD[GSLC]?|ST[GSL]?|SHFL|ATOM\w*|RED|LDSM",
}


def pipe_of(opcode):
    """'IMAD.WIDE.U32' -> IMAD; a move that is written as IMAD.MOV is one too."""
    name = opcode.split(".")[0]
    if name.startswith("U") or name.startswith("R2U"):
        return OTHER
    for pipe, pattern in _PIPES.items():
        if re.fullmatch(pattern, name):
            return pipe
    return OTHER


@dataclass(frozen=True)
class Instruction:
    opcode: str
    conditional: bool
    target: int | None  # of a branch: the index of an instruction


@dataclass(frozen=True)
class Count:
    """Of a path: warp instructions, in all and by pipe."""

    pipes: tuple[tuple[str, int], ...]

    @property
    def issued(self):
        return sum(count for _, count in self.pipes)

    def cycles(self, pipe):
        return dict(self.pipes).get(pipe, 0) * CYCLES[pipe]


def find_nvdisasm(cuda_home):
    """The toolkit's, or that of the wheel nvidia-cuda-nvdisasm; None where there is none."""
    wheel = pathlib.Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    for candidate in (shutil.which("nvdisasm"), pathlib.Path(cuda_home or "/") / "bin" / "nvdisasm", wheel):
        if candidate and pathlib.Path(candidate).is_file():
            return candidate
    return None


def parse(text):
    """{symbol: instructions} of nvdisasm's listing."""
    functions, pending = {}, None
    for line in text.splitlines():
        if found := re.match(r"\.text\.(\w+):", line):
            functions[found[1]] = pending = ([], {})
        elif pending is None:
            continue
        elif found := re.match(r"(\.L_x_\d+):", line):
            pending[1][found[1]] = len(pending[0])
        elif found := re.match(r"\s+/\*\w+\*/\s+(@!?U?P\w+ )?\s*([A-Z0-9_.]+)(.*);", line):
            pending[0].append((found[2], bool(found[1]), re.search(r"`\((\.L_x_\d+)\)", found[3])))
    return {
        symbol: [
            Instruction(opcode, conditional, labels.get(label[1]) if label and opcode == "BRA" else None)
            for opcode, conditional, label in found
        ]
        for symbol, (found, labels) in functions.items()
    }


def loops(code):
    """(first, last) of every backward branch's region, the shortest first."""
    found = [(one.target, i) for i, one in enumerate(code) if one.target is not None and one.target < i]
    return sorted(found, key=lambda loop: loop[1] - loop[0])


def once_round(code, loop, choose):
    """The path of least or most instructions from a loop's first to its last; branches go forward."""
    first, last = loop
    best = {first: (1, None)}  # instruction -> (instructions up to it, the one before)
    for i in range(first, last):
        if i not in best:
            continue
        one = code[i]
        following = []
        if one.target is not None and first < one.target <= last:
            following.append(one.target)
        if one.conditional or one.opcode not in ("BRA", "EXIT", "RET"):
            following.append(i + 1)
        for to in following:
            if to > i and (to not in best or choose(best[i][0] + 1, best[to][0]) != best[to][0]):
                best[to] = (best[i][0] + 1, i)
    pipes, at = collections.Counter(), last
    while at is not None:
        pipes[pipe_of(code[at].opcode)] += 1
        at = best[at][1]
    return Count(tuple(sorted(pipes.items())))


def main_loop(code, marks):
    """The innermost loop with as many instructions of a kind as the fullest of those without loops inside."""
    innermost = [
        loop
        for loop in loops(code)
        if any(re.match(marks, one.opcode) for one in code[loop[0] : loop[1] + 1])
    ]
    if not innermost:
        raise ValueError(f"no loop with {marks}")
    outer = {
        loop
        for loop in innermost
        if any(loop[0] <= other[0] and other[1] <= loop[1] and other != loop for other in innermost)
    }
    return max((loop for loop in innermost if loop not in outer), key=lambda loop: loop[1] - loop[0])


@dataclass(frozen=True)
class Case:
    """A kernel, and the bytes that a warp moves for each marked instruction of its loop."""

    name: str
    source: str
    pattern: str  # of the demangled name
    marks: str  # of the loop's instructions
    moved: float  # or, of a reduction, the bytes that could be moved in the cycles it is to take
    # Of turns that take the longest path; the others take the shortest. The longest of a forward resize loads
    # two source rows, of which a turn needs one over the factor.
    share: float = 1.0


_ROW = 512  # bytes of a warp, 16 a lane
_LINEAR = r"LinearAxis<float, int>, int, .*Store<"


def _cases():
    x2, x4 = _ROW * 5 / 4, _ROW * 17 / 16
    for dtype, of, values in (("float32", "float", 4), ("float16", ".*half_t", 8)):
        planar, channels = f"resample_planar<{of}, {values}, true", f"resample_channels_last<{of}, {values}"
        forward, nearest = "resample_forward", "resample_nearest"
        yield Case(f"forward {dtype} x2 nchw", forward, f"{planar}.*Doubled.*{_LINEAR}", "STG", x2, 1 / 4)
        yield Case(f"forward {dtype} x4 nchw", forward, f"{planar}.*Quadrupled.*{_LINEAR}", "STG", x4, 1 / 8)
        yield Case(f"forward {dtype} x2 nhwc", forward, f"{channels}.*{_LINEAR}", "STG", x2, 1 / 4)
        word = f"Moved<{16 // values}>"
        yield Case(f"nearest {dtype} x2 nchw", nearest, f"pick_rows<.*{word}", "STG", x2, 0.5)
        yield Case(f"nearest backward {dtype} x2 nchw", nearest, f"sum_doubled<{of}>", "LDG", x2)
        doubled = rf"deconv_backward_input_doubled<{of}>"
        yield Case(f"deconv backward {dtype} k4 s2", "deconv_backward_input", doubled, "LDG.E.128", x2)
        weight = rf"sum_weight_slices_doubled<{of}>"  # which loads each row of grad_output twice
        yield Case(f"deconv weight {dtype} k4 s2", "deconv_backward_weight", weight, "LDG.E.128", x2 / 2)
        # Of bytes, for which a warp reads 16 values a lane.
        bits = rf"resample_planar<{of}, 16, true"
        for factor, name in ((2, "Doubled"), (4, "Quadrupled")):
            moved = _ROW * (1 + 16 / values / factor**2)
            pattern = f"{bits}.*{name}.*{_LINEAR[:-6]}Threshold<"
            yield Case(
                f"threshold {dtype} x{factor} nchw", "threshold", pattern, "STG", moved, 1 / factor / 2
            )
        for layout, channels in (("nchw", "false"), ("nhwc", "true")):
            sums = f"resample_backward_large<{of}, {values}, true, {channels}"
            yield Case(f"backward {dtype} x32 {layout}", "resample_backward", sums, "LDG", _ROW)
    bytes_x2 = f"resample_planar<unsigned char, 16, true.*Doubled.*{_LINEAR}"
    yield Case("forward uint8 x2 nchw", "resample_forward", bytes_x2, "STG", x2, 1 / 4)
    yield Case("nearest uint8 x2 nchw", nearest, r"pick_rows<.*Moved<1>", "STG", x2, 0.5)
    yield Case("nearest x2 nhwc", nearest, r"pick_pixels<.*Moved<16>, int>", "STG", x2, 0.5)


CASES = list(_cases())


def budget(case):
    """Warp instructions that issue while those bytes move at copy speed."""
    return case.moved / BYTES_A_CYCLE * ISSUES_A_CYCLE


def argmax_turn(cuda_home, nvdisasm):
    """A turn of argmax's loop without a new winner: 4 classes of the 4 pixels of a thread."""
    code = compiled(cuda_home, nvdisasm, "argmax")
    (name,) = [name for name in code if "argmax_of_columns<float, 4, 1, false, int>" in name]
    return once_round(code[name], main_loop(code[name], "LDG"), min)


def compiled(cuda_home, nvdisasm, source, architecture=90):
    """{demangled name: instructions} of a file's kernels."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = pathlib.Path(folder) / "kernels.cubin"
        nvcc = [pathlib.Path(cuda_home) / "bin" / "nvcc", "-std=c++17", *kernels.nvcc_flags()]
        path = kernels.ROOT / "csrc" / "cuda" / "kernels" / f"{source}.cu"
        command = [
            *nvcc,
            f"-I{kernels.ROOT / 'csrc'}",
            f"-arch=sm_{architecture}",
            "-cubin",
            "-o",
            cubin,
            path,
        ]
        subprocess.run([str(word) for word in command], check=True)
        text = subprocess.run(
            [str(nvdisasm), "-c", str(cubin)], capture_output=True, text=True, check=True
        ).stdout
    functions = parse(text)
    names = subprocess.run(
        ["c++filt"], input="\n".join(functions), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return dict(zip(names, functions.values(), strict=True))


@dataclass(frozen=True)
class Row:
    """A case and its two paths. Numbers are for the bytes that the case names."""

    case: Case
    least: Count
    most: Count
    marked: int  # instructions of a turn

    def average(self, of):
        return (of(self.least) + self.case.share * (of(self.most) - of(self.least))) / self.marked

    @property
    def slots(self):
        return self.average(lambda count: count.issued)

    def cycles(self, *pipes):
        return self.average(lambda count: sum(map(count.cycles, pipes)))


def measure(cuda_home, nvdisasm, cases=CASES):
    code = {source: compiled(cuda_home, nvdisasm, source) for source in {case.source for case in cases}}
    rows = []
    for case in cases:
        (name,) = [name for name in code[case.source] if re.search(case.pattern, name)]
        loop = main_loop(code[case.source][name], case.marks)
        least, most = (once_round(code[case.source][name], loop, choose) for choose in (min, max))
        body = code[case.source][name][loop[0] : loop[1] + 1]
        rows.append(Row(case, least, most, sum(one.opcode.startswith(case.marks) for one in body)))
    return rows


def main():
    cuda_home = find_cuda_home()
    nvdisasm = find_nvdisasm(cuda_home)
    if cuda_home is None or nvdisasm is None:
        raise SystemExit('no nvcc or nvdisasm: install the extra "cuda" of pyproject.toml')
    print(f"{'kernel':32} slots  of  cycles of ALU   FMA    XU   LSU   instructions of a turn")
    for row in measure(cuda_home, nvdisasm):
        fma, alu, xu, lsu = row.cycles(FMA, IMAD), row.cycles(ALU), row.cycles(XU), row.cycles(LSU)
        print(
            f"{row.case.name:32} {row.slots:5.0f} {budget(row.case):3.0f} {alu:14.0f} {fma:5.0f} {xu:5.0f} "
            f"{lsu:5.0f}   {row.least.issued} to {row.most.issued}"
        )
    turn = argmax_turn(cuda_home, nvdisasm)
    print(f"argmax, 4 classes of 4 pixels: {turn.issued} slots, ALU {turn.cycles(ALU)} cycles")


if __name__ == "__main__":
    main()
