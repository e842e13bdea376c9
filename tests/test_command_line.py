"""The command `python -m upsample_ext`: what it prints, what it refuses, and the memory and time it takes."""

import json
import os
import struct
import subprocess
import sys
import zlib

import pytest
import torch
from test_compare import PRINTED

from upsample_ext import _progress, comparison_input
from upsample_ext.__main__ import main, parse_matrix, read_image
from upsample_ext._memory import available_bytes
from upsample_ext.compare import compare

COMMAND = [sys.executable, "-m", "upsample_ext"]


def refused(capsys, arguments):
    """The one line that the command says of these arguments; nothing is printed of a result."""
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert error.startswith("upsample-ext: error: ") and error.count("\n") == 1 and error.endswith("\n")
    assert out == "" and len(error) < 700
    return error


def test_command_prints_the_identity_and_the_question(capsys):
    assert main(["compare"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in PRINTED)
    assert "1.0000 0.6667 0.3333 0.0000" in printed  # of the identity
    assert str(compare(torch.eye(2), 2)) in printed


def test_command_as_a_process(tmp_path):
    picture = tmp_path / "out.png"
    arguments = ["compare", "--factor", "2", "--matrix", "1 2; 3 4", "--plot", str(picture)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in PRINTED)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_compares_the_modes(capsys, tmp_path):
    assert main(["compare", "--matrix", "1 2; 3 4", "--ways", "modes"]) == 0
    printed = capsys.readouterr().out
    assert printed == str(compare([[1.0, 2.0], [3.0, 4.0]], 2, "modes")) + "\n"
    rows = "1 2 3 4; 9 6 7 8; 9 1 1 0; 4 5 6 9"
    assert main(["compare", "--matrix", rows, "--shrink", "--ways", "area, nearest"]) == 0
    printed = capsys.readouterr().out
    assert printed == str(compare(parse_matrix(rows), 2, ["area", "nearest"], shrink=True)) + "\n"


def test_command_info(capsys):
    assert main(["info"]) == 0
    assert "upsample_ext" in capsys.readouterr().out


def test_command_help(capsys):
    assert main(["compare", "--help"]) == 0
    assert "--matrix" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["compare", "--factor", "0"], "expected factor to be 1 or more"),
        (["compare", "--factor", "two"], "invalid int value: 'two'"),
        (["compare", "--matrix", "1 2; 3"], "--matrix: expected rows of one length"),
        (["compare", "--factor", "-3"], "expected factor to be 1 or more, got -3"),
        (["compare", "--factor", "1.5"], "invalid int value: '1.5'"),
        (["compare", "--factor", "9" * 5000], "invalid int value: '999"),
        (
            ["compare", "--factor", "100000000000"],
            "is more than some minutes' work; the factor may be up to ",
        ),
        (["compare", "--factor", "99999999999999999999"], "upsampled by 99999999999999999999 is more than"),
        (["compare", "--factor", "9" * 1000], "upsampled by 10**20 or more is more than"),
        (["compare", "--matrix", "1 2;3 4", "--factor", "20000"], "the factor may be up to "),
        (["compare", "--matrix", "1 2; 3"], "row 2 has length 1, the first 2"),
        (["compare", "--matrix", "1 two"], "--matrix: could not convert string to float: 'two'"),
        (["compare", "--matrix", "1 " + "2" * 5000], "is out of range"),
        (["compare", "--matrix", "1e39 2"], "--matrix: 1e39 is out of range, float32 ends at 3.403e+38"),
        (["compare", "--matrix", "1 -1e999"], "--matrix: -1e999 is out of range"),
        (["compare", "--matrix", ""], "--matrix: expected rows of one length"),
        (["compare", "--matrix", ";"], "--matrix: expected rows of one length"),
        (["compare", "--ways", "cubic"], "expected ways of modes, bilinear, nearest, "),
        (["compare", "--ways", ""], "replicate; got ''"),
        (["compare", "--shrink", "--ways", "zeros"], "'zeros', a transposed convolution, cannot shrink"),
        (["compare", "--shrink", "--factor", "3"], "1x2x2 shrunk by 3 is nothing; the factor may be up to 2"),
        (["compare", "--image", "no-such-picture"], "--image: no-such-picture is neither a file nor"),
        (["compare", "--image", "a.png", "--matrix", "1"], "not allowed with argument"),
        (["compare", "--image", __file__], "cannot identify image file"),
        (["compare", "--image", ""], "--image: expected the name of a file or a sample, got an empty one"),
        (["compare", "--image", "."], "--image: . is a directory, expected a regular file"),
        (["compare", "--image", "/dev/zero"], "--image: /dev/zero is a pipe or a device"),
        (["compare", "--image", "a\nb\x1b\0c"], "--image: a b??c is neither a file nor"),
        (["compare", "--image", "a" * 5000], "aaa ... "),
        (["compare", "--plot", ""], "--plot: expected the name of a file, got an empty one"),
        (["compare", "--plot", "."], "--plot: . is a directory"),
        (["compare", "--plot", "/dev/full"], "--plot: /dev/full is not a regular file"),
        (["compare", "--plot", "no/such/folder/out.png"], "No such file or directory"),
        (["compare", "--plot", "out.nonsense"], "out.nonsense ends in none of "),
    ],
)
def test_command_errors_are_one_line_and_status_2(capsys, arguments, message):
    pytest.importorskip("matplotlib")
    assert message in refused(capsys, arguments)


