"""Records which ops a function calls, to distinguish our kernels from a silent fallback to PyTorch's."""

import torch
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


class RecordedCalls(TorchDispatchMode):
    """`with RecordedCalls() as calls`: (op, args, kwargs) of every call of an op of ours."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __enter__(self):
        super().__enter__()
        return self.calls

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "upsample_ext":
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def registered_ops():
    """The names of all ops of the dispatcher, overloads included, but those that are made of others."""
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("upsample_ext::")]
    composite = "CompositeImplicitAutograd"
    return sorted(n for n in names if not torch._C._dispatch_has_kernel_for_dispatch_key(n, composite))


OUR_UPSAMPLE = "upsample_ext::upsample_bilinear2d"
OUR_BACKWARD = "upsample_ext::upsample_bilinear2d_backward"
