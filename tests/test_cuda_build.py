"""The CUDA kernels as nvcc makes them, without a GPU: for every architecture no spills, no stack frames.

The script beside the emulation, cuda_build/kernels.py, does the work and prints the table of registers.
"""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "cuda_build"))

import pipes  # noqa: E402

import kernels  # noqa: E402
from toolkit import find_cuda_home  # noqa: E402

CUDA_HOME = find_cuda_home()
needs_nvcc = pytest.mark.skipif(
    CUDA_HOME is None, reason='no nvcc: set CUDA_HOME, or install the extra "cuda" of pyproject.toml'
)
pytestmark = pytest.mark.skipif(not kernels.sources(), reason="needs the sources")


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("family", kernels.FAMILIES, ids=lambda family: "-".join(map(str, family)))
def test_every_kernel_fits_its_registers(family):
    """Compiled for all architectures where a kernel has changed since the page of registers was written."""
    if 90 not in family and kernels.page_is_of_these_kernels(kernels.nvcc_version(CUDA_HOME)):
        pytest.skip(f"{kernels.PAGE.name} is of these kernels, and finds no fault in them")
    compilations = kernels.compile_all(CUDA_HOME, family, jobs=1)
    assert kernels.faults(compilations) == []
    for architecture in family:
        found = [kernel for one in compilations for kernel in one.kernels if one.architecture == architecture]
        assert len({kernel.symbol for kernel in found}) >= 64
        assert all(kernel.warps > 0 for kernel in found)


def test_a_changed_kernel_is_seen(tmp_path, monkeypatch):
    """Any source that a kernel includes; not a comment, nor the layout of the code."""
    (tmp_path / "a.cu").write_text('#include "b.cuh"\nint a;  // says something\n')
    (tmp_path / "b.cuh").write_text("#pragma once\nint b;\n")
    monkeypatch.setattr(kernels, "sources", lambda: [tmp_path / "a.cu"])
    first = kernels.digest("nvcc 13")
    assert kernels.digest("nvcc 12") != first
    (tmp_path / "a.cu").write_text('#include "b.cuh"\n\nint a;  // something else\n')
    assert kernels.digest("nvcc 13") == first
    (tmp_path / "b.cuh").write_text("#pragma once\nlong b;\n")
    assert kernels.digest("nvcc 13") != first
    assert not kernels.page_is_of_these_kernels("nvcc 13")


@needs_nvcc
@pytest.mark.parametrize(
    "family",
    [family for family in kernels.FAMILIES if len(family) > 1],
    ids=lambda family: "-".join(map(str, family)),
)
def test_a_family_has_one_ptx(tmp_path, family):
    source = kernels.ROOT / "csrc" / "cuda" / "kernels" / "argmax.cu"
    texts = set()
    for architecture in family:
        ptx = tmp_path / f"{architecture}.ptx"
        nvcc = [pathlib.Path(CUDA_HOME) / "bin" / "nvcc", "-std=c++17", *kernels.nvcc_flags()]
        target = [f"-I{kernels.ROOT / 'csrc'}", f"-arch=compute_{architecture}", "-ptx", "-o", ptx, source]
        subprocess.run([str(word) for word in nvcc + target], check=True)
        texts.add(ptx.read_text().replace(f".target sm_{architecture}", ".target"))
    assert len(texts) == 1


@needs_nvcc
@pytest.mark.slow
def test_the_program_that_tunes_compiles_without_torch(tmp_path):
    nvcc = [pathlib.Path(CUDA_HOME) / "bin" / "nvcc", "-std=c++17", "--fmad=false", f"-I{kernels.ROOT}"]
    nvcc += [f"-I{kernels.ROOT / 'csrc'}", "-arch=sm_90", "-c", "-o", tmp_path / "tune.o"]
    subprocess.run([str(word) for word in [*nvcc, kernels.ROOT / "benchmarks/cuda/tune.cu"]], check=True)


NVDISASM = pipes.find_nvdisasm(CUDA_HOME)
needs_nvdisasm = pytest.mark.skipif(
    CUDA_HOME is None or NVDISASM is None, reason='no nvdisasm: install the extra "cuda" of pyproject.toml'
)


@needs_nvdisasm
@pytest.mark.slow
def test_loops_fit_the_time_in_which_their_bytes_move():
    """Of each pipe and of issue, at the speed of a copy; a kernel is to leave a quarter of it to the rest."""
    for row in pipes.measure(CUDA_HOME, NVDISASM):
        most = 0.75 * pipes.budget(row.case)
        assert 5 < row.slots <= most, row
        for of_pipe in ((pipes.ALU,), (pipes.FMA, pipes.IMAD), (pipes.XU,), (pipes.LSU,)):
            assert row.cycles(*of_pipe) <= most, (row, of_pipe)


@needs_nvdisasm
@pytest.mark.slow
def test_argmax_leaves_the_search_for_the_winner_out():
    """Per pixel and class: 9 slots, and less of the ALU, which would take 12 cycles class by class."""
    turn = pipes.argmax_turn(CUDA_HOME, NVDISASM)
    assert turn.issued <= 9 * 16 and turn.cycles(pipes.ALU) <= turn.issued


