"""The command `python -m upsample_ext`: what it prints, and what it says of wrong arguments and files."""

import subprocess
import sys

import pytest
import torch
from test_compare import PRINTED

from upsample_ext.__main__ import main, parse_matrix, read_image
from upsample_ext.compare import compare


def test_command_prints_the_identity_and_the_question(capsys):
    assert main(["compare"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in PRINTED)
    assert "1.0000 0.6667 0.3333 0.0000" in printed  # of the identity
    assert str(compare(torch.eye(2), 2)) in printed


def test_command_as_a_process(tmp_path):
    picture = tmp_path / "out.png"
    arguments = ["compare", "--factor", "2", "--matrix", "1 2; 3 4", "--plot", str(picture)]
    done = subprocess.run([sys.executable, "-m", "upsample_ext", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in PRINTED)
    assert picture.read_bytes().startswith(b"\x89PNG")


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
        (["compare", "--matrix", "1 two"], "--matrix: could not convert string to float: 'two'"),
        (["compare", "--matrix", ";"], "--matrix: expected rows of one length"),
        (["compare", "--image", "no-such-picture"], "--image: no-such-picture is neither a file nor"),
        (["compare", "--image", "a.png", "--matrix", "1"], "not allowed with argument"),
        (["compare", "--image", __file__], "cannot identify image file"),
        (["compare", "--plot", "no/such/folder/out.png"], "No such file or directory"),
        (["compare", "--plot", "out.nonsense"], "nonsense"),
    ],
)
def test_command_errors_are_one_line_and_status_2(capsys, arguments, message):
    pytest.importorskip("matplotlib")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("upsample-ext: error: ") and error.count("\n") == 1


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


def test_a_photo(capsys, tmp_path):
    pytest.importorskip("skimage")
    picture = tmp_path / "photo.png"
    assert main(["compare", "--image", "astronaut", "--plot", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "x: torch.FloatTensor of size 1x3x512x512, upsampled by 2" in printed
    assert "equals interpolate(align_corners=False) everywhere" in " ".join(printed.split())
    assert 50_000 < picture.stat().st_size < 400_000