# ---- the picture that is drawn -----------------------------------------------------------------------------


def test_a_plot_without_an_ending_is_a_png(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["compare", "--matrix", "1", "--plot", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"plot: {tmp_path / 'out.png'}\n")


def test_a_plot_is_not_computed_for_a_place_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anyone but root
    assert "permission denied" in refused(capsys, ["compare", "--plot", str(tmp_path / "out.png")])


def test_a_plot_that_fails_half_way_is_told(capsys, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure.Figure, "savefig", full)
    path = str(tmp_path / "out.png")
    assert main(["compare", "--matrix", "1", "--plot", path]) == 2
    assert capsys.readouterr().err == f"upsample-ext: error: --plot: {path}: No space left on device\n"


def test_a_plot_without_matplotlib_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    message = refused(capsys, ["compare", "--plot", "out.png"])
    assert "matplotlib" in message and "pip install upsample-ext[plot]" in message


# ---- matrices and pictures ---------------------------------------------------------------------------------


def test_matrix_text():
    assert parse_matrix("1,2;\n 3 -4e1;").tolist() == [[1.0, 2.0], [3.0, -40.0]]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGB", "RGBA", "I;16"])
def test_images_of_every_mode(tmp_path, mode):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.png"
    picture = image_module.new(mode, (3, 2))
    picture.putpixel(
        (2, 1), {"LA": (255, 255), "RGB": (255, 0, 0), "RGBA": (255, 0, 0, 255), "P": 0}.get(mode, 255)
    )
    picture.save(path)
    x = read_image(str(path))
    assert x.dtype == torch.float32 and x.shape == (3 if mode in ("P", "RGB", "RGBA") else 1, 2, 3)
    if mode != "P":
        assert x[0, 1, 2] == (255.0 if mode == "I;16" else 1.0) and x[0].count_nonzero() == 1


def test_infinities_and_nan_are_numbers(capsys):
    assert main(["compare", "--matrix", "nan 1; inf -infinity"]) == 0
    assert parse_matrix("nan 1; inf -infinity").isnan().sum() == 1


def png(path, width, height, pixels=b""):
    """A PNG whose header says width and height, whatever there is of pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return str(path)


@pytest.mark.parametrize(
    ("width", "height", "factor", "message"),
    [
        (50000, 50000, 2, "exceeds limit of "),
        (2**31 - 1, 1, 2, "exceeds limit of "),
        (0, 5, 2, "cannot identify image file"),
        (30, 20, 2, "truncated"),
        (30, 20, 5000, "the factor may be up to "),
        (13000, 13000, 4, "is more than some minutes' work; the factor may be up to"),
    ],
)
def test_pictures_that_are_not_what_their_header_says(capsys, tmp_path, width, height, factor, message):
    pytest.importorskip("PIL")
    path = png(tmp_path / "bomb.png", width, height)
    assert message in refused(capsys, ["compare", "--factor", str(factor), "--image", path])


def test_pictures_without_pixels(capsys, tmp_path, monkeypatch):
    image_module = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(image_module, "open", lambda path: image_module.new("RGB", (0, 5)))
    assert "the picture is empty, 0 x 5 pixels" in refused(capsys, ["compare", "--image", __file__])


def test_more_than_the_memory_there_is(capsys, tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    path = png(tmp_path / "large.png", 4000, 3000)
    monkeypatch.setattr(comparison_input, "available_bytes", lambda: 2**28)
    message = refused(capsys, ["compare", "--image", path])
    assert "3x3000x4000 upsampled by 2 takes about 1." in message and "and 0.2 GiB are free" in message
    with open(path, "r+b") as file:
        file.truncate(2**40)  # a hole, not a terabyte
    assert "takes about 1024.0 GiB" in refused(capsys, ["compare", "--image", path])
    monkeypatch.setattr(comparison_input, "available_bytes", lambda: None)
    assert main(["compare", "--matrix", "1"]) == 0


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_damaged_pictures(capsys, tmp_path, kind):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / f"picture.{kind}"
    image_module.new("RGB", (40, 30), (10, 200, 30)).save(path)
    whole = path.read_bytes()
    for length in (0, 10, 20, 40, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:length])
        status = main(["compare", "--image", str(path)])
        out, error = capsys.readouterr()
        if status:  # a decoder may not need the last bytes
            assert status == 2 and error.count("\n") == 1 and out == ""
            assert str(path) in error
        assert status or length > 20


@pytest.mark.parametrize(("width", "height"), [(40, -5), (-40, 30), (40, 0), (40, 2**31 - 1), (40, -(2**31))])
def test_bitmaps_with_odd_sizes(capsys, tmp_path, width, height):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "picture.bmp"
    image_module.new("RGB", (40, 30)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", width, height)
    path.write_bytes(content)
    arguments = ["compare", "--image", str(path)]
    if height == -5:  # five rows, from the top
        assert main(arguments) == 0 and "1x3x5x40" in capsys.readouterr().out
    else:
        refused(capsys, arguments)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "I", "F", "PA"])
def test_images_of_rarer_modes(tmp_path, mode):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.tif"
    image_module.new("RGB" if mode == "PA" else mode, (3, 2)).save(path)
    x = read_image(str(path))
    assert x.shape == (1 if mode in "IF" else 3, 2, 3) and x.isfinite().all()


def test_an_animation_is_its_first_picture(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.gif"
    later = image_module.new("RGB", (5, 4), (255, 0, 0))
    image_module.new("RGB", (5, 4)).save(path, save_all=True, append_images=[later])
    assert read_image(str(path)).eq(0).all()


def test_orientation_is_that_of_the_metadata(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.jpg"
    metadata = image_module.Exif()
    metadata[0x112] = 6  # a quarter turn
    image_module.new("RGB", (50, 4)).save(path, exif=metadata)
    assert read_image(str(path)).shape == (3, 50, 4)
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03" + b"\xff" * 60
    image_module.new("RGB", (50, 4)).save(path, exif=damaged)
    assert read_image(str(path)).shape == (3, 4, 50)


def test_a_photo(capsys, tmp_path):
    pytest.importorskip("skimage")
    picture = tmp_path / "photo.png"
    assert main(["compare", "--image", "astronaut", "--plot", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "x: torch.FloatTensor of size 1x3x512x512, upsampled by 2" in printed
    assert "equals interpolate(align_corners=False) everywhere" in " ".join(printed.split())
    assert 50_000 < picture.stat().st_size < 400_000
    assert main(["compare", "--image", "astronaut", "--shrink", "--factor", "8", "--plot", str(picture)]) == 0
    assert 'interpolate(x, size=(64, 64), mode="area")' in capsys.readouterr().out
    assert 50_000 < picture.stat().st_size < 500_000


# ---- a process with its pipes, its memory and its time -----------------------------------------------------


def test_a_pipe_is_not_waited_for(tmp_path):
    pytest.importorskip("PIL")
    os.mkfifo(tmp_path / "pipe")
    for option in ("--image", "--plot"):
        done = subprocess.run(
            [*COMMAND, "compare", option, str(tmp_path / "pipe")], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("{} compare | true; exit ${{PIPESTATUS[0]}}", 141, ""),
        ("{} compare > /dev/full", 2, "upsample-ext: error: [Errno 28] No space left on device\n"),
        ("{} --help > /dev/full", 2, "upsample-ext: error: [Errno 28] No space left on device\n"),
        ("{} info >&-", 2, "upsample-ext: error: stdout is closed\n"),
        ("{} compare --factor 0 2>&-", 2, ""),
    ],
)
def test_output_that_nobody_takes(command, status, message):
    command = command.format(f"'{sys.executable}' -m upsample_ext")
    done = subprocess.run(
        ["bash", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (status, message)


def test_names_that_cannot_be_printed(tmp_path):
    pytest.importorskip("matplotlib")
    name = os.fsencode(tmp_path) + b"/\xff.png"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*COMMAND, "compare", "--matrix", "1", "--plot", name], capture_output=True, env=environment
    )
    assert done.returncode == 0 and done.stderr == b"" and b"udcff.png" in done.stdout


# With as much address space as a process has after its imports, and so much more
LIMITED = """
import json, os, resource, sys
import PIL.ImageOps
from upsample_ext.__main__ import main

more, *arguments = json.loads(sys.argv[1])
used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
sys.exit(main(arguments))
"""


@pytest.mark.parametrize(
    ("more", "arguments", "message"),
    [
        (2**29, ["--matrix", "1 2", "--factor", "99999999999999999999"], "the factor may be up to"),
        (2**29, ["--matrix", "1 2;3 4", "--factor", "20000"], "the factor may be up to"),
        (2**29, ["--image", "{bomb}"], "exceeds limit of"),
        (2**26, ["--image", "{large}"], "not enough memory"),  # of 72 MB as float32
    ],
    ids=["huge factor", "large factor", "bomb", "no memory"],
)
def test_little_memory_is_no_traceback(tmp_path, more, arguments, message):
    pytest.importorskip("PIL")
    paths = {
        "bomb": png(tmp_path / "bomb.png", 50000, 50000),
        "large": png(tmp_path / "large.png", 3000, 2000, bytes(2000 * (1 + 3 * 3000))),
    }
    arguments = [more, "compare", *(text.format(**paths) for text in arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, json.dumps(arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stderr.count("\n") == 1


# What the command takes beyond its imports: peak of resident memory, and processor time
TAKEN = """
import contextlib, io, json, re, resource, sys
from upsample_ext.__main__ import main


def state():
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int(peak[1]) / 1024, usage.ru_utime + usage.ru_stime


before = state()
for factor in ("2", "4"):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["compare", "--factor", factor, "--image", sys.argv[1]]) == 0
    print(json.dumps([now - then for now, then in zip(state(), before)]))