def test_paths_through_a_loop_are_found():
    text = """
.text.kernel:
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_1:
        /*0010*/                   ISETP.GE.AND P0, PT, R0, UR4, PT ;
        /*0020*/               @P0 BRA `(.L_x_2) ;
        /*0030*/                   LDG.E R2, desc[UR4][R2.64] ;
        /*0040*/                   MUFU.EX2 R2, R2 ;
.L_x_2:
        /*0050*/                   IMAD.WIDE R4, R0, 0x4, R6 ;
        /*0060*/                   STG.E desc[UR4][R4.64], R2 ;
        /*0070*/              @!P1 BRA `(.L_x_1) ;
        /*0080*/                   EXIT ;
"""
    code = pipes.parse(text)["kernel"]
    assert pipes.loops(code) == [(1, 7)] == [pipes.main_loop(code, "STG")]
    least, most = (pipes.once_round(code, (1, 7), choose) for choose in (min, max))
    assert (least.issued, most.issued) == (5, 7)
    assert (most.cycles(pipes.XU), least.cycles(pipes.XU)) == (8, 0)
    assert most.cycles(pipes.IMAD) == 2 and most.cycles(pipes.LSU) == 8 and most.cycles(pipes.ALU) == 2
    with pytest.raises(ValueError, match="no loop"):
        pipes.main_loop(code, "LDS")


# ---- the checks themselves, on kernels with the fault that each exists for ---------------------------------

FAULTY = """
__global__ void __launch_bounds__(256) right(float* p) { p[threadIdx.x] += 1.0f; }

__global__ void __launch_bounds__(256) array_in_local_memory(float* p, int i) {
  float values[64];
  for (int k = 0; k < 64; ++k) values[k] = p[k];
  values[i] = 0.0f;
  for (int k = 0; k < 64; ++k) p[k] = values[(k * i) % 64];
}

__global__ void __launch_bounds__(1024, 2) spills(float* p) {
  float values[64];
#pragma unroll
  for (int k = 0; k < 64; ++k) values[k] = p[k * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 64; ++k) p[(63 - k) * 1024 + threadIdx.x] = values[k] * values[(k * 7) % 64];
}

__global__ void without_bounds(float* p) { p[threadIdx.x] += 1.0f; }

extern __shared__ float dynamic[];
__global__ void __launch_bounds__(128) shares(float* p) {
  __shared__ float fixed[32];
  fixed[threadIdx.x % 32] = dynamic[threadIdx.x] = p[threadIdx.x];
  __syncthreads();
  p[threadIdx.x] = fixed[threadIdx.x / 4] + dynamic[127 - threadIdx.x];
}
"""


@needs_nvcc
def test_faults_are_seen(tmp_path):
    source = tmp_path / "faulty.cu"
    source.write_text(FAULTY)
    (compilation,) = kernels.compile_for(CUDA_HOME, source, [80])
    kernels.add_occupancy(CUDA_HOME, [compilation])
    by_name = {kernels.readable_names([k.symbol])[k.symbol][0]: k for k in compilation.kernels}
    assert by_name["right"].faults() == []
    assert by_name["right"].threads == 256 and by_name["right"].warps == 64
    assert "has a stack frame of 256 bytes" in by_name["array_in_local_memory"].faults()
    assert any(fault.startswith("spills") for fault in by_name["spills"].faults())
    assert by_name["without_bounds"].faults() == ["states no __launch_bounds__"]
    assert by_name["shares"].dynamic and by_name["shares"].shared == 128
    assert not by_name["right"].dynamic
    text = kernels.markdown([compilation], "nvcc")
    assert "KERNELS FAIL" in text and "array_in_local_memory" in text.split("machine code")[1]
    source.write_text("__global__ void broken( {}")
    with pytest.raises(RuntimeError, match="faulty.cu for sm_80"):
        kernels.compile_for(CUDA_HOME, source, [80])


@needs_nvcc
@pytest.mark.parametrize(
    ("architecture", "threads", "registers", "shared", "warps"),
    [
        (90, 256, 32, 0, 64),  # everything fits
        (90, 256, 64, 0, 32),  # 65536 registers / (64 * 256) = 4 blocks
        (90, 256, 33, 0, 48),  # registers come in eights: 40 * 256, 6 blocks
        (86, 256, 40, 0, 48),  # 1536 threads
        (75, 256, 40, 0, 32),  # 1024 threads
        (80, 128, 32, 40960, 16),  # 164 KiB / (40 + 1) KiB = 4 blocks
        (120, 64, 16, 0, 48),  # 24 blocks
    ],
)
def test_occupancy_is_what_the_programming_guide_says(architecture, threads, registers, shared, warps):
    kernel = kernels.Kernel("k", registers=registers, shared=shared, threads=threads)
    kernels.add_occupancy(CUDA_HOME, [kernels.Compilation(HERE, architecture, 0.0, 0, [kernel])])
    assert kernel.warps == warps


def test_names_are_readable():
    parameters = {
        "resample": ["T", "V", "kVector", "kOther", "Axis", "Index", "Epilogue"],
        "sum": ["T", "acc"],
    }
    text = (
        "void upsample_ext::gpu::resample<upsample_ext::half_t, 8, true, false, "
        "upsample_ext::LinearAxis<float, long>, long, "
        "upsample_ext::gpu::Add<upsample_ext::half_t> >(upsample_ext::gpu::Arguments<float>)"
    )
    assert kernels.readable(text, parameters) == ("resample", "half", "V=8 vector LinearAxis 64-bit Add")
    text = "void upsample_ext::gpu::sum<unsigned char, float>(float*)"
    assert kernels.readable(text, parameters) == ("sum", "uint8", "")
    assert kernels.readable("plain(float*)", {}) == ("plain", "", "")
    assert kernels.template_parameters()["resample_planar"][:3] == ["T", "V", "kVector"]
    assert kernels.split_arguments("a<b, c>, template <class, int> class d") == [
        "a<b, c>",
        "template <class, int> class d",
    ]


def test_without_a_toolkit_the_script_says_what_to_install():
    folder = HERE / "cuda_build"
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); sys.argv = ['kernels.py']; import toolkit;"
        "toolkit.find_cuda_home = lambda: None;"
        f"runpy.run_path({str(folder / 'kernels.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'extra "cuda"' in done.stderr
