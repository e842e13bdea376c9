"""Code that a lazy resize could break: each snippet gives under `fuse()` what it gives without.

Every function below is such a snippet, run natively and under `fuse()`; the words of its name say what it
does with the resized image, or with what the image is made from. Where PyTorch's result is not the same, the
difference is documented in docs/fusing.md, and asserted at the end of this file.
"""

import collections
import contextlib
import copy
import gc
import io
import pickle
import threading
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_versions import since_torch

import upsample_ext
from upsample_ext import _lazy_interpolate
from upsample_ext._lazy_resize import LazyResize

pytestmark = since_torch((2, 11), "fuse() does what patch() does")

TRAPS = {}


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch):
    monkeypatch.setattr(_lazy_interpolate, "_FEWEST_ELEMENTS", 0)


def trap(f):
    TRAPS[f.__name__] = f
    return f


def data(grad=False, n=2, c=5):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, c, 8, 8, generator=g, requires_grad=grad)
    return x, torch.randint(0, c, (n, 32, 32), generator=g)


def up(x):
    return F.interpolate(x, size=(32, 32), mode="bilinear")


def head():
    torch.manual_seed(0)
    return torch.nn.Conv2d(5, 5, 1)


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = head()

    def forward(self, x):
        return up(self.conv(x))


class SquareLoss(torch.autograd.Function):
    """Reads its argument from C++, past `__torch_function__`."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return (y * y).sum()

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class SquareLossInTwoSteps(SquareLoss):
    """The same, whose forward is given no context."""

    @staticmethod
    def forward(y):
        return (y * y).sum()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


# ---- the input changes before the image is computed --------------------------------------------------------


@trap
def input_inplace():
    x, _ = data()
    y = up(x)
    x.neg_()
    return y.argmax(1), x


@trap
def input_data():
    x, _ = data(True)
    y = up(x)
    x.data.neg_()
    return y.argmax(1), x


@trap
def input_inference_mode():
    with torch.inference_mode():
        x, _ = data()
        y = up(x)
        x.neg_()
        return y.argmax(1).clone(), x.clone()


@trap
def input_optimizer_step():
    m = head()
    x, t = data()
    opt = torch.optim.SGD(m.parameters(), 1.0)
    y = up(m.weight.view(1, 5, 5, 1).expand(1, 5, 5, 5))
    m(x).sum().backward()
    opt.step()
    return y.argmax(1), m.weight


@trap
def input_from_numpy():
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 4, 4), dtype=np.float32))
    y = up(x)
    x.neg_()
    return y.argmax(1)


@trap
def input_saved_and_inplace():  # native: RuntimeError in backward? upsample saves nothing, so it is allowed
    x, t = data(True)
    h = x * 1
    y = up(h)
    h.neg_()
    F.cross_entropy(y, t).backward()
    return (x.grad,)


# ---- the lazy tensor changes -------------------------------------------------------------------------------


@trap
def lazy_inplace():
    x, _ = data()
    y = up(x)
    z = y
    y += x.mean() + 1
    y.neg_()
    return y.argmax(1), z.argmax(1), y[0].argmax(0)


@trap
def view_sees_inplace():
    x, _ = data()
    y = up(x)
    v = y[0]
    d = y.detach()
    y.neg_()
    return v.argmax(0), d.argmax(1)


@trap
def inplace_on_view():
    x, _ = data()
    y = up(x)
    y[0].neg_()
    y.data[1].zero_()
    y[:, 0] = 9
    return y.argmax(1), y


@trap
def activation_is_a_copy():
    x, _ = data()
    y = up(x)
    p = y.sigmoid()
    y.neg_()
    return (p > 0.5, y > 0)


@trap
def out_argument():
    x, _ = data()
    y = up(x)
    torch.neg(torch.ones(2, 5, 32, 32), out=y)
    return (y.argmax(1), y)


@trap
def crop_then_read():
    x, _ = data()
    y = up(x)
    return (
        y[..., :20, 3:30] > 0.1,
        y[1:, :, 4:, :].softmax(1).argmax(1),
        y[-1, 1:3].argmax(0),
        y[:, ::2].argmax(1),
    )


# ---- autograd ----------------------------------------------------------------------------------------------


@trap
def both_uses():
    x, t = data(True)
    y = up(x)
    (F.cross_entropy(y, t) + y.square().mean() + F.cross_entropy(y, t)).backward()
    return (x.grad,)


@trap
def custom_function():
    x, _ = data(True)
    y = up(x)
    SquareLoss.apply(y).backward()
    return (x.grad,)


@trap
def custom_function_then_python():
    x, _ = data(True)
    y = up(x)
    (SquareLoss.apply(y) + y.sin().sum()).backward()
    return (x.grad,)


@trap
def custom_function_softmax():
    x, _ = data(True)
    y = up(x).softmax(1)
    SquareLoss.apply(y).backward()
    return (x.grad,)


@trap
def double_backward():
    x, t = data(True)
    (g,) = torch.autograd.grad(F.cross_entropy(up(x), t), x, create_graph=True)
    g.square().sum().backward()
    return (x.grad,)


class Cube(torch.autograd.Function):
    """Has a second derivative, and takes its argument past `__torch_function__`."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y**3

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2


