"""Draws the pictures of the guides, by the comparison tool: `python docs/pictures.py`.

They are what `python -m upsample_ext compare` draws of the same arguments, with 256 colours, to be small.
"""

import pathlib

import torch
from PIL import Image

from upsample_ext import compare
from upsample_ext.comparison_input import read_image

HERE = pathlib.Path(__file__).resolve().parent


def draw(name: str, input: torch.Tensor, factor: int, ways: str | list[str] | None, shrink: bool) -> None:
    path = HERE / name
    compare(input, factor, ways, shrink=shrink).plot(path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)
    print(f"{name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    photo, matrix = read_image("astronaut"), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    draw("compare_modes.png", matrix, 2, "modes", False)
    draw(
        "compare_enlarging.png",
        photo,
        4,
        ["nearest", "bilinear", "align_corners=True", "bicubic", "zeros"],
        False,
    )
    draw("compare_shrinking.png", photo, 4, "modes", True)


if __name__ == "__main__":
    main()
