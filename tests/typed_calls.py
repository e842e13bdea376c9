"""Calls that a typed program makes, for tests/test_types.py, which has mypy read them; nobody runs them.

A line that ends in `# refused: CODE` is a mistake, which mypy must report by this code. All others are right.
"""

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import upsample_ext

x = torch.rand(1, 3, 4, 5)
classes = torch.zeros(1, 8, 10, dtype=torch.int64)

# ---- functions ---------------------------------------------------------------------------------------------

assert_type(upsample_ext.interpolate(x, 8, mode="bilinear"), Tensor)
assert_type(upsample_ext.interpolate(x, (8, 10), mode="bilinear", align_corners=True), Tensor)
assert_type(upsample_ext.interpolate(x, [8, 10], None, "bilinear", None, None, False), Tensor)
assert_type(upsample_ext.interpolate(x, x.shape[-2:], mode="bilinear"), Tensor)
assert_type(upsample_ext.interpolate(x, scale_factor=1.5, mode="bilinear"), Tensor)
assert_type(upsample_ext.interpolate(x, scale_factor=(2, 1.5), recompute_scale_factor=True), Tensor)
assert_type(upsample_ext.upsample_bilinear2d(x, (8, 10)), Tensor)
assert_type(upsample_ext.upsample_bilinear2d(x, scale_factor=2, out=torch.empty(1, 3, 8, 10)), Tensor)

weights = upsample_ext.make_bilinear_weights(4, 3, dtype=torch.float16, device=x.device)
assert_type(weights, Tensor)
assert_type(upsample_ext.bilinear_kernel(4, convention="caffe", device="cpu"), Tensor)
assert_type(upsample_ext.caffe_upsample_params(2), tuple[int, int, int])
assert_type(upsample_ext.conv_transpose2d(x, weights, None, (2, 2), padding=1, groups=3), Tensor)
assert_type(upsample_ext.fixed_conv_transpose2d(x, weights[0, 0], stride=2), Tensor)
pair = weights[0, 0, 0], weights[0, 0, 0]
assert_type(upsample_ext.fixed_conv_transpose2d(x, pair, [2, 2], padding_mode="replicate"), Tensor)
assert_type(upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode="replicate"), Tensor)

assert_type(upsample_ext.upsample_argmax(x, (8, 10)), Tensor)
assert_type(upsample_ext.upsample_argmax(x, 8, dtype=torch.uint8, return_score=False), Tensor)
assert_type(upsample_ext.upsample_argmax(x, 8, return_score=True), tuple[Tensor, Tensor])
with_score: bool = classes.numel() > 9
assert_type(upsample_ext.upsample_argmax(x, 8, return_score=with_score), Tensor | tuple[Tensor, Tensor])
assert_type(upsample_ext.upsample_threshold(x, scale_factor=2, threshold=0.5), Tensor)
assert_type(upsample_ext.upsample_cross_entropy(x, classes, reduction="sum", ignore_index=255), Tensor)
assert_type(upsample_ext.upsample_add(x, x, align_corners=True, mode="bicubic"), Tensor)
assert_type(upsample_ext.linear_conv_transpose1d(x[0], 2), Tensor)
assert_type(upsample_ext.upsample_concat([x, x], (8, 10)), Tensor)
assert_type(upsample_ext.upsample_concat((x, x)), Tensor)

upsample_ext.interpolate(x, size="7")  # refused: arg-type
upsample_ext.interpolate(x, (8.5, 10), mode="bilinear")  # refused: arg-type
upsample_ext.interpolate(x, scale_factor="2")  # refused: arg-type
upsample_ext.interpolate(x.numpy(), 8)  # refused: arg-type
upsample_ext.interpolate(x, 8, antialiased=True)  # refused: call-arg
upsample_ext.upsample_bilinear2d(x, 8, out=[x])  # refused: arg-type
upsample_ext.bilinear_kernel(4, convention="keras")  # refused: arg-type
upsample_ext.bilinear_conv_transpose2d(x, 2.5)  # refused: arg-type
upsample_ext.fixed_conv_transpose2d(x, weights, padding_mode="reflect")  # refused: arg-type
upsample_ext.upsample_concat(3)  # refused: arg-type
upsample_ext.upsample_argmax(x, 8, return_score=True).detach()  # refused: attr-defined

# ---- modules -----------------------------------------------------------------------------------------------


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resize = upsample_ext.Upsample(size=(8, 10), mode="bilinear", align_corners=False)
        self.corners = upsample_ext.UpsamplingBilinear2d(scale_factor=2)
        self.learned = upsample_ext.DepthwiseConvTranspose2d(3, 3, (4, 4), stride=2, padding=1, groups=3)
        self.caffe = upsample_ext.BilinearConvTranspose2d(
            3, factor=2, learnable=True, padding_mode="replicate", device="cpu", dtype=torch.float32
        )
        self.lines = upsample_ext.LinearConvTranspose1d(3, factor=2, padding_mode="replicate")
        self.loss = upsample_ext.UpsampleCrossEntropyLoss(ignore_index=255, align_corners=True)

    def forward(self, input: Tensor) -> Tensor:
        assert_type(self.resize.forward(input), Tensor)
        assert_type(self.corners.forward(input), Tensor)
        assert_type(self.learned.forward(input, output_size=[8, 10]), Tensor)
        assert_type(self.loss.forward(input, classes), Tensor)
        assert_type(self.lines.forward(input[0], output_size=[9]), Tensor)
        return self.caffe.forward(input)


layers: list[nn.Module] = [*Head().children()]
assert_type(upsample_ext.convert(Head()), Head)
assert_type(upsample_ext.convert(nn.Sequential(*layers), inplace=True, fixed_diagonal=True), nn.Sequential)
assert_type(upsample_ext.revert(Head()), Head)
assert_type(upsample_ext.conversions(Head()).converted, dict[str, str])

upsample_ext.BilinearConvTranspose2d(3, 2, padding_mode="reflect")  # refused: arg-type
upsample_ext.LinearConvTranspose1d(3, 2, padding_mode="reflect")  # refused: arg-type
upsample_ext.DepthwiseConvTranspose2d(3, 3, 4, strides=2)  # refused: call-arg
upsample_ext.convert([nn.Upsample()])  # refused: type-var

# ---- the rest ----------------------------------------------------------------------------------------------

with upsample_ext.patch():
    pass
with upsample_ext.patch("dispatcher") as patched:
    assert_type(patched, upsample_ext.patch)
patched.undo()
upsample_ext.patch("operator")  # refused: arg-type

comparison = upsample_ext.compare([[1, 2], [3, 4]], 2)
assert_type(comparison, upsample_ext.Comparison)
assert_type(comparison.ways["zeros"].output, Tensor)
assert_type(comparison.difference("zeros").largest, float)
assert_type(upsample_ext.info(), upsample_ext.Info)
assert_type(upsample_ext.info().built_for_cuda, str | None)
assert_type(upsample_ext.__version__, str)