@trap
def double_backward_of_a_custom_function():
    x, _ = data(True)
    results = []
    for read in (lambda y: y, lambda y: y.softmax(1), lambda y: up(y).sigmoid()[1]):
        (g,) = torch.autograd.grad(Cube.apply(read(up(x * 1))).sum(), x, create_graph=True)
        results += [g, *torch.autograd.grad(g.square().sum(), x)]
    return results


@trap
def requires_grad_():
    x, t = data()
    y = up(x).requires_grad_()
    F.cross_entropy(y, t).backward()
    return y.grad, torch.tensor(y.is_leaf)


@trap
def hook_before_loss():
    x, t = data(True)
    y = up(x)
    seen = []
    y.register_hook(seen.append)
    F.cross_entropy(y, t).backward()
    return (*seen, x.grad)


@trap
def retain_grad_before_loss():
    x, t = data(True)
    y = up(x)
    y.retain_grad()
    F.cross_entropy(y, t).backward()
    return (y.grad,)


@trap
def no_grad_between():
    x, _ = data(True)
    y = up(x)
    with torch.no_grad():
        y.sum()
    (y * 2).sum().backward()
    return (x.grad,)


@trap
def inference_mode_between():
    x, _ = data(True)
    y = up(x)
    with torch.inference_mode():
        y.sum()
    (y * 2).sum().backward()
    return (x.grad,)


@trap
def inference_value_used_later():  # native: RuntimeError (inference tensors cannot be saved for backward)
    x, _ = data()
    w = torch.ones(5, requires_grad=True)
    with torch.inference_mode():
        y = up(x)
    (y * w.view(1, 5, 1, 1)).sum().backward()
    return (w.grad,)


@trap
def made_in_no_grad():
    x, t = data(True)
    with torch.no_grad():
        y = up(x)
    return (
        torch.tensor(y.requires_grad),
        torch.tensor(F.cross_entropy(y, t).requires_grad),
        F.cross_entropy(y, t),
    )


@trap
def made_in_no_grad_view():
    x, t = data(True)
    y = up(x)
    with torch.no_grad():
        v = y[0]
    return torch.tensor(v.requires_grad), torch.tensor((v * 2).requires_grad)


@trap
def autocast_argmax():
    m = Head()
    x, _ = data(n=8)
    with torch.autocast("cpu", torch.bfloat16):
        return m(x).argmax(1), m(x).softmax(1), m(x).float().argmax(1)


@trap
def autocast_around_loss():
    x, t = data(True)
    y = up(x)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(y, t)
    loss.backward()
    return loss, x.grad


@trap
def hook_of_the_node_before_the_loss():
    x, t = data(True)
    y = up(x)
    seen = []
    y.grad_fn.register_hook(lambda to, of: seen.append(of[0]))
    F.cross_entropy(y, t).backward()
    return *seen, x.grad


@trap
def a_subclass_beside_it():
    class Mine(torch.Tensor):
        pass

    x, t = data()
    mine = torch.ones(2, 5, 32, 32).as_subclass(Mine)
    y = up(x)
    results = y + mine, torch.cat([y, mine], 1), F.cross_entropy(y, t, torch.ones(5).as_subclass(Mine))
    return *(str(type(r)) for r in results), *(r.as_subclass(torch.Tensor) for r in results)


@trap
def methods_without_override():
    class Mine(torch.Tensor):
        pass

    x, _ = data(True)
    mine = up(x).as_subclass(Mine)
    mine.square().sum().backward()
    y = up(x.detach())
    z = y.set_(torch.ones(3))
    return type(mine) is Mine, x.grad, y, z is y


@trap
def hook_of_an_image_whose_activation_is_pending():
    x, t = data(True)
    y = up(x)
    p, q = y.log_softmax(1), y.sigmoid()
    seen = []
    y.register_hook(seen.append)
    (F.nll_loss(p, t) + q.sum()).backward()
    return *seen, x.grad


@trap
def retained_gradient_between_two_resizes():
    x, t = data(True)
    y = F.interpolate(x, size=(16, 16), mode="bilinear")
    z = up(y)
    y.retain_grad()
    F.cross_entropy(z, t).backward()
    return y.grad, x.grad


@trap
def custom_function_after_inplace():
    x, _ = data(True)
    y = up(x)
    y.mul_(3)
    y[0].mul_(2)
    SquareLoss.apply(y).backward()
    return (x.grad,)


