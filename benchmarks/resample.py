"""Rows of resize: ``interpolate`` into a new tensor, ``upsample_bilinear2d`` into ``out=``, and all modes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from . import gems
from .contest import (
    BACKWARD,
    BOTH,
    CHANNELS_LAST,
    CONTIGUOUS,
    FORWARD,
    FRESH,
    MAPPED,
    OUT,
    Contest,
    Row,
    Side,
    contest,
    random_input,
)

SEGMENTATION = (1, 19, 128, 256)
SEGMENTATION_LARGE = (4, 150, 128, 128)
DECODER = (4, 64, 128, 128)
FPN = (8, 64, 56, 56)
FPN_DETECTION = (1, 256, 50, 76)
FCN = (1, 21, 65, 65)
PHOTO = (1, 3, 1080, 1920)
FEATURES = (1, 32, 240, 320)
TINY = (1, 1, 2, 2)
# For GPUs: a batch of ADE20K logits, one frame of street scenes, a level of a feature pyramid.
TRAINING = (8, 150, 128, 128)
STREET = (1, 19, 256, 512)
PYRAMID = (16, 256, 64, 64)
# One image, as in inference, and batches as in training: a kernel's speed depends on its number of waves.
BATCHES = (1, 8, 16)


def output_size(row: Row) -> tuple[int, ...]:
    """``x1.37`` or ``224x224`` as (height, width), or as the sizes of as many axes as the image has."""
    if row.to.startswith("x"):
        return tuple(int(extent * float(row.to[1:])) for extent in row.shape[2:])
    return tuple(map(int, row.to.split("x")))


def make(row: Row, device: torch.device) -> Contest:
    """The contest of a row whose variant is "" or "align_corners"."""
    align_corners = row.variant == "align_corners"
    size = output_size(row)
    factor = float(row.to[1:]) if row.to.startswith("x") else None
    target = {"size": None, "scale_factor": factor} if factor else {"size": size}
    input = random_input(row, device)

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.interpolate(x, **target, mode="bilinear", align_corners=align_corners)

    def native(x: Tensor) -> Tensor:
        if x.is_cuda and x.dtype == torch.uint8:  # native has no kernel for it: the usual workaround
            return native(x.float()).round().clamp(0, 255).to(torch.uint8)
        return F.interpolate(x, **target, mode="bilinear", align_corners=align_corners)

    opencv = None if align_corners else opencv_resize(row, input, size)
    sides = {"opencv": opencv} if opencv else {}
    if row.direction == FORWARD and (triton := gems.resize(input, size, align_corners, factor)):
        sides["gems"] = triton
    result = contest(row, [input], ours=ours, native=native, sides=sides)
    if row.output == OUT:
        mine = native(input)
        theirs = torch.empty_like(mine)
        result.ours = lambda: upsample_ext.upsample_bilinear2d(
            input, **target, align_corners=align_corners, out=mine
        )
        result.rivals["native"] = lambda: torch._C._nn.upsample_bilinear2d(
            input, size, align_corners, factor, factor, out=theirs
        )
    return result


def make_mode(row: Row, device: torch.device) -> Contest:
    """The contest of a row whose variant is a mode, or a mode and "antialias"."""
    mode, *antialias = row.variant.split()
    size = output_size(row)
    input = random_input(row, device)
    bytes_are_rounded_twice = row.dtype == torch.uint8 and mode not in ("nearest", "nearest-exact")

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.interpolate(x, size, mode=mode, antialias=bool(antialias))

    def native(x: Tensor) -> Tensor:
        result = F.interpolate(x, size, mode=mode, antialias=bool(antialias))
        return result.clamp(0, 255) if bytes_are_rounded_twice else result  # bicubic ones may lie beyond

    others = {"opencv": opencv_resize, "pillow": pillow_resize, "vision": torchvision_resize}
    sides = {name: side for name, of in others.items() if (side := of(row, input, size)) is not None}
    result = contest(row, [input], ours=ours, native=native, sides=sides)
    result.native_levels = bytes_are_rounded_twice
    return result


def torchvision_resize(row: Row, input: Tensor, size: tuple[int, ...]) -> Side | None:
    """``torchvision.transforms.v2.functional.resize`` of a photo."""
    if row.direction != FORWARD or row.shape[1] != 3 or len(row.shape) != 4:
        return None
    try:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2.functional import resize
    except ImportError:
        return None
    mode, *antialias = row.variant.split()
    if mode not in [known.value for known in InterpolationMode]:
        return None
    return lambda: resize(input, list(size), InterpolationMode(mode), antialias=bool(antialias))


def pillow_resize(row: Row, input: Tensor, size: tuple[int, ...]) -> Side | None:
    """``Image.resize`` of a photo in bytes, whose filters are those of antialiasing."""
    mode, *antialias = row.variant.split()
    is_photo = row.dtype == torch.uint8 and row.layout == CHANNELS_LAST and row.shape[:2] == (1, 3)
    if row.direction != FORWARD or not is_photo or not antialias:
        return None
    try:
        import numpy as np
        from PIL import Image
    except ImportError:
        return None
    image = Image.fromarray(input[0].permute(1, 2, 0).numpy())
    height, width = size

    def side() -> Tensor:
        resized = image.resize((width, height), Image.Resampling[mode.upper()])
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None]

    return side


_OPENCV = {"": "INTER_LINEAR", "nearest": "INTER_NEAREST", "bicubic": "INTER_CUBIC", "area": "INTER_AREA"}


def opencv_resize(row: Row, input: Tensor, size: tuple[int, ...]) -> Side | None:
    """``cv2.resize`` where it computes the same: per plane, or per image of up to 4 interleaved channels."""
    if row.variant not in _OPENCV or len(row.shape) != 4 or (row.variant == "area" and row.to != "x0.5"):
        return None
    same_type = input.device.type == "cpu" and input.dtype in (torch.float32, torch.uint8)
    if row.direction != FORWARD or not same_type:
        return None
    if row.to.startswith("x") and any(extent * float(row.to[1:]) % 1 for extent in row.shape[-2:]):
        return None  # OpenCV scales by the ratio of the sizes, not by the factor
    interleaved = row.layout == CHANNELS_LAST and row.shape[1] > 1
    if interleaved and row.shape[1] > 4:
        return None
    try:
        import cv2
    except ImportError:
        return None

    def images(tensor: Tensor) -> list:
        tensor = tensor.permute(0, 2, 3, 1) if interleaved else tensor.flatten(0, 1)
        return list(tensor.numpy())

    def empty() -> Tensor:
        format = torch.channels_last if interleaved else torch.contiguous_format
        return torch.empty((*row.shape[:2], *size), dtype=input.dtype, memory_format=format)

    by = getattr(cv2, _OPENCV[row.variant])
    sources, (height, width) = images(input), size
    reused = (empty(),) if row.output == OUT else None
    targets = images(reused[0]) if reused else None

    def side() -> Tensor:
        cv2.setNumThreads(torch.get_num_threads())
        output = reused[0] if reused else empty()
        for source, target in zip(sources, targets or images(output), strict=True):
            cv2.resize(source, (width, height), dst=target, interpolation=by)
        return output

    return side


def rows() -> Iterator[Row]:
    """All rows of the family."""
    yield from _float32()
    yield from _half()
    yield from _channels_last()
    yield from _factors()
    yield from _uint8()
    yield from _overhead()
    yield from _modes()


def batches(*shapes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Each of the shapes in each of ``BATCHES``."""
    for shape in shapes:
        for images in BATCHES:
            yield (images, *shape[1:])


