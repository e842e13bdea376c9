"""Trains and evaluates a segmentation model with and without the fused ops, on a real photo.

What it shows. A compact SegFormer-like model predicts its logits at a quarter of the photo's resolution. What
PyTorch does by resizing and then reducing, `upsample_concat`, `upsample_cross_entropy` and `upsample_argmax`
do in one pass. Losses and predicted classes are the same to rounding; time and peak memory are printed for
both. The classes `Native` and `Fused` hold all that differs.

What is measured. Both start from the same weights. Each has a process of its own for training and another for
evaluation, and the two take turns, so that a busy machine slows both alike. Times are medians without the
first turn, network included, and their ratios medians of the ratios turn by turn. Memory is the peak of the
resident memory over what the process had before, model and photo loaded. The mask comes from the photo: its
pixels in `--classes` clusters of colour, within a frame of void pixels (255, ignored) such as padding leaves.
One photo is no data set: this is about the ops, not about generalisation.

What it needs. The package, Pillow, scikit-image for its sample photo (or `--image FILE`), matplotlib for
`--plot`: the extras `plot` and `bench` of the package. Linux; about a minute on two cores.

    python -m examples.segmentation
    python -m examples.segmentation --classes 150 --plot segmentation.png
"""

import argparse
import importlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import upsample_ext
from upsample_ext import upsample_argmax, upsample_concat
from upsample_ext.__main__ import read_image

VOID = 255  # the class of pixels that have none
EVALUATIONS = 8


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


class Turn(NamedTuple):
    """One training step or evaluation: seconds, peak of memory so far in MiB, loss of a training step."""

    seconds: float
    peak: float
    loss: float | None = None


def train(ops: Native | Fused, folder: Path, steps: int) -> Iterator[Turn]:
    """Trains from the initial weights in `folder` and leaves the final ones there."""
    model, photo, mask = load(ops, folder, "initial.pt")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    start = memory("VmRSS")
    for _ in range(steps):
        begin = time.perf_counter()
        optimiser.zero_grad()
        loss = ops.loss(model(photo), mask)
        loss.backward()
        optimiser.step()
        yield Turn(time.perf_counter() - begin, memory("VmHWM") - start, loss.item())
    torch.save(model.state_dict(), folder / f"{type(ops).__name__}.pt")


@torch.inference_mode()
def evaluate(ops: Native | Fused, folder: Path, times: int) -> Iterator[Turn]:
    """Predicts with the weights that `train` left in `folder`, and leaves the classes there."""
    model, photo, _ = load(ops, folder, f"{type(ops).__name__}.pt")
    model.eval()
    start = memory("VmRSS")
    for _ in range(times):
        begin = time.perf_counter()
        classes = ops.classes(model(photo), photo.shape[-2:])
        yield Turn(time.perf_counter() - begin, memory("VmHWM") - start)
    torch.save(classes, folder / f"{type(ops).__name__}_classes.pt")


def load(ops: Native | Fused, folder: Path, weights: str) -> tuple[SegFormerLike, Tensor, Tensor]:
    photo, mask, classes = torch.load(folder / "data.pt")
    model = SegFormerLike(classes, ops)
    model.load_state_dict(torch.load(folder / weights))
    return model, photo, mask


def memory(name: str) -> float:
    """Resident memory of this process in MiB: now (`VmRSS`) or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def take_turns(task: Callable[..., Iterator[Turn]], folder: Path, turns: int) -> list[tuple[Turn, Turn]]:
    """Runs the task natively and fused, each in a fresh process, one turn of each at a time."""
    with ExitStack() as stack:
        workers = []
        for ops in (Native(), Fused()):
            executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
            workers.append(stack.enter_context(executor))
            workers[-1].submit(begin, task, ops, folder, turns).result()
        both = [tuple(worker.submit(advance).result() for worker in workers) for _ in range(turns + 1)]
    return both[:-1]  # after its last turn a task only saves what it made


def begin(task: Callable[..., Iterator[Turn]], *arguments) -> None:
    global running
    running = task(*arguments)


def advance() -> Turn | None:
    return next(running, None)


# ---- the report --------------------------------------------------------------------------------------------


def report_losses(trained: list[tuple[Turn, Turn]]) -> None:
    print(f"{'loss at step':24}{'native':>12}{'fused':>12}")
    for step, (native, fused) in enumerate(trained, 1):
        print(f"{step:<24}{native.loss:12.6f}{fused.loss:12.6f}")
    apart = max(abs(fused.loss / native.loss - 1) for native, fused in trained)
    print(f"largest relative difference of the losses: {apart:.1e}\n")


def report_costs(trained: list[tuple[Turn, Turn]], evaluated: list[tuple[Turn, Turn]]) -> str:
    """Prints times and memory, and returns the line of their ratios."""
    ratios = []
    print(f"{'':24}{'native':>12}{'fused':>12}")
    for name, unit, turns in (("training", "step", trained), ("evaluation", "time", evaluated)):
        turns_after_first = turns[1:] or turns
        native, fused = (
            1e3 * median(turn.seconds for turn in side) for side in zip(*turns_after_first, strict=True)
        )
        print(f"{name + ' ' + unit + ', ms':24}{native:12.1f}{fused:12.1f}")
        ratio = median(native.seconds / fused.seconds for native, fused in turns_after_first)
        ratios.append(f"{name} {unit} {ratio:.2f}x")
        native, fused = (turn.peak for turn in turns[-1])
        print(f"{name + ' peak, MiB':24}{native:12.1f}{fused:12.1f}")
        ratios.append(f"{name} peak {native / fused:.2f}x")
    return "native / fused: " + ", ".join(ratios)


def report_classes(native: Tensor, fused: Tensor, mask: Tensor) -> None:
    accuracy = [(classes == mask)[mask != VOID].float().mean().item() for classes in (native, fused)]
    print(f"{'pixel accuracy':24}{accuracy[0]:12.4%}{accuracy[1]:12.4%}")
    print(f"pixels predicted alike: {(native == fused).float().mean().item():.4%}\n")


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        torch.save(SegFormerLike(options.classes, Native()).state_dict(), folder / "initial.pt")
        torch.save((photo, mask, options.classes), folder / "data.pt")
        trained = take_turns(train, folder, options.steps)
        evaluated = take_turns(evaluate, folder, EVALUATIONS)
        native, fused = (torch.load(folder / f"{name}_classes.pt") for name in ("Native", "Fused"))
    report_losses(trained)
    ratios = report_costs(trained, evaluated)
    report_classes(native, fused, mask)
    print(ratios)
    if options.plot is not None:
        plot(options.plot, photo, mask, fused)


if __name__ == "__main__":
    main()