@trap
def custom_function_then_inplace():  # natively an error in backward: it had saved what was written to
    x, _ = data(True)
    y = up(x)
    loss = SquareLoss.apply(y)
    y.mul_(3)
    loss.backward()
    return (x.grad,)


@trap
def retain_grad_then_custom_function():
    x, _ = data(True)
    y = up(x)
    y.retain_grad()
    SquareLoss.apply(y).backward()
    return y.grad, x.grad


@trap
def views_keep_their_shape_and_history():
    x, _ = data(True)
    y = up(x)
    v, w = y[1, :, 2:], y[0]
    y.unsqueeze_(0)
    y.detach_()
    return v, w, y, v.requires_grad, y.requires_grad, v.storage_offset()


@trap
def views_of_what_comes_to_require_a_gradient():
    x, _ = data()
    y = up(x)
    v = y[0]
    y.requires_grad_()
    return v.requires_grad, y.requires_grad, y.is_leaf


@trap
def writes_to_one_of_many_views():  # natively an error
    x, _ = data(True)
    for image in up(x):
        image.neg_()


@trap
def iteration_in_no_grad():
    x, _ = data(True)
    y = up(x)
    with torch.no_grad():
        return *(image.argmax(0) for image in y), *(image.requires_grad for image in y.unbind())


@trap
def identity_and_attributes():
    x, _ = data()
    y = up(x)
    y.name = "logits"
    z = y
    y += torch.ones(2, 5, 32, 32)
    same = [y is z, y.add_(1) is y, y.contiguous() is y, y.cpu() is y, y.requires_grad_() is y]
    return *same, y.name, vars(y), hasattr(y, "source"), type(torch.nn.Parameter(y)) is torch.nn.Parameter, z


@trap
def added_to_itself():
    x, _ = data(True)
    y, z = up(x), up(x)
    y += y
    z += z.detach()
    (y.sum() + z.square().sum()).backward()
    return y, z, x.grad


@trap
def an_attribute_of_its_own():
    x, _ = data()
    other = torch.ones(2, 5, 32, 32)
    other.recipe = other.like = other.source = None
    return other + up(x), torch.cat([other, up(x)], 1)


@trap
def another_default_dtype():
    x, t = data()
    x[0] = 0.25
    torch.set_default_dtype(torch.float64)
    try:
        return up(x) >= 0.25, up(x).sigmoid() >= 0.3, F.cross_entropy(up(x), t), up(x).argmax(1)
    finally:
        torch.set_default_dtype(torch.float32)


@trap
def backward_to_the_image():
    x, t = data(True)
    y = up(x)
    y.retain_grad()
    F.cross_entropy(y, t).backward(inputs=[y])
    return (y.grad,)


@trap
def activations_keep_what_data_is_overwritten():
    x, t = data(True)
    y = F.interpolate(x, size=(16, 16), mode="bilinear")
    p, z = y.log_softmax(1), up(y)
    q = y.float().softmax(1)[1]
    y.sum()
    y.data.mul_(2)
    return p, z, q, F.cross_entropy(z, t), y


@trap
def fused_then_written_then_custom_function():
    x, t = data(True)
    y = up(x)
    loss = F.cross_entropy(y, t)
    y.mul_(3)
    (loss + SquareLoss.apply(y)).backward()
    return (x.grad,)


@trap
def data_of_which_autograd_is_not_told():
    x, _ = data(True)
    y = up(x)
    v = next(iter(y))
    y.data.mul_(2)
    return v, y


@trap
def keys_and_sets():
    x, _ = data()
    y, z = up(x), up(x)
    names = {y: "y", z: "z"}
    y.sum()
    return names[y], names[z], len({y, z, y}), y.argmax(1)


# ---- machinery ---------------------------------------------------------------------------------------------


@trap
def full_backward_hook():
    m = Head()
    x, t = data()
    seen = []
    m.register_full_backward_hook(lambda m, i, o: seen.append(o[0]))
    F.cross_entropy(m(x), t).backward()
    return (m.conv.weight.grad, *seen)


@trap
def forward_hook():
    m = Head()
    x, t = data()
    seen = []
    m.register_forward_hook(lambda m, i, o: seen.append(o))
    F.cross_entropy(m(x), t).backward()
    return (m.conv.weight.grad, *seen)


def _ddp(**options):
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    m = None
    try:
        m = torch.nn.parallel.DistributedDataParallel(Head(), **options)
        x, t = data()
        F.cross_entropy(m(x), t).backward()
        return (m.module.conv.weight.grad,)
    finally:
        # The group's destructor joins gloo's thread with the GIL held. That thread must have let go of what
        # is Python's by then, or both wait for ever.
        del m
        time.sleep(0.1)
        dist.destroy_process_group()


