"""Trains and evaluates a segmentation model with and without the fused ops, on a real photo.

What it shows. A compact SegFormer-like model predicts its logits at a quarter of the photo's resolution. What
PyTorch does by resizing and then reducing, `upsample_concat`, `upsample_cross_entropy` and `upsample_argmax`
do in one pass. Losses and predicted classes are the same to rounding; time and peak memory are printed for
both. The classes `Native` and `Fused` hold all that differs.

What is measured. Both start from the same weights. Each is trained, and then evaluated, in a process of its
own. The time is the median of all steps or evaluations but the first, network included; the memory is the
peak of the resident memory over what the process had before, model and photo loaded. The mask comes from the
photo: its pixels in `--classes` clusters of colour, within a frame of void pixels (255, ignored) such as
padding leaves. One photo is no data set: this is about the ops, not about generalisation.

What it needs. The package, Pillow, scikit-image for its sample photo (or `--image FILE`), matplotlib for
`--plot`: the extras `plot` and `bench` of the package. Linux; about a minute on two cores.

    python examples/segmentation.py
    python examples/segmentation.py --classes 150 --plot segmentation.png
"""

import argparse
import importlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import upsample_ext
from upsample_ext import upsample_argmax, upsample_concat
from upsample_ext.__main__ import read_image

VOID = 255  # the class of pixels that have none
EVALUATIONS = 6


