"""Public models, with random weights, as their users run them: each case is a step of unchanged code.

A case needs its package and no network. It is built once, by a function that returns the step; the step
returns tensors by name, so that the sides can be compared. ``wrap`` is applied to the model, for
`torch.compile`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")

Step = Callable[[], dict[str, Tensor]]
Wrap = Callable[[Any], Any]


class Case(NamedTuple):
    """One model and one use of it."""

    name: str
    package: str
    build: Callable[[Wrap], Step]
    compiles: bool = False
    quick: bool = True


def _training(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """A training step: the loss, and the gradient of every parameter. Each starts from the same state."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def step() -> dict[str, Tensor]:
        for name, buffer in model.named_buffers():  # running statistics
            buffer.copy_(buffers[name])
        model.zero_grad()
        torch.manual_seed(1)  # dropout
        value = loss()
        value.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return {"loss": value.detach(), **gradients}

    return step


def _segformer(batch: int, classes: int) -> tuple[nn.Module, Tensor, Tensor]:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes))
    return model, torch.randn(batch, 3, 512, 512), torch.randint(0, classes, (batch, 512, 512))


def segformer_training(batch: int, classes: int) -> Callable[[Wrap], Step]:
    def build(wrap: Wrap) -> Step:
        model, pixels, labels = _segformer(batch, classes)
        called = wrap(model.train())
        return _training(model, lambda: called(pixel_values=pixels, labels=labels).loss)

    return build


def segformer_evaluation(batch: int, classes: int) -> Callable[[Wrap], Step]:
    def build(wrap: Wrap) -> Step:
        from transformers import SegformerImageProcessor

        model, pixels, _ = _segformer(batch, classes)
        called, processor = wrap(model.eval()), SegformerImageProcessor()

        @torch.no_grad()
        def step() -> dict[str, Tensor]:
            sizes = [(512, 512)] * batch
            maps = processor.post_process_semantic_segmentation(called(pixel_values=pixels), sizes)
            return {f"map {i}": labels for i, labels in enumerate(maps)}

        return step

    return build


def upernet(wrap: Wrap) -> Step:
    """Training with an auxiliary head, and post-processing to another size: a resize of a resize."""
    from transformers import (
        ConvNextConfig,
        SegformerImageProcessor,
        UperNetConfig,
        UperNetForSemanticSegmentation,
    )

    torch.manual_seed(0)
    backbone = ConvNextConfig(
        depths=[1, 1, 2, 1],
        hidden_sizes=[32, 64, 128, 256],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=64,
        num_labels=19,
        auxiliary_in_channels=128,
        auxiliary_channels=32,
    )
    model = UperNetForSemanticSegmentation(config)
    pixels, labels = torch.randn(2, 3, 256, 256), torch.randint(0, 19, (2, 256, 256))
    processor, called = SegformerImageProcessor(), wrap(model)
    train = _training(model, lambda: called(pixel_values=pixels, labels=labels).loss)

    def step() -> dict[str, Tensor]:
        model.train()
        result = train()
        model.eval()
        with torch.no_grad():
            maps = processor.post_process_semantic_segmentation(called(pixels), [(300, 400)] * 2)
        return result | {f"map {i}": m for i, m in enumerate(maps)}

    return step


def mask2former_masks(wrap: Wrap) -> Step:
    from transformers import Mask2FormerImageProcessor

    torch.manual_seed(0)
    outputs = SimpleNamespace(
        class_queries_logits=torch.randn(2, 40, 20), masks_queries_logits=torch.randn(2, 40, 96, 96)
    )
    processor = Mask2FormerImageProcessor()
    return lambda: {
        f"map {i}": labels
        for i, labels in enumerate(
            processor.post_process_semantic_segmentation(outputs, target_sizes=[(512, 600)] * 2)
        )
    }


def dpt_masks(wrap: Wrap) -> Step:
    from transformers import DPTImageProcessor

    torch.manual_seed(0)
    outputs, processor = SimpleNamespace(logits=torch.randn(2, 150, 96, 96)), DPTImageProcessor()
    return lambda: {
        f"map {i}": labels
        for i, labels in enumerate(
            processor.post_process_semantic_segmentation(outputs, target_sizes=[(384, 512)] * 2)
        )
    }


