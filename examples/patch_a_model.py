"""Runs a model that knows nothing of this package with it, in both ways: `convert()` and `patch()`.

What it shows. A small U-Net upsamples by a layer (`nn.Upsample`), by a depthwise `nn.ConvTranspose2d`, and by
calls of `F.interpolate` in its `forward`. `convert()` replaces the layers of a copy; `patch()` replaces the
functions that layers and `forward` call, for as long as the block lasts. The results agree with PyTorch's to
rounding. A profile tells which ops ran here, and a table what they gain.

What is measured. The time of a training step, convolutions included: medians of steps that take turns, and of
the ratios of each turn.

What it needs. The package; half a minute on two cores.

    python -m examples.patch_a_model
    python -m examples.patch_a_model --size 256 --steps 20
"""

import argparse
import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import upsample_ext


class UNet(nn.Module):
    """Three levels; input `(N, 3, H, W)`, output `(N, 1, H, W)`, H and W divisible by 4."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = _convolution(3, width, 1)
        self.second = _convolution(width, width, 2)
        self.third = _convolution(width, width, 2)
        self.twice = nn.Upsample(scale_factor=2, mode="bilinear")
        self.learned = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, groups=width)
        self.last = nn.Conv2d(3 * width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(first)
        third = self.third(second)
        middle = self.twice(third) + second
        skip = F.interpolate(third, size=first.shape[-2:], mode="nearest")
        smooth = F.interpolate(second, size=first.shape[-2:], mode="bicubic")
        return self.last(torch.cat([self.learned(middle), skip, smooth], 1))


def _convolution(channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, padding=1), nn.ReLU())


def ops_of(model: nn.Module, x: Tensor, way: Callable[[], AbstractContextManager]) -> list[str]:
    """The ops of this package that a call runs."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler, way(), torch.no_grad():
        model(x)
    return sorted(event.key for event in profiler.key_averages() if event.key.startswith("upsample_ext::"))


def step(model: nn.Module, x: Tensor, way: Callable[[], AbstractContextManager]) -> float:
    """The seconds of a forward and a backward pass."""
    with way():
        begin = time.perf_counter()
        model(x).square().mean().backward()
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12, help="steps of each way (12)")
    parser.add_argument("--size", type=int, default=256, help="height and width of the image (256)")
    options = parser.parse_args()
    if options.steps < 1 or options.size < 4 or options.size % 4:
        parser.error("expected --steps >= 1 and --size divisible by 4")

    torch.manual_seed(0)
    model = UNet()
    x = torch.rand(1, 3, options.size, options.size)
    converted = upsample_ext.convert(model)  # a copy; model itself is unchanged
    ways = {
        "PyTorch": (model, nullcontext),
        "convert()": (converted, nullcontext),
        "patch()": (copy.deepcopy(model), upsample_ext.patch),
    }

    with torch.no_grad():
        expected = model(x)
    for name, (version, way) in ways.items():
        with way(), torch.no_grad():
            apart = (version(x) - expected).abs().max().item()
        ours = ", ".join(op.removeprefix("upsample_ext::") for op in ops_of(version, x, way)) or "none"
        print(f"{name:10} largest difference {apart:.1e}; ops of ours: {ours}")

    turns = [[step(version, x, way) for version, way in ways.values()] for _ in range(options.steps + 1)][1:]
    print(f"\na step of {options.size}x{options.size}, {torch.get_num_threads()} threads")
    for column, name in enumerate(ways):
        milliseconds = 1e3 * median(turn[column] for turn in turns)
        ratio = median(turn[0] / turn[column] for turn in turns)
        print(f"{name:10} {milliseconds:8.1f} ms, {ratio:.2f} times as fast as PyTorch")


if __name__ == "__main__":
    main()