@trap
def ddp():
    return _ddp()


@trap
def ddp_find_unused():
    return _ddp(find_unused_parameters=True)


@trap
def checkpoint_new():
    m = Head()
    x, t = data(True)
    F.cross_entropy(checkpoint(m, x, use_reentrant=False), t).backward()
    return m.conv.weight.grad, x.grad


@trap
def checkpoint_new_loss_inside():
    m = Head()
    x, t = data(True)
    checkpoint(lambda x: F.cross_entropy(m(x), t), x, use_reentrant=False).backward()
    return m.conv.weight.grad, x.grad


@trap
def checkpoint_reentrant():
    m = Head()
    x, t = data(True)
    F.cross_entropy(checkpoint(m, x, use_reentrant=True), t).backward()
    return m.conv.weight.grad, x.grad


def _loss_of_a_checkpoint_given_a_lazy(**options):
    x, t = data(True)
    loss = checkpoint(lambda y: F.cross_entropy(y, t) + y.square().mean(), up(x), **options)
    loss.backward()
    return loss, x.grad


@trap
def checkpoint_given_a_lazy():
    return _loss_of_a_checkpoint_given_a_lazy(use_reentrant=False)


@trap
def checkpoint_reentrant_given_a_lazy():
    return _loss_of_a_checkpoint_given_a_lazy(use_reentrant=True)


@trap
def checkpoint_finds_a_lazy_activation():
    x, t = data(True)
    y = up(x)
    p = y.softmax(1)
    loss = checkpoint(lambda x: (F.cross_entropy(y, t) + p.square().sum()) * x.sum(), x, use_reentrant=False)
    loss.backward()
    return loss, x.grad


@trap
def what_is_saved_of_a_resize():
    x, _ = data(True)
    seen = []
    with torch.autograd.graph.saved_tensors_hooks(lambda v: seen.append(v.shape) or v, lambda v: v):
        loss = up(x * 1).square().sum()
    loss.backward()
    return *seen, x.grad


@trap
def save_on_cpu_hooks():
    m = Head()
    x, t = data()
    with torch.autograd.graph.save_on_cpu():
        y = m(x)
    F.cross_entropy(y, t).backward()
    return (m.conv.weight.grad,)


@trap
def compile_inside():
    torch._dynamo.reset()
    m = Head()
    x, t = data()
    f = torch.compile(lambda x, t: F.cross_entropy(m(x), t), fullgraph=True, backend="aot_eager")
    f(x, t).backward()
    return (m.conv.weight.grad,)


@trap
def compile_model_loss_outside():
    torch._dynamo.reset()
    m = Head()
    x, t = data()
    y = torch.compile(m, fullgraph=True, backend="aot_eager")(x)
    F.cross_entropy(y, t).backward()
    return (m.conv.weight.grad,)


@trap
def compile_given_a_lazy():
    torch._dynamo.reset()
    m = Head()
    x, t = data()
    f = torch.compile(lambda y, t: F.cross_entropy(y * 2, t), backend="aot_eager")
    f(m(x), t).backward()
    return (m.conv.weight.grad,)


@trap
def compile_given_a_lazy_fullgraph():
    torch._dynamo.reset()
    m = Head()
    x, t = data()
    f = torch.compile(lambda y, t: F.cross_entropy(y * 2, t), backend="aot_eager", fullgraph=True)
    f(m(x), t).backward()
    return (m.conv.weight.grad,)


def compiled(f, **options):
    torch._dynamo.reset()
    return torch.compile(f, **{"backend": "aot_eager", "fullgraph": True} | options)


@trap
def compile_given_a_lazy_whose_gradient_is_asked_for_after_it():
    x, t = data(True)
    y = up(x)
    loss = compiled(lambda y: y.square().sum())(y)
    y.retain_grad()
    seen = []
    y.register_hook(seen.append)
    loss = loss + F.cross_entropy(y, t)
    passed = torch.autograd.grad(loss, y, retain_graph=True)
    seen.clear()
    loss.backward()
    return *passed, *seen, y.grad, x.grad


@trap
def compile_given_a_lazy_that_is_written_to_afterwards():
    x, t = data(True)
    y = up(x)
    loss = compiled(lambda y: y.sum())(y) + F.cross_entropy(y, t)
    y.mul_(3)
    (loss + y.square().sum()).backward()
    return y, x.grad


@trap
def compile_given_a_lazy_that_it_writes_to():
    x, _ = data(True)
    y = up(x)
    loss = compiled(lambda y: y.mul_(2).square().sum())(y)
    (loss + y.sum()).backward()
    return y, x.grad


