"""The table of the kernels' inner loops on other processors (benchmarks/loops.py)."""

import re
import shutil

import pytest
from checkout import ROOT, needs_checkout

from benchmarks import loops

MCA, _ = loops.find_mca()
needs_mca = pytest.mark.skipif(MCA is None, reason=f"no llvm-mca of LLVM {loops.OLDEST_LLVM} or newer")

# A loop within another, whose first block stands after it, and a block that no other leads to.
NESTED = """
	xorl	%eax, %eax
.L1:
	jmp	.L3
.L2:
	vaddps	%ymm0, %ymm1, %ymm1
.L3:
	vmulps	%ymm0, %ymm1, %ymm1
	decq	%rax
	jne	.L2
	decq	%rbx
	jne	.L1
	ret
	vdivps	%ymm0, %ymm1, %ymm1
	jmp	.L2
"""


def test_the_innermost_loop_is_found_wherever_its_blocks_stand():
    assert [[line.split()[0] for line in loop] for loop in loops.innermost_loops(NESTED.splitlines())] == [
        ["vaddps", "vmulps", "decq", "jne"]
    ]


@pytest.mark.slow
@needs_checkout
@needs_mca
@pytest.mark.parametrize("target", loops.TARGETS, ids=lambda target: f"{target.level}-{target.triple}")
def test_every_loop_is_found_and_estimated(target):
    if not shutil.which(target.compiler):
        pytest.skip(f"no {target.compiler}")
    rows = list(loops.rows_of(target, loops.LOOPS, MCA))
    assert len(rows) == len(loops.loops_of(target, loops.LOOPS)) > 15
    for loop, cells in rows:
        assert len(cells) == len(target.processors)
        for cell in cells:
            cycles = re.match(r"\**([\d.]+)\**; (\d+ B)?; \w", cell)
            # A result takes an operation at least, of which the widest processors finish 8 vectors a cycle.
            assert cycles and float(cycles[1]) >= 64 / target.vector_bytes / 8, (loop.name, cell)


def test_the_table_has_a_row_for_every_loop():
    named = re.findall(r"^\| ([^|]+) \|", (ROOT / "benchmarks" / "LOOPS.md").read_text(), re.MULTILINE)
    expected = []
    for target in loops.TARGETS:
        expected += ["loop", *(loop.name for loop in loops.loops_of(target, loops.LOOPS))]
    assert named == expected