# ---- what differs ------------------------------------------------------------------------------------------


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Native:
    """Resize, then reduce: what one writes in PyTorch."""

    criterion = nn.CrossEntropyLoss(ignore_index=VOID)

    def concat(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        return torch.cat([x if x.shape[-2:] == size else resize(x, size) for x in maps], 1)

    def loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.criterion(resize(logits, mask.shape[-2:]), mask)

    def classes(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(logits, size).argmax(1)


class Fused:
    """Both in one pass: nothing of the full resolution and all classes exists."""

    criterion = upsample_ext.UpsampleCrossEntropyLoss(ignore_index=VOID)

    def concat(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        return upsample_concat(maps, size)

    def loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.criterion(logits, mask)

    def classes(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return upsample_argmax(logits, size, dtype=torch.uint8)


# ---- the model ---------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A depthwise convolution and a pointwise MLP, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.GroupNorm(1, channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class SegFormerLike(nn.Module):
    """Maps at 1/4, 1/8, 1/16 and 1/32 by strided convolutions, and SegFormer's all-MLP head on them.

    Widths are those of SegFormer-B0. GroupNorm stands for BatchNorm, whose averages need more than a few
    steps of one photo.

    Args:
        classes: C.
        ops: `Native()` or `Fused()`.

    Input `(N, 3, H, W)`; output logits `(N, C, H / 4, W / 4)`.
    """

    def __init__(self, classes: int, ops: Native | Fused) -> None:
        super().__init__()
        self.ops = ops
        widths, decoder = (32, 64, 160, 256), 256
        self.stages = nn.ModuleList()
        for i, (before, after) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            down = nn.Conv2d(before, after, kernel, stride, kernel // 2)
            self.stages.append(nn.Sequential(down, nn.GroupNorm(1, after), Block(after), Block(after)))
        self.project = nn.ModuleList(nn.Conv2d(width, decoder, 1) for width in widths)
        self.fuse = nn.Sequential(
            nn.Conv2d(4 * decoder, decoder, 1, bias=False), nn.GroupNorm(8, decoder), nn.ReLU()
        )
        self.classify = nn.Conv2d(decoder, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for stage, project in zip(self.stages, self.project, strict=True):
            x = stage(x)
            maps.append(project(x))
        return self.classify(self.fuse(self.ops.concat(maps, maps[0].shape[-2:])))


# ---- the photo and its masks -------------------------------------------------------------------------------


def load_photo(name: str, size: int) -> Tensor:
    """`(1, 3, size, size)` float32, 0..1."""
    photo = read_image(name).expand(3, -1, -1)[None]
    return F.interpolate(photo, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)


def make_mask(photo: Tensor, classes: int, rounds: int = 10) -> Tensor:
    """`(1, H, W)` int64: clusters of the smoothed photo's colours by k-means, a frame of `VOID`."""
    smooth = F.avg_pool2d(F.pad(photo, (4, 4, 4, 4), mode="reflect"), 9, stride=1)
    colours = smooth[0].flatten(1).T
    chosen = torch.randperm(len(colours), generator=torch.Generator().manual_seed(0))[:classes]
    centres = colours[chosen]
    for _ in range(rounds):
        labels = nearest(colours, centres)
        sums = torch.zeros_like(centres).index_add_(0, labels, colours)
        counts = torch.bincount(labels, minlength=classes)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    mask = nearest(colours, centres).reshape(1, *photo.shape[-2:])
    frame = photo.shape[-1] // 32
    inside = mask[:, frame:-frame, frame:-frame]
    return F.pad(inside, (frame,) * 4, value=VOID)


def nearest(colours: Tensor, centres: Tensor) -> Tensor:
    """The index of the centre nearest to each colour."""
    return (centres.square().sum(1) - 2 * colours @ centres.T).argmin(1)


# ---- measuring ---------------------------------------------------------------------------------------------


def train(ops: Native | Fused, folder: Path, steps: int) -> dict[str, Any]:
    """Trains from the initial weights in `folder` and leaves the final ones there."""
    model, photo, mask = load(ops, folder, "initial.pt")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses, times, start = [], [], memory("VmRSS")
    for _ in range(steps):
        begin = time.perf_counter()
        optimiser.zero_grad()
        loss = ops.loss(model(photo), mask)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        times.append(time.perf_counter() - begin)
    peak = memory("VmHWM") - start
    torch.save(model.state_dict(), folder / f"{type(ops).__name__}.pt")
    return {"losses": losses, "time": median(times), "peak": peak}


@torch.inference_mode()
def evaluate(ops: Native | Fused, folder: Path) -> dict[str, Any]:
    """Predicts with the weights that `train` left in `folder`, and leaves the classes there."""
    model, photo, mask = load(ops, folder, f"{type(ops).__name__}.pt")
    model.eval()
    times, start = [], memory("VmRSS")
    for _ in range(EVALUATIONS):
        begin = time.perf_counter()
        classes = ops.classes(model(photo), photo.shape[-2:])
        times.append(time.perf_counter() - begin)
    peak = memory("VmHWM") - start
    torch.save(classes, folder / f"{type(ops).__name__}_classes.pt")
    counted = mask != VOID
    accuracy = (classes == mask)[counted].float().mean().item()
    return {"accuracy": accuracy, "time": median(times), "peak": peak}


def load(ops: Native | Fused, folder: Path, weights: str) -> tuple[SegFormerLike, Tensor, Tensor]:
    photo, mask, classes = torch.load(folder / "data.pt")
    model = SegFormerLike(classes, ops)
    model.load_state_dict(torch.load(folder / weights))
    return model, photo, mask


def memory(name: str) -> float:
    """Resident memory of this process in MiB: now (`VmRSS`) or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def median(times: list[float]) -> float:
    return statistics.median(times[1:] or times)


def alone(function: Callable, *arguments) -> Any:
    """Calls the function in a fresh process, whose peak of memory is the function's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


# ---- the report --------------------------------------------------------------------------------------------


def report(trained: list[dict], evaluated: list[dict], equal_pixels: float) -> None:
    """Prints what was measured; each list has native first, fused second."""
    print(f"{'loss at step':24}{'native':>12}{'fused':>12}")
    losses = list(zip(*(result["losses"] for result in trained), strict=True))
    for step, (native, fused) in enumerate(losses, 1):
        print(f"{step:<24}{native:12.6f}{fused:12.6f}")
    apart = max(abs(fused / native - 1) for native, fused in losses)
    print(f"largest relative difference of the losses: {apart:.1e}\n")

    rows = {
        "training step, ms": [1e3 * result["time"] for result in trained],
        "training peak, MiB": [result["peak"] for result in trained],
        "evaluation, ms": [1e3 * result["time"] for result in evaluated],
        "evaluation peak, MiB": [result["peak"] for result in evaluated],
    }
    print(f"{'':24}{'native':>12}{'fused':>12}")
    for name, (native, fused) in rows.items():
        print(f"{name:24}{native:12.1f}{fused:12.1f}")
    native, fused = (result["accuracy"] for result in evaluated)
    print(f"{'pixel accuracy':24}{native:12.4%}{fused:12.4%}")
    print(f"pixels predicted alike: {equal_pixels:.4%}\n")
    ratios = (f"{name.split(',')[0]} {native / fused:.2f}x" for name, (native, fused) in rows.items())
    print("native / fused: " + ", ".join(ratios))


def plot(path: str, photo: Tensor, mask: Tensor, predicted: Tensor) -> None:
    """Photo, mask and prediction side by side; a class has the mean colour of its pixels, void is white."""
    from matplotlib.figure import Figure

    pixels = photo[0].permute(1, 2, 0)
    palette = torch.ones(VOID + 1, 3)
    for label in mask.unique():
        if label != VOID:
            palette[label] = pixels[mask[0] == label].mean(0)
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    pictures = {"photo": pixels, "mask": palette[mask[0]], "prediction": palette[predicted[0].long()]}
    for axes, (title, picture) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
        axes.imshow(picture.numpy())
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)
    print(f"plot: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="training steps (20)")
    parser.add_argument("--classes", type=int, default=19, help="clusters of colour, at most 255 (19)")
    parser.add_argument("--size", type=int, default=512, help="height and width of the photo (512)")
    parser.add_argument("--image", default="astronaut", help="a picture or a sample's name (astronaut)")
    parser.add_argument("--plot", metavar="FILE", help="draw photo, mask and prediction")
    options = parser.parse_args()
    if options.steps < 1 or options.size < 32 or not 2 <= options.classes <= VOID:
        parser.error(f"expected --steps >= 1, --size >= 32 and --classes from 2 to {VOID}")

    try:
        if options.plot is not None:
            importlib.import_module("matplotlib.figure")  # fail now rather than after the training
        photo = load_photo(options.image, options.size)
    except (ImportError, OSError) as error:
        parser.error(str(error))
    mask = make_mask(photo, options.classes)
    void = (mask == VOID).float().mean().item()
    print(
        f"{options.image} at {options.size}x{options.size}, {options.classes} classes, {void:.1%} void; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads\n"
    )
    variants = [Native(), Fused()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        torch.save(SegFormerLike(options.classes, Native()).state_dict(), folder / "initial.pt")
        torch.save((photo, mask, options.classes), folder / "data.pt")
        trained = [alone(train, ops, folder, options.steps) for ops in variants]
        evaluated = [alone(evaluate, ops, folder) for ops in variants]
        native, fused = (torch.load(folder / f"{type(ops).__name__}_classes.pt") for ops in variants)
    report(trained, evaluated, (native == fused).float().mean().item())
    if options.plot is not None:
        plot(options.plot, photo, mask, fused)


if __name__ == "__main__":
    main()