@trap
def lazy_tensors_in_kinds_of_lists():
    from torch.fx.immutable_collections import immutable_list

    x, _ = data()
    y = up(x)
    pair = collections.namedtuple("Pair", "first second")(y, y + 1)
    return (
        torch.cat(immutable_list([y, y * 2])),
        torch.stack(pair),
        torch.cat(torch.Tensor.split(up(x), 2, 1)),
    )


@trap
def compile_given_lazy_tensors_without_gradient():
    x, t = data()
    y = up(x)
    f = compiled(lambda y, p: (y * p, y, y.clone(), y.detach(), F.cross_entropy(y, t), torch.cat([y, p])))
    results = f(y, y.softmax(1))
    return *results, *(type(r) is torch.Tensor for r in results[2:]), y[0]


@trap
def compile_given_lazy_tensors_with_gradient():
    x, t = data(True)
    y = up(x)
    f = compiled(lambda y, p: (y * p, y[0], y.clone(), F.cross_entropy(y, t), torch.cat([y, p])))
    results = f(y, y.softmax(1))
    sum(r.square().sum() for r in results).backward()
    return *results, x.grad, *(type(r) is torch.Tensor for r in results), y[0]


@trap
def compile_finds_a_lazy_by_itself():
    x, _ = data(True)
    y = up(x)
    m = torch.nn.Module()
    m.register_buffer("b", y[:1])
    compiled(lambda: (m.b * y).sum())().backward()
    return (x.grad,)


@trap
def compile_given_lazy_tensors_again_and_again():
    x, _ = data(True)
    f = compiled(lambda y: y.square().sum())
    f(up(x)).backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        f(up(x * 2)).backward()
    return (x.grad,)


@trap
def compile_given_a_lazy_and_breaks():
    def f(y):
        z = y * 2
        torch._dynamo.graph_break()
        return (z + y).sum() + (y > 0).sum()

    x, _ = data(True)
    compiled(f, fullgraph=False)(up(x)).backward()
    return (x.grad,)


@trap
def compile_transforms_a_lazy():
    x, _ = data()
    f = compiled(lambda y: torch.func.grad(lambda z: z.square().sum())(y))
    return f(up(x)), f(up(x.requires_grad_()))


@trap
def compile_called_in_no_grad():
    x, t = data(True)
    y = up(x)
    with torch.no_grad():
        total = compiled(lambda y: y.sum())(y)
    F.cross_entropy(y, t).backward()
    return total, x.grad


@trap
def export():
    x, _ = data()
    return (torch.export.export(Head(), (x,)).module()(x).detach(),)


@trap
def func_grad():
    x, t = data()
    return (torch.func.grad(lambda x: F.cross_entropy(up(x), t))(x),)


@trap
def func_grad_of_lazy():
    x, t = data()
    y = up(x)
    return (torch.func.grad(lambda y: F.cross_entropy(y, t))(y),)


@trap
def func_grad_finds_a_lazy():
    x, t = data(True)
    y, z = up(x), up(x).softmax(1)
    results = [torch.func.grad(lambda a: ((y + z) * a).sum())(torch.ones(()))]
    results += [torch.vmap(lambda a: (up(x) * a).sum())(torch.ones(2)), y.requires_grad, z.requires_grad]
    (y.square() + z).sum().backward()
    return *results, x.grad


@trap
def vmap():
    x, _ = data()
    return (torch.vmap(lambda x: up(x[None])[0].argmax(0))(x),)


@trap
def vmap_over_lazy():
    x, _ = data()
    return (torch.vmap(lambda y: y.argmax(0))(up(x)),)


@trap
def jvp():
    x, t = data()
    return torch.func.jvp(up, (x,), (torch.ones_like(x),))


@trap
def forward_ad():
    import torch.autograd.forward_ad as ad

    x, t = data()
    with ad.dual_level():
        return tuple(ad.unpack_dual(up(ad.make_dual(x, torch.ones_like(x)))))


@trap
def jit_trace():
    x, _ = data()
    return (torch.jit.trace(Head(), x)(x).detach(),)


@trap
def jit_script():
    x, _ = data()
    return (torch.jit.script(Head())(x).detach(),)


@trap
def jit_function_given_a_lazy():
    f = torch.jit.script(_script_me)
    x, _ = data(True)
    f(up(x)).sum().backward()
    return (x.grad,)


def _script_me(y: torch.Tensor) -> torch.Tensor:
    return y.relu()


@trap
def deepcopy_pickle():
    x, _ = data()
    y = up(x)
    b = io.BytesIO()
    torch.save(y, b)
    b.seek(0)
    return copy.deepcopy(y), pickle.loads(pickle.dumps(y)), torch.load(b), copy.copy(y), y.clone()


@trap
def threads():
    m = Head()
    x, t = data()
    out = [None] * 4

    def run(i):
        out[i] = F.cross_entropy(m(x), t)

    ts = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    [a.start() for a in ts]
    [a.join() for a in ts]
    sum(out).backward()
    return (m.conv.weight.grad,)