def sam_masks(wrap: Wrap) -> Step:
    """From 256x256 to 1024x1024, cropped, and to the size of the photo, where they are compared with 0."""
    from transformers import SamImageProcessor

    torch.manual_seed(0)
    logits = F.interpolate(torch.randn(4, 3, 16, 16), (256, 256), mode="bicubic") * 8
    processor = SamImageProcessor()
    return lambda: {"masks": processor.post_process_masks([logits], [(1200, 1600)], [(768, 1024)])[0]}


def sam2_masks(wrap: Wrap) -> Step:
    from transformers import Sam2ImageProcessor

    torch.manual_seed(0)
    logits, processor = torch.randn(4, 3, 256, 256), Sam2ImageProcessor()
    return lambda: {"masks": processor.post_process_masks([logits], [(1200, 1600)])[0]}


def _deeplab(batch: int) -> tuple[nn.Module, Tensor, Tensor]:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    torch.manual_seed(0)
    model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    return model, torch.randn(batch, 3, 512, 512), torch.randint(0, 21, (batch, 512, 512))


def deeplab_training(batch: int) -> Callable[[Wrap], Step]:
    def build(wrap: Wrap) -> Step:
        model, pixels, labels = _deeplab(batch)
        for module in model.modules():  # the normalisation of the pooled map needs two values per channel
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        called = wrap(model)

        def loss() -> Tensor:
            result = called(pixels)
            main = F.cross_entropy(result["out"], labels, ignore_index=255)
            return main + 0.5 * F.cross_entropy(result["aux"], labels)

        return _training(model, loss)

    return build


def deeplab_evaluation(wrap: Wrap) -> Step:
    model, pixels, _ = _deeplab(1)
    called = wrap(model.eval())

    @torch.no_grad()
    def step() -> dict[str, Tensor]:
        return {"labels": called(pixels)["out"].argmax(1)}

    return step


def smp_fpn(wrap: Wrap) -> Step:
    """`nn.Upsample(align_corners=True)` in the head, and the ways in which its users read the output."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    model = smp.FPN("resnet18", encoder_weights=None, classes=19)
    pixels, labels = torch.randn(2, 3, 256, 256), torch.randint(0, 19, (2, 256, 256))
    criterion, called = nn.CrossEntropyLoss(label_smoothing=0.1), wrap(model)
    train = _training(model, lambda: criterion(called(pixels), labels))

    def step() -> dict[str, Tensor]:
        model.train()
        result = train()
        model.eval()
        with torch.no_grad():
            result["labels"] = called(pixels).argmax(1)
            result["mask"] = called(pixels).sigmoid() > 0.4
            result["score"] = called(pixels).softmax(dim=1).max(dim=1)[0]
        return result

    return step


CASES = [
    Case("SegFormer-b0, 150 classes, training, batch 1", "transformers", segformer_training(1, 150), True),
    Case(
        "SegFormer-b0, 150 classes, training, batch 4",
        "transformers",
        segformer_training(4, 150),
        quick=False,
    ),
    Case("SegFormer-b0, 19 classes, training, batch 1", "transformers", segformer_training(1, 19)),
    Case(
        "SegFormer-b0, 150 classes, evaluation, batch 1", "transformers", segformer_evaluation(1, 150), True
    ),
    Case("SegFormer-b0, 150 classes, evaluation, batch 4", "transformers", segformer_evaluation(4, 150)),
    Case("UPerNet-ConvNeXt, 19 classes, training and evaluation", "transformers", upernet),
    Case("Mask2Former, post-processing", "transformers", mask2former_masks),
    Case("DPT, 150 classes, post-processing", "transformers", dpt_masks),
    Case("SAM, post-processing", "transformers", sam_masks),
    Case("SAM 2, post-processing", "transformers", sam2_masks),
    Case("DeepLabV3-MobileNetV3, 21 classes, training, batch 1", "torchvision", deeplab_training(1)),
    Case(
        "DeepLabV3-MobileNetV3, 21 classes, training, batch 4",
        "torchvision",
        deeplab_training(4),
        quick=False,
    ),
    Case("DeepLabV3-MobileNetV3, 21 classes, evaluation", "torchvision", deeplab_evaluation),
    Case("FPN-ResNet18, 19 classes, training and evaluation", "segmentation_models_pytorch", smp_fpn),
]
