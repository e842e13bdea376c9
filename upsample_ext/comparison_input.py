"""The input of the command: a typed matrix or a picture. Sizes are checked before memory is allocated."""

import importlib.util
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from upsample_ext._memory import available_bytes
from upsample_ext.compare import bytes_needed, check_work
from upsample_ext.comparison_ways import Scale

_SAME = Scale(1)


def parse_matrix(text: str) -> Tensor:
    """The matrix written as `"1 2; 3 4"`: rows separated by `;` or newlines, numbers by spaces or commas.

    Returns:
        `(rows, columns)` float32.

    Raises:
        ValueError: something is not a number, the rows differ in length, or there are none.

    Example:
        >>> parse_matrix("1 2; 3 4")
        tensor([[1., 2.],
                [3., 4.]])
    """
    rows = [line.replace(",", " ").split() for line in text.replace("\n", ";").split(";")]
    numbers = [[_number(word) for word in row] for row in rows if row]
    wanted = '--matrix: expected rows of one length, such as "1 2; 3 4"'
    if not numbers:
        raise ValueError(f"{wanted}, got none")
    for index, row in enumerate(numbers):
        if len(row) != len(numbers[0]):
            raise ValueError(f"{wanted}; row {index + 1} has length {len(row)}, the first {len(numbers[0])}")
    return torch.tensor(numbers, dtype=torch.float32)


def _number(word: str) -> float:
    """What float32 can hold, infinities and NaN included."""
    try:
        number = float(word)
    except ValueError as error:
        raise ValueError(f"--matrix: {error}") from None
    largest = torch.finfo(torch.float32).max
    if abs(number) > largest and "inf" not in word.lower():
        raise ValueError(f"--matrix: {word} is out of range, float32 ends at {largest:.4g}")
    return number


def read_image(name: str, scale: Scale = _SAME, ways: int = 4) -> Tensor:
    """A picture from a file, or, where there is no such file, the scikit-image sample of that name.

    Of several pictures in a file, such as an animation, it is the first.

    Args:
        scale: by which it will be resized; a picture that is too large for that is not read.
        ways: how many will be compared.

    Returns:
        `(1, H, W)` or `(3, H, W)` float32, 8-bit values scaled to 0..1; transparency is dropped.

    Raises:
        ImportError: Pillow is not installed.
        OSError: no such file or sample, or the file is not a picture, or a damaged one.
        ValueError: the picture has no pixels, or more than can be compared.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError("--image: Pillow is not installed. Type: pip install upsample-ext[plot]") from error
    path = _image_path(name)
    _check_memory(f"--image: {name}, were it read at once,", path.stat().st_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged metadata, and about sizes, which are checked here
        with _damage_told(name):
            picture = Image.open(path)
        with picture:
            _check_picture(picture.size, picture.mode, scale, ways)
            with _damage_told(name):
                upright = ImageOps.exif_transpose(picture)
                deep = _is_deep(upright.mode)
                pixels = upright.convert("F" if deep else "L" if _is_grey(upright.mode) else "RGB")
    dtype = torch.float32 if deep else torch.uint8
    values = torch.frombuffer(bytearray(pixels.tobytes()), dtype=dtype)
    planes = values.reshape(pixels.height, pixels.width, -1).permute(2, 0, 1).contiguous()
    return planes if deep else planes.float().div_(255)


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Makes an OSError that names the file of whatever a decoder raises."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OSError(f"--image: {name}: {reason}") from None


def _is_deep(mode: str) -> bool:
    """More than 8 bits, always grey."""
    return mode.startswith(("I", "F"))


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA") or _is_deep(mode)


def _check_picture(size: tuple[int, int], mode: str, scale: Scale, ways: int) -> None:
    """ValueError if a picture of this size and mode is empty or too large."""
    width, height = size
    if min(size) < 1:
        raise ValueError(f"--image: the picture is empty, {width} x {height} pixels")
    shape = (1 if _is_grey(mode) else 3, height, width)
    check_size(shape, scale, ways)
    # As decoded, in the requested mode, and as bytes that are then converted to a float32 tensor
    _check_memory(f"--image: to read {width} x {height} pixels", 9 * math.prod(shape))


def _image_path(name: str) -> Path:
    if not name:
        raise ValueError("--image: expected the name of a file or a sample, got an empty one")
    path = Path(name)
    if path.is_file():
        return path
    if path.exists():  # reading a pipe would block, a device never ends
        kind = "a directory" if path.is_dir() else "a pipe or a device"
        raise OSError(f"--image: {name} is {kind}, expected a regular file")
    # The samples that come with scikit-image are files in its package; nothing is downloaded
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


def check_size(shape: Sequence[int], scale: Scale, ways: int) -> None:
    """ValueError if `(C, H, W)` resized in so many ways is too much work, or for the available memory."""
    check_work(shape, scale.factor, scale.shrinks)
    what = f"{'x'.join(map(str, shape))} {'shrunk' if scale.shrinks else 'upsampled'} by {scale.factor}"
    _check_memory(what, bytes_needed(shape, 1 if scale.shrinks else scale.factor, ways))


def _check_memory(what: str, needed: int) -> None:
    available = available_bytes()
    if available is not None and needed > available:
        raise ValueError(
            f"{what} takes about {needed / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} GiB are free"
        )
