"""The command `python -m upsample_ext`, also installed as `upsample-ext`: `compare` and `info`."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from upsample_ext.compare import compare
from upsample_ext.info import info

# The 2x2 inputs of the question that compare() answers
_QUESTION = ("1 0; 0 1", "1 2; 3 4")


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (that of the process by default).

    Returns:
        The exit status: 0, or 2 after a one-line message on stderr when the arguments, a file or a missing
        optional package stand in the way.

    Example:
        >>> main(["compare", "--factor", "0"])
        2
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command == "info":
            print(info())
        else:
            _compare(arguments)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except (_UsageError, ImportError, OSError, TypeError, ValueError) as error:
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="upsample-ext", description="Bilinear upsampling in PyTorch: comparison and installation."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="compare|info")
    text = "upsample in four ways, and say where and why they differ"
    comparison = commands.add_parser("compare", help=text, description=text.capitalize() + ".")
    comparison.add_argument(
        "--factor", type=int, default=2, metavar="N", help="integer factor of both axes (2)"
    )
    source = comparison.add_mutually_exclusive_group()
    source.add_argument(
        "--matrix",
        metavar="ROWS",
        help='rows parted by ";", such as "1 2; 3 4"; without this and --image: that, and the identity',
    )
    source.add_argument(
        "--image",
        metavar="FILE|NAME",
        help="a picture, or the name of a scikit-image sample such as astronaut",
    )
    comparison.add_argument("--plot", metavar="FILE", help="draw the (last) comparison too, PNG, SVG or PDF")
    text = "versions, what the extension was built for, instruction-set level, threads"
    commands.add_parser("info", help=text, description=text.capitalize() + ".")
    return parser


def _compare(arguments: argparse.Namespace) -> None:
    if arguments.image is not None:
        inputs = [read_image(arguments.image)]
    else:
        matrices = _QUESTION if arguments.matrix is None else (arguments.matrix,)
        inputs = [parse_matrix(text) for text in matrices]
    for index, x in enumerate(inputs):
        comparison = compare(x, arguments.factor)
        if index:
            print("\n" + "-" * 110 + "\n")
        print(comparison)
    if arguments.plot is not None:
        comparison.plot(arguments.plot)
        print(f"\nplot: {arguments.plot}")


def parse_matrix(text: str) -> Tensor:
    """The matrix written as `"1 2; 3 4"`: rows parted by `;` or newlines, numbers by blanks or commas.

    Returns:
        `(rows, columns)` float32.

    Raises:
        ValueError: something is not a number, the rows are not of one length, or there is none.

    Example:
        >>> parse_matrix("1 2; 3 4")
        tensor([[1., 2.],
                [3., 4.]])
    """
    rows = [line.replace(",", " ").split() for line in text.replace("\n", ";").split(";")]
    rows = [row for row in rows if row]
    try:
        numbers = [[float(word) for word in row] for row in rows]
    except ValueError as error:
        raise ValueError(f"--matrix: {error}") from None
    if not numbers or len({len(row) for row in numbers}) != 1:
        raise ValueError(f'--matrix: expected rows of one length, such as "1 2; 3 4", got {text!r}')
    return torch.tensor(numbers, dtype=torch.float32)


def read_image(name: str) -> Tensor:
    """A picture from a file, or, where there is no such file, the scikit-image sample of that name.

    Returns:
        `(1, H, W)` or `(3, H, W)` float32, 8-bit values scaled to 0..1; transparency is dropped.

    Raises:
        ImportError: Pillow is not installed.
        OSError: no such file or sample, or the file is not a picture.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError("--image: Pillow is not installed. Type: pip install upsample-ext[plot]") from error
    with Image.open(_image_path(name)) as picture:
        upright = ImageOps.exif_transpose(picture)
        deep = upright.mode.startswith(("I", "F"))  # more than 8 bits, always grey
        pixels = upright.convert("F" if deep else "L" if upright.mode in ("1", "L", "LA") else "RGB")
    dtype = torch.float32 if deep else torch.uint8
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=dtype).float()
    if not deep:
        values /= 255
    return values.reshape(pixels.height, pixels.width, -1).permute(2, 0, 1).contiguous()


def _image_path(name: str) -> Path:
    path = Path(name)
    if path.exists():
        return path
    # The samples that come with scikit-image are files beside its code; nothing is downloaded
    package = importlib.util.find_spec("skimage")
    samples = []
    if package is not None and package.origin is not None:
        samples = [p for p in Path(package.origin).parent.glob("data/*") if p.suffix in (".png", ".jpg")]
    for sample in samples:
        if sample.stem == name:
            return sample
    known = (
        f"one of scikit-image's {', '.join(sorted(p.stem for p in samples))}"
        if samples
        else "installed sample"
    )
    raise FileNotFoundError(f"--image: {name} is neither a file nor {known}")


if __name__ == "__main__":
    sys.exit(main())