def gpu_rows() -> Iterator[Row]:
    """Rows that fill a GPU: results of 256 MiB or more, and the same shapes in batches of 1, 8 and 16."""
    for shape, to in ((TRAINING, "x4"), (STREET, "x8"), (PYRAMID, "x2")):
        for dtype in (torch.float32, torch.float16):
            shown = shape == TRAINING
            base = _row(
                shape, to, dtype=dtype, compiled="quick" if shown else "full", quick=True, headline=shown
            )
            yield base
            yield replace(base, direction=BACKWARD)
    for dtype in (torch.float32, torch.float16):
        base = _row(PYRAMID, "x2", layout=CHANNELS_LAST, dtype=dtype, compiled="full", headline=True)
        yield replace(base, quick=True)
        yield replace(base, direction=BACKWARD, quick=True)
    yield _row(PYRAMID, "x1.37", compiled="full", quick=True, headline=True)
    yield _row(PYRAMID, "x1.37", direction=BACKWARD, compiled="full", quick=True)
    yield _row(TRAINING, "x4", dtype=torch.bfloat16, compiled="full")
    yield _row(TRAINING, "x4", output=OUT)
    for to, whole in (("x4", TRAINING), ("x8", SEGMENTATION), ("x2", PYRAMID)):
        for shape in batches(whole):
            for dtype in (torch.float32, torch.float16):
                base = _row(shape, to, dtype=dtype, compiled="full", quick=dtype == torch.float32)
                yield base
                yield replace(base, direction=BACKWARD)


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    op = "upsample_bilinear2d" if fields.get("output") == OUT else "interpolate"
    return Row(**{"op": op, "shape": shape, "to": to, "make": make, **fields})  # type: ignore[arg-type]


MAPS, TOKENS, VOLUME, LINES = (2, 320, 64, 64), (1, 768, 37, 37), (1, 32, 32, 64, 64), (8, 256, 4096)
MAP = (1, 64, 128, 128)
_OF_PHOTOS = (
    *(("x2", "nearest"), ("x2", "bicubic"), ("x2", "bilinear antialias")),
    *(("224x224", "bilinear antialias"), ("540x960", "bicubic antialias")),
)