"""


def test_memory_and_time_of_a_photo(tmp_path):
    """Of 1920x1080. On an AMD EPYC: 134 MiB and 0.7 s at factor 2, 189 MiB and 1.7 s at factor 4."""
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "photo.png"
    noise = image_module.effect_noise((240, 135), 80).resize((1920, 1080))
    image_module.merge("RGB", [noise, noise.rotate(180), noise]).save(path)
    done = subprocess.run([sys.executable, "-c", TAKEN, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (memory_2, _), (memory_4, time) = (json.loads(line) for line in done.stdout.splitlines())
    assert memory_2 < 250 and memory_4 < 400
    assert time < 20  # both; one step in whole results took more than 30


# ---- progress ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    return now


def test_progress_of_quick_work_is_silent(capsys, clock):
    progress = _progress.Progress()
    progress.begin("comparing")
    for clock[0], done in ((0.5, 0.3), (1.9, 0.9), (2.5, 1.0)):
        progress(done)
    assert capsys.readouterr() == ("", "")


def test_progress_in_lines(capsys, clock):
    progress = _progress.Progress()
    progress.begin("comparing")
    for clock[0], done in ((1.0, 0.1), (2.1, 0.2), (3.0, 0.25), (11.0, 0.5), (12.2, 0.999), (30.0, 1.0)):
        progress(done)
    assert capsys.readouterr() == ("", "comparing: 20%\ncomparing: 99%\n")


def test_progress_on_a_terminal(capsys, clock, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = _progress.Progress()
    progress.begin("drawing")
    for clock[0], done in ((1.0, 0.1), (2.1, 0.2), (2.2, 0.25), (2.4, 0.5), (2.5, 1.0)):
        progress(done)
    assert capsys.readouterr().err == "\rdrawing: 20%\x1b[K\rdrawing: 50%\x1b[K\r\x1b[K"


# ---- the memory there is -----------------------------------------------------------------------------------


def test_memory_of_a_machine(tmp_path):
    assert available_bytes(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemFree: 1 kB\nMemAvailable:  5 kB\n")
    assert available_bytes(tmp_path) == 5120
    assert available_bytes() > 0


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"memory.max": "max", "memory.current": "1000"}, 8192),
        ("0::/", {"memory.max": "4096", "memory.current": "1000"}, 3096),
        (
            "0::/",
            {"memory.max": "4096", "memory.current": "1000", "memory.stat": "anon 7\ninactive_file 96\n"},
            3192,
        ),
        ("0::/a/b", {"a/memory.max": "2000", "a/memory.current": "1500", "a/b/memory.max": "max"}, 500),
        ("0::/", {"memory.max": "100", "memory.current": "1000"}, 0),
        (
            "4:cpu,memory:/of/the/host",
            {"memory/memory.limit_in_bytes": "2048", "memory/memory.usage_in_bytes": "48"},
            2000,
        ),
        ("3:cpu:/", {"memory.limit_in_bytes": "2048", "memory.usage_in_bytes": "48"}, 8192),
    ],
)
def test_memory_of_a_control_group(tmp_path, group, files, expected):
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    files |= {"proc/meminfo": "MemAvailable:  8 kB\n", "proc/self/cgroup": group + "\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_bytes(tmp_path) == expected
