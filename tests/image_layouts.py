"""Images in every memory layout that a caller may bring: one function per layout, shape to strided tensor.

Each takes a contiguous (N, C, H, W) tensor and returns one of the same shape; all but the expanded ones also
hold the same values.
"""

import torch


def _sliced(x):
    n, c, h, w = x.shape
    buffer = x.new_zeros(n + 1, c + 2, h + 3, w + 4)
    view = buffer[1:, 1 : c + 1, 2 : h + 2, 1 : w + 1]
    return view.copy_(x)


def _steps(x):
    n, c, h, w = x.shape
    return x.new_zeros(n, 2 * c, 3 * h, 2 * w)[:, ::2, ::3, ::2].copy_(x)


def _stored_as(*order):
    """Memory holds the dimensions in this order."""
    back = [order.index(i) for i in range(4)]
    return lambda x: x.permute(order).contiguous().permute(back)


def _numpy_array(x):
    """torch.from_numpy(image).permute(2, 0, 1)[None], whose batch stride is no channels-last tensor's."""
    n, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return y[0][None] if n == 1 else y


def _channel_slice_of_channels_last(x):
    n, c, h, w = x.shape
    return x.new_zeros(n, h, w, c + 3).permute(0, 3, 1, 2)[:, 2 : c + 2].copy_(x)


def _expanded(dim):
    def expand(x):
        return x.narrow(dim, 0, min(1, x.shape[dim])).expand(x.shape)

    return expand


def odd_strides_where_size_1(x, odd=(12347, 0, 3, 5)):
    """The stride of a dimension of size 1 may be any number; nothing may read it."""
    strides = [o if n == 1 else s for n, s, o in zip(x.shape, x.stride(), odd, strict=True)]
    return x.as_strided(x.shape, strides)


def _odd_channels_last(x):
    return odd_strides_where_size_1(x.contiguous(memory_format=torch.channels_last), (0, 7, 11, 2))


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "numpy_array": _numpy_array,
    "sliced": _sliced,
    "steps": _steps,
    "transposed": _stored_as(0, 1, 3, 2),
    "batch_innermost": _stored_as(2, 1, 3, 0),
    "rows_outermost": _stored_as(2, 0, 3, 1),
    "channels_last_slice": _channel_slice_of_channels_last,
    "expanded_batch": _expanded(0),
    "expanded_channels": _expanded(1),
    "expanded_rows": _expanded(2),
    "expanded_columns": _expanded(3),
    "expanded_planes": lambda x: x[:, :, :1, :1].expand(x.shape),
    "odd_size_1": odd_strides_where_size_1,
    "odd_size_1_channels_last": _odd_channels_last,
}
