"""Enlarges and shrinks label maps, and compares three ways of getting a large one from small logits.

What it shows. Labels must not be averaged: bilinear interpolation of a label map makes values that are no
labels, or the wrong ones. The nearest modes keep them, here in any integer type, without `.float()` and back.
But where there are logits, one should enlarge those: `upsample_argmax` gives smooth borders, without a tensor
of all classes at full resolution.

The image is made here: regions around random points, whose true labels at full resolution are known. Logits
at an eighth of it are minus the squared distances to the points; from these each way makes a label map.

What it needs. The package; a second.

    python -m examples.label_maps
    python -m examples.label_maps --classes 40 --factor 16
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from upsample_ext import interpolate, upsample_argmax


def distances(points: Tensor, size: int, of: int) -> Tensor:
    """Minus the squared distances of `size` x `size` pixels to the points, in an image of `of` x `of`."""
    centres = (torch.arange(size) + 0.5) * (of / size)
    rows = (centres - points[:, :1]).square()
    columns = (centres - points[:, 1:]).square()
    return -(rows[:, :, None] + columns[:, None, :])[None]


def agreement(labels: Tensor, truth: Tensor) -> float:
    return (labels == truth).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=19, help="regions (19)")
    parser.add_argument("--factor", type=int, default=8, help="between the logits and the image (8)")
    parser.add_argument("--size", type=int, default=512, help="height and width of the image (512)")
    options = parser.parse_args()
    classes, factor, size = options.classes, options.factor, options.size
    if not 2 <= classes <= 255 or factor < 1 or size < factor or size % factor:
        parser.error("expected --classes from 2 to 255, and --size divisible by --factor")

    points = torch.rand(classes, 2, generator=torch.Generator().manual_seed(0)) * size
    truth = distances(points, size, size).argmax(1).to(torch.uint8)
    logits = distances(points, size // factor, size)
    small = logits.argmax(1).to(torch.uint8)[:, None]

    print(f"{classes} classes, labels of {size // factor}x{size // factor} to {size}x{size}")
    nearest = interpolate(small, size=size, mode="nearest-exact")[:, 0]
    bilinear = F.interpolate(small.float(), size=size, mode="bilinear")[:, 0]
    from_logits = upsample_argmax(logits, size, dtype=torch.uint8)
    print(f"nearest of the labels, uint8:      {agreement(nearest, truth):8.3%} right")
    print(
        f"bilinear of the labels, rounded:   {agreement(bilinear.round().to(torch.uint8), truth):8.3%} right"
    )
    print(f"  pixels that are no whole number: {bilinear.frac().ne(0).double().mean().item():8.3%}")
    print(f"upsample_argmax of the logits:     {agreement(from_logits, truth):8.3%} right")

    print(f"\nthe labels of {size}x{size} back to {size // factor}x{size // factor}")
    for mode in ("nearest-exact", "nearest"):
        back = interpolate(truth[:, None], size=size // factor, mode=mode)
        print(f"{mode + ':':14} {agreement(back, small):8.3%} as there")


if __name__ == "__main__":
    main()