@trap
def one_lazy_many_threads():
    m = Head()
    x, t = data()
    y = m(x)
    out = [None] * 4

    def run(i):
        out[i] = (y * (i + 1)).sum()

    ts = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    [a.start() for a in ts]
    [a.join() for a in ts]
    sum(out).backward()
    return (m.conv.weight.grad,)


@trap
def printing():
    x, _ = data()
    y = up(x)
    return repr(y), str(y), f"{y.mean():.3f}", f"{y.shape} {y.dtype} {y.device} {y.stride()} {y.type()}"


@trap
def numpy_and_friends():
    x, _ = data()
    y = up(x)
    return (
        torch.tensor(y.numpy()),
        torch.tensor(np.asarray(y)),
        torch.tensor(y.tolist()),
        torch.from_dlpack(y),
        torch.tensor(np.add(y, 1)),
    )


@trap
def conversions():
    x, _ = data()
    y = up(x)
    return (
        y.cpu(),
        y.half(),
        y.to(torch.float64),
        y.to("cpu"),
        y.contiguous(),
        y.to(torch.device("cpu"), torch.float32),
        y.to(memory_format=torch.channels_last),
    )


@trap
def channels_last():
    x, _ = data()
    y = up(x.to(memory_format=torch.channels_last))
    return (
        torch.tensor(y.stride()),
        torch.tensor(y[0].stride()),
        torch.tensor(y.sigmoid().stride()),
        (y > 0),
        y.argmax(1),
    )


@trap
def nan_and_inf():
    x, _ = data()
    x[0, 0, 2, 2] = float("nan")
    x[1, 1, 3, 3] = float("inf")
    y = up(x)
    return y > 0, y < 0, y >= 0.3, y.sigmoid() <= 0.2, y.argmax(1)


@trap
def thresholds():
    x, _ = data()
    y = up(x)
    return (
        y > 0,
        y >= 0.25,
        y < 1,
        y <= -0.1,
        y > 0.5,
        y.sigmoid() > 0.5,
        y.sigmoid() >= 0.3,
        y.sigmoid() < 0.7,
        y.gt(torch.tensor(0.1)),
        y.sigmoid() > 2,
        y.sigmoid() > -1,
    )


@trap
def add_and_cat():
    x, _ = data(True)
    o = torch.ones(2, 5, 32, 32, requires_grad=True)
    y = up(x)
    z = torch.cat([o, y, y], 1) * 3
    s = (o + y) * (y + o) + torch.add(y, o) + (y + 1) + (y + y)
    (z.sum() + s.sum()).backward()
    return z, s, x.grad, o.grad


@trap
def backward_with_lazy_gradient():
    x, _ = data(True)
    o = torch.ones(2, 5, 32, 32, requires_grad=True)
    (o * 3).backward(up(x.detach()))
    return (o.grad,)


@trap
def cpp_extension():
    x, _ = data(True)
    y = up(x)
    r = extension().twice(y)
    r.sum().backward()
    return r, x.grad


_EXTENSION = []


def extension():
    if not _EXTENSION:
        from torch.utils.cpp_extension import load_inline

        code = """at::Tensor twice(const at::Tensor& y) { return y * 2; }
        double first(const at::Tensor& y) { return y.const_data_ptr<float>()[0]; }"""
        _EXTENSION.append(load_inline("lazy_trap", code, functions=["twice", "first"], extra_cflags=["-O0"]))
    return _EXTENSION[0]


@trap
def state_dict_and_buffer():
    m = torch.nn.Module()
    x, _ = data()
    m.register_buffer("b", up(x))
    return (m.state_dict()["b"],)


@trap
def model_output():
    outputs = pytest.importorskip("transformers.modeling_outputs")
    x, _ = data()
    o = outputs.SemanticSegmenterOutput(logits=up(x))
    return (
        o.logits.argmax(1),
        o[0].argmax(1),
        o.to_tuple()[0].argmax(1),
        torch.utils._pytree.tree_map(lambda v: v * 2, o)["logits"],
    )


@trap
def set_data():
    x, _ = data()
    y = up(x)
    y.data = -torch.ones(2, 5, 4, 4)
    return (y, torch.tensor(y.shape))


@trap
def fake_mode():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return (
            (torch.tensor(up(torch.empty(1, 2, 4, 4)).argmax(1).shape),)
            if False
            else (str(up(torch.empty(1, 2, 4, 4)).argmax(1).shape),)
        )


@trap
def fx_trace():
    x, _ = data()
    return (torch.fx.symbolic_trace(Head())(x).detach(),)


def _script_inplace(y: torch.Tensor) -> torch.Tensor:
    return y.relu_()


