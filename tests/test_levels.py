"""Instruction-set levels: forced by name, kept apart in the objects, portable to other processors."""

import os
import re
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkout import ROOT, checked, needs_checkout, run

import upsample_ext
from upsample_ext._library import C

CSRC = ROOT / "csrc"
FLAGS = ["-std=c++20", "-O3", "-fopenmp", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", f"-I{CSRC}"]
BUILT = ROOT / "build" / f"temp.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
LEVELS = ("baseline", "avx2", "avx512")
KERNEL_CHECKS = (
    "resample_check",
    "deconv_check",
    "argmax_cross_entropy_check",
    "copy_image_check",
    "choice_check",
)
KERNEL_SOURCES = [
    *sorted((CSRC / "geometry").glob("*.cpp")),
    CSRC / "cpu" / "levels.cpp",
    *sorted((CSRC / "cpu" / "levels").glob("*.cpp")),
]
needs_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the levels are of x86-64")


def python(code, **environment):
    return run(sys.executable, "-c", code, env={**os.environ, **environment}, cwd=ROOT)


# ---- choosing a level ------------------------------------------------------------------------------------


def test_the_levels_of_this_processor_start_with_the_portable_one():
    available = list(C.levels())
    assert available[0] == "baseline"
    assert set(available) <= set(LEVELS)
    assert C.level() in available
    assert upsample_ext.info().level == C.level()
    assert upsample_ext.info().levels == tuple(available)


@pytest.mark.parametrize("level", LEVELS)
def test_environment_forces_a_level(level):
    result = python(
        "import upsample_ext, torch; print(upsample_ext.info().level); "
        "print(upsample_ext.upsample_bilinear2d(torch.tensor([[[[1.0, 3.0]]]]), (1, 4)).flatten().tolist())",
        UPSAMPLE_EXT_LEVEL=level,
    )
    if level in C.levels():
        assert result.returncode == 0, result.stderr
        assert result.stdout.split("\n")[:2] == [level, "[1.0, 1.5, 2.5, 3.0]"]
    else:
        assert result.returncode != 0
        assert "UPSAMPLE_EXT_LEVEL" in result.stderr and level in result.stderr


def test_an_unknown_level_is_refused_with_the_known_ones_named():
    result = python("import upsample_ext", UPSAMPLE_EXT_LEVEL="sse9")
    assert result.returncode != 0
    last = result.stderr.strip().split("\n")[-1]
    assert "UPSAMPLE_EXT_LEVEL" in last and "sse9" in last
    assert all(level in last for level in C.levels())


def test_set_level_changes_the_level_and_refuses_unknown_names():
    before = C.level()
    try:
        for level in C.levels():
            C.set_level(level)
            assert C.level() == level
        with pytest.raises((ValueError, RuntimeError), match="sse9"):
            C.set_level("sse9")
        assert C.level() == C.levels()[-1]
    finally:
        C.set_level(before)


def test_half_subnormals_survive_where_the_processor_flushes_those_of_float32():
    """A library built with -ffast-math that is loaded, as torch's compiler has done, is enough for that."""
    done = python(
        """if True:
        import torch, upsample_ext
        from upsample_ext._library import C
        every = torch.arange(-32768, 32768, dtype=torch.int16).view(torch.half).view(1, 1, 256, 256)
        every = every.nan_to_num(1.0)
        images = every, every.expand(1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        results = {}
        for flushes in (False, True):
            assert torch.set_flush_denormal(flushes)
            for level in C.levels():
                C.set_level(level)
                for i, x in enumerate(images):
                    for size in ((256, 256), (256, 300)):
                        y = upsample_ext.interpolate(x, size, mode="bilinear").view(torch.int16)
                        assert torch.equal(results.setdefault((level, i, size), y), y), (level, i, size)
        """
    )
    assert done.returncode == 0, done.stderr


# ---- the objects -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def level_objects(tmp_path_factory):
    """The objects of the three levels: those of the build in place, or compiled as setup.py does."""
    newest = max(path.stat().st_mtime for path in (*CSRC.rglob("*.h"), *CSRC.glob("cpu/levels/*.cpp")))
    folder = tmp_path_factory.mktemp("levels")
    objects = {}
    for level in LEVELS:
        objects[level] = BUILT / "csrc" / "cpu" / "levels" / f"{level}.o"
        if not objects[level].exists() or objects[level].stat().st_mtime < newest:
            objects[level] = folder / f"{level}.o"
            source = CSRC / "cpu" / "levels" / f"{level}.cpp"
            checked(os.environ.get("CXX", "g++"), *FLAGS, "-c", source, "-o", objects[level])
    return objects


@pytest.mark.xdist_group("level_objects")
@needs_checkout
@needs_x86
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_defines_nothing_outside_its_namespace(level_objects, level):
    """The linker merges what two levels both define, and may keep the one with the newer instructions."""
    own = re.compile(rf"upsample_ext::{level}::|upsample_ext::level_{level}$")
    leaked = []
    for line in checked("nm", "-C", "--defined-only", level_objects[level]).splitlines():
        kind, name = re.match(r"[0-9a-f]* +(\S) (.*)", line).groups()
        exported = kind.isupper() or kind in "uvw"  # lower case is local to the object, but for these three
        if exported and not own.search(name):
            leaked.append(line)
    assert not leaked, "\n".join(leaked)


@pytest.mark.xdist_group("level_objects")
@needs_checkout
@needs_x86
@pytest.mark.parametrize(("level", "registers"), [("baseline", "[yz]mm"), ("avx2", "zmm")])
def test_a_level_uses_no_registers_of_a_higher_one(level_objects, level, registers):
    code = checked("objdump", "-d", "--no-show-raw-insn", level_objects[level])
    found = [line for line in code.splitlines() if re.search(rf"%{registers}\d", line)]
    assert not found, "\n".join(found[:5])


@pytest.mark.xdist_group("level_objects")
@needs_checkout
@needs_x86
@pytest.mark.parametrize(("level", "registers"), [("avx2", "ymm"), ("avx512", "zmm")])
def test_a_level_uses_its_own_registers(level_objects, level, registers):
    code = checked("objdump", "-d", "--no-show-raw-insn", level_objects[level])
    assert len(re.findall(rf"%{registers}\d", code)) > 100


@needs_checkout
@needs_x86
def test_the_library_keeps_wide_registers_inside_their_levels():
    """The linked library itself: a function with 32- or 64-byte registers belongs to a level's namespace."""
    code = checked("objdump", "-d", "-C", "--no-show-raw-insn", C.__file__)
    homes = {"%ymm": re.compile(r"upsample_ext::avx(2|512)::"), "%zmm": re.compile("upsample_ext::avx512::")}
    function, wrong = "", set()
    for line in code.splitlines():
        if line.endswith(">:"):
            function = line.split("<", 1)[1][:-2]
        wrong |= {
            function for register, home in homes.items() if register in line and not home.search(function)
        }
    assert not wrong, sorted(wrong)


# ---- kernels without torch: under sanitizers, and on another processor -----------------------------------


def kernel_checks(folder, compiler, *flags, built=()):
    """The programs of tests/native: the kernels are compiled once, side by side, and linked into each.

    Levels whose objects are in ``built`` are taken as they are.
    """
    sources = [path for path in KERNEL_SOURCES if path.stem not in {path.stem for path in built}]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = [pool.submit(checked, compiler, *flags, "-c", path, cwd=folder) for path in sources]
        for one in compiled:
            one.result()
    objects = [*sorted(folder.glob("*.o")), *built]
    for name in KERNEL_CHECKS:
        source = ROOT / "tests" / "native" / f"{name}.cpp"
        checked(compiler, *flags, source, *objects, "-o", folder / name)
    return [folder / name for name in KERNEL_CHECKS]


@pytest.mark.xdist_group("level_objects")
@needs_checkout
@pytest.mark.slow
def test_kernels_under_sanitizers(tmp_path, request):
    """Of the narrowest vectors and the widest, whose sources are the same; the longest of the widest only."""
    # Unoptimized code compiles in a third of the time and runs half a minute longer.
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-O0"]
    flags = [flag for flag in FLAGS if flag != "-O3"]
    levels = list(dict.fromkeys((C.levels()[0], C.levels()[-1])))
    built = [request.getfixturevalue("level_objects")[level] for level in C.levels()[1:-1]]
    for program in kernel_checks(tmp_path, os.environ.get("CXX", "g++"), *flags, *sanitizers, built=built):
        takes_long = program.name in ("argmax_cross_entropy_check", "deconv_check")
        for level in levels[-1:] if takes_long else levels:
            output = checked(program, env={**os.environ, "UPSAMPLE_EXT_LEVEL": level, "LD_PRELOAD": ""})
            assert f"level {level}: all results are right" in output


@needs_checkout
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-g++"), reason="no cross compiler for aarch64")
def test_kernels_on_aarch64(tmp_path):
    flags = [*FLAGS, "-Wall", "-Werror", "-static", "-fdump-tree-local-pure-const2-details"]
    programs = kernel_checks(tmp_path, "aarch64-linux-gnu-g++", *flags)
    # g++ 12 has taken a kernel that writes for one that does not, and dropped the calls.
    (effects,) = tmp_path.glob("baseline.cpp.*.local-pure-const2")
    without = re.findall("^Function found to be (?:pure|const): void .*", effects.read_text(), re.MULTILINE)
    assert not without, "\n".join(without)
    for program in programs:
        assert program.read_bytes()[18:20] == b"\xb7\x00"  # e_machine is AArch64
        if shutil.which("qemu-aarch64"):
            output = checked("qemu-aarch64", program)
            assert "level baseline: all results are right" in output
