"""Records which ops a function calls, to distinguish our kernels from a silent fallback to PyTorch's."""

from torch.utils._python_dispatch import TorchDispatchMode


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name + (f".{name}" if (name := func._schema.overload_name) else ""))
        return func(*args, **(kwargs or {}))


def dispatched_ops(function, *args, **kwargs):
    """The result of a call and the names of the ops that reached the dispatcher's Python key during it."""
    with _Recorder() as recorder:
        result = function(*args, **kwargs)
    return result, recorder.names


OUR_UPSAMPLE = "upsample_ext::upsample_bilinear2d"
OUR_BACKWARD = "upsample_ext::upsample_bilinear2d_backward"