@trap
def inplace_from_cpp():
    f = torch.jit.script(_script_inplace)
    x, _ = data(True)
    y = up(x)
    z = f(y)
    (y * 2).sum().backward()
    return y, z, x.grad


@trap
def inplace_from_cpp_then_fuse():
    f = torch.jit.script(_script_inplace)
    x, _ = data()
    y = up(x)
    f(y)
    return (y < 0, y)


@trap
def function_forward_returns_lazy():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return up(x)

        @staticmethod
        def backward(ctx, g):
            return torch.ones(2, 5, 8, 8)

    x, t = data(True)
    F.cross_entropy(Own.apply(x), t).backward()
    return (x.grad,)


@trap
def straight_through():  # (y - y.detach()) + x idioms, where values cancel and gradients do not
    x, t = data(True)
    y = up(x)
    z = y + (y.argmax(1, keepdim=True).float() - y).detach()
    z.sum().backward()
    return z, x.grad


@trap
def foreach():
    x, _ = data()
    y = up(x)
    return (*torch._foreach_add([y, y], 1.0),)


@trap
def where_and_mask():
    x, _ = data()
    y = up(x)
    return y[y > 0], torch.where(y > 0, y, -y), y.masked_fill(y < 0, 0)


@trap
def default_device_mode():
    x, _ = data()
    with torch.device("cpu"):
        return (up(x).argmax(1),)


@trap
def dispatch_mode_between():
    from torch.utils.flop_counter import FlopCounterMode

    x, t = data(True)
    y = up(x)
    with FlopCounterMode(display=False):
        F.cross_entropy(y, t).backward()
    return (x.grad,)


class Doubled(torch.autograd.Function):
    """Writes to its argument and returns it, as fused activations do to save memory."""

    @staticmethod
    def forward(ctx, y):
        ctx.mark_dirty(y)
        return y.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@trap
def custom_function_in_place():
    x, _ = data(True)
    y = up(x)
    v = y[0]
    z = Doubled.apply(Doubled.apply(y))
    (y.square().sum() + SquareLoss.apply(z) + v.sum()).backward()
    return y, z, v, x.grad


@trap
def inplace_from_cpp_after_the_image():
    f = torch.jit.script(_script_inplace)
    x, t = data(True)
    y = up(x)
    loss = F.cross_entropy(y, t) + y.mean()
    f(y)
    (loss + (y * 2).sum()).backward()
    return y, x.grad


@trap
def inplace_from_cpp_on_a_view():
    f = torch.jit.script(_script_inplace)
    results = []
    for grad in (False, True):
        x, _ = data(grad)
        y = up(x)
        v = y[0]
        f(y[:, 1:3].detach())
        f(v)
        results += [y, v]
        if grad:
            (y * 2).sum().backward()
            results.append(x.grad)
    return results


# ---- the two sides -----------------------------------------------------------------------------------------


def outcome(snippet):
    try:
        return snippet(), None
    except Exception as error:
        return None, error


def compare(native, fused):
    assert len(native) == len(fused)
    for a, b in zip(native, fused, strict=True):
        if not isinstance(a, torch.Tensor):
            assert a == b
            continue
        a, b = a.detach(), (b + 0 if type(b) is not torch.Tensor else b).detach()
        assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride())
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5, equal_nan=True)


def both(name):
    native = outcome(TRAPS[name])
    with upsample_ext.fuse():
        fused = outcome(TRAPS[name])
    return native, fused


# Those that compile the extension run where it is compiled already
IN_CPP = pytest.mark.xdist_group("cpp_extension")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=IN_CPP) if name.startswith("cpp") else name for name in TRAPS]
)
def test_same_as_native(name):
    before = count_lazy()
    (native, native_error), (fused, error) = both(name)
    assert type(error) is type(native_error), (native_error, error)
    if error is None:
        compare(native, fused)
    del native, fused, native_error, error
    if not name.startswith("compile"):  # whose caches keep what they were given
        assert count_lazy() == before


def count_lazy():
    gc.collect()
    return sum(type(o) is LazyResize and o._traced is None for o in gc.get_objects())


# ---- what is not the same, and documented ------------------------------------------------------------------


def asks_by_hook(y, loss):
    y.register_hook(print)


def asks_by_retain_grad(y, loss):
    y.retain_grad()


def asks_by_autograd_grad(y, loss):
    torch.autograd.grad(loss, y)


def asks_by_attribute(y, loss):
    return y.grad


def asks_by_node(y, loss):
    y.grad_fn.register_hook(print)


def asks_by_backward(y, loss):
    loss.backward(inputs=[y])


ASKING = [
    asks_by_hook,
    asks_by_retain_grad,
    asks_by_autograd_grad,
    asks_by_attribute,
    asks_by_node,
    asks_by_backward,
]