def _modes() -> Iterator[Row]:
    shapes = [(MAPS, "x2", "nearest"), (MAP, "x2", "bicubic"), (MAP, "x0.5", "area")]
    for shape, to, mode in [*shapes, (PHOTO, "224x224", "bilinear antialias"), (TOKENS, "64x64", "bicubic")]:
        for layout in (CONTIGUOUS, CHANNELS_LAST):
            for dtype in (torch.float32, torch.bfloat16):
                if dtype == torch.bfloat16 and "antialias" in mode:
                    continue  # not there natively
                same = {"variant": mode, "layout": layout, "dtype": dtype}
                quick = dtype == torch.float32 and layout == CONTIGUOUS and shape != TOKENS
                base = _row(shape, to, make=make_mode, quick=quick, compiled="full", **same)
                yield base
                yield replace(base, direction=BACKWARD, quick=False)
    others = [(VOLUME, "x2", "trilinear"), (VOLUME, "x2", "nearest"), (LINES, "x2", "linear")]
    for shape, to, mode in [*others, (PHOTO, "540x960", "bicubic antialias"), (PHOTO, "x2", "bicubic")]:
        base = _row(shape, to, make=make_mode, variant=mode, compiled="full")
        yield base
        yield replace(base, direction=BACKWARD)
    for layout in (CONTIGUOUS, CHANNELS_LAST):
        for to, mode in _OF_PHOTOS:
            yield _row(PHOTO, to, make=make_mode, variant=mode, layout=layout, dtype=torch.uint8)
    for mode in ("nearest", "bicubic", "area", "bilinear antialias"):
        yield _row(TINY, "x2", make=make_mode, variant=mode)


def _float32() -> Iterator[Row]:
    shapes = [(SEGMENTATION, "x8"), (FPN, "x2"), (FPN_DETECTION, "x2"), (FCN, "x8"), (PHOTO, "x2")]
    for shape, to in [*shapes, (DECODER, "x4"), (SEGMENTATION_LARGE, "x4")]:
        base = _row(shape, to)
        small = shape in (SEGMENTATION, FPN, FPN_DETECTION)
        compiled = "quick" if shape == SEGMENTATION else "full"
        shown = shape in (SEGMENTATION, FPN, PHOTO)
        yield replace(base, output=FRESH, quick=shape in (SEGMENTATION, FPN, PHOTO), headline=shown)
        yield _row(shape, to, output=OUT, quick=small or shape == PHOTO, headline=shown)
        yield replace(base, output=MAPPED, quick=shape == SEGMENTATION, compiled=compiled)
        yield replace(
            base, direction=BACKWARD, quick=small or shape == PHOTO, compiled="full", headline=shown
        )
        yield replace(base, direction=BOTH, quick=shape == FPN, compiled="quick" if shape == FPN else "full")
    yield _row(SEGMENTATION, "x8", variant="align_corners", output=OUT)
    yield _row(SEGMENTATION, "x8", variant="align_corners", direction=BACKWARD)


def _half() -> Iterator[Row]:
    for dtype in (torch.bfloat16, torch.float16):
        for shape, to in ((SEGMENTATION, "x8"), (FPN, "x2"), (FPN_DETECTION, "x2")):
            shown = dtype == torch.bfloat16 and shape == SEGMENTATION
            yield _row(shape, to, dtype=dtype, quick=shape == FPN or shown, headline=shown)
            quick = dtype == torch.bfloat16 and shape == FPN
            yield _row(shape, to, dtype=dtype, direction=BACKWARD, quick=quick, headline=shown)


def _channels_last() -> Iterator[Row]:
    for shape, to in ((SEGMENTATION, "x8"), (FPN, "x2"), (FPN_DETECTION, "x2"), (PHOTO, "x2")):
        quick = shape in (FPN, FPN_DETECTION)
        yield _row(
            shape, to, layout=CHANNELS_LAST, quick=quick or shape == PHOTO, headline=shape == FPN_DETECTION
        )
        yield _row(shape, to, layout=CHANNELS_LAST, direction=BACKWARD, quick=quick)
    yield _row(FPN_DETECTION, "x2", layout=CHANNELS_LAST, dtype=torch.bfloat16)
    yield _row(FPN_DETECTION, "x2", layout=CHANNELS_LAST, dtype=torch.bfloat16, direction=BACKWARD)


def _factors() -> Iterator[Row]:
    for to in ("x1.37", "x0.6", "x3", "x2.5", "224x224"):
        yield _row(FEATURES, to, quick=to in ("x1.37", "x0.6"), headline=to == "x1.37")
        yield _row(FEATURES, to, direction=BACKWARD, quick=to == "x1.37")


def _uint8() -> Iterator[Row]:
    for to in ("x2", "540x960", "224x224"):
        for layout in ("contiguous", CHANNELS_LAST):
            shown = layout == CHANNELS_LAST and to != "540x960"
            yield _row(PHOTO, to, dtype=torch.uint8, layout=layout, quick=True, headline=shown)


def _overhead() -> Iterator[Row]:
    """The cost of a call that has almost nothing to compute."""
    yield _row(TINY, "x2", quick=True, headline=True)
    yield _row(TINY, "x2", direction=BOTH, quick=True)