@pytest.mark.parametrize("ask", ASKING)
@pytest.mark.parametrize("through_a_view", [False, True])
def test_a_gradient_asked_for_after_a_fused_loss_is_an_error(ask, through_a_view):
    x, t = data(True)
    with upsample_ext.fuse():
        y = up(x)
        loss = F.cross_entropy(y[:1], t[:1]) if through_a_view else F.cross_entropy(y, t)
        with pytest.raises(RuntimeError, match="fuse: .* never computed"):
            ask(y, loss)


READ_BY = {
    "nll": lambda y, t: F.nll_loss(y.log_softmax(1), t),
    "activation": lambda y, t: y.sigmoid().sin().sum(),
    "another resize": lambda y, t: F.cross_entropy(up(y), t),
    "custom function": lambda y, t: SquareLoss.apply(y),
    "custom function in two steps": lambda y, t: SquareLossInTwoSteps.apply(y),
    "loss, then the image": lambda y, t: F.cross_entropy(y, t) + y.sum(),
    "sum with itself": lambda y, t: y + y.detach(),
}


@pytest.mark.parametrize("name", READ_BY)
def test_so_it_is_after_anything_that_did_without_the_image(name):
    x, t = data(True)
    with upsample_ext.fuse():
        y = up(x)
        READ_BY[name](y, t)
        with pytest.raises(RuntimeError, match="fuse: .* never computed"):
            y.retain_grad()


def test_a_fused_loss_of_half_logits_is_nearer_to_float32_than_the_native():
    m = Head()
    x, t = data()
    m(x.bfloat16().float())

    def gradient(fused, dtype):
        m.zero_grad()
        with upsample_ext.fuse() if fused else contextlib.nullcontext():
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
                y = m(x)
            F.cross_entropy(y.float() if dtype is torch.bfloat16 else y, t).backward()
        return m.conv.weight.grad.double()

    exact = gradient(False, torch.float32)
    native = (gradient(False, torch.bfloat16) - exact).abs().max()
    fused = (gradient(True, torch.bfloat16) - exact).abs().max()
    assert 0 < fused <= native * 1.1


def test_numpy_writes_to_memory_that_a_pending_image_reads():
    x, _ = data()
    alias = x.numpy()
    expected = up(x).argmax(1)
    with upsample_ext.fuse():
        y = up(x)
        alias[:] = -alias
        assert not torch.equal(y.argmax(1), expected)


def test_an_alias_in_numpy_keeps_the_old_values_while_an_image_is_pending():
    x, _ = data()
    alias = x.numpy()
    before = alias.copy()
    with upsample_ext.fuse():
        y = up(x)
        x.neg_()
        np.testing.assert_array_equal(alias, before)
        assert torch.equal(y.argmax(1), up(-x).argmax(1))


def test_it_is_a_subclass_until_something_needs_the_image():
    x, _ = data()
    with upsample_ext.fuse():
        y = up(x)
    assert isinstance(y, torch.Tensor) and isinstance(y, torch.FloatTensor) and torch.is_tensor(y)
    assert type(y) is not torch.Tensor
    y.sum()
    assert type(y) is torch.Tensor and not vars(y)


@IN_CPP
def test_raw_pointers_raise():
    x, _ = data()
    with upsample_ext.fuse():
        y = up(x)
        with pytest.raises(RuntimeError, match="data pointer"):
            torch.utils.dlpack.to_dlpack(y)
        with pytest.raises(RuntimeError):
            extension().first(y)


def error_of(call):
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value)


def test_wrong_arguments_raise_what_they_raise_natively():
    x, t = data()
    calls = [
        lambda: F.cross_entropy(up(x), t[:, :5]),
        lambda: F.cross_entropy(up(x), t + 9),
        lambda: F.cross_entropy(up(x)),
        lambda: up(x) + torch.ones(3, 3),
        lambda: torch.cat([up(x), x], 1),
        lambda: torch.cat([up(x), None], 1),
        lambda: up(x).argmax(9),
        lambda: up(x).argmax(1, 2, 3),
        lambda: up(x).argmax(dimension=1),
        lambda: up(x)[5],
        lambda: up(x)[0, 1, 2, 3, 4],
        lambda: up(x).squeeze(7),
        lambda: up(x).unsqueeze(7),
        lambda: up(x).softmax(4),
        lambda: up(x).gt(),
        lambda: up(x).to("no device"),
        lambda: F.interpolate(x, size=(3, 3, 3), mode="bilinear"),
        lambda: F.interpolate(up(x), size=(3, 3, 3), mode="bilinear"),
        lambda: F.interpolate(x, size=(32, -32), mode="bilinear"),
        lambda: len(up(x)) + up(x) + "",
        lambda: bool(up(x)),
    ]
    native = [error_of(call) for call in calls]
    with upsample_ext.fuse():
        assert [error_of(call) for call in calls] == native
