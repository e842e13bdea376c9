"""The op that has out=, written where autograd watches."""

import contextlib

import torch
import torch.autograd.forward_ad as fwAD

from .experiments import out_experiment, stacked


@out_experiment
def out_is_returned(write, inputs):
    result = write(*inputs)
    return result, torch.tensor(result is inputs[1])


def _out_was_saved(write, inputs, mode):
    x, out = inputs
    weight = torch.ones_like(out, requires_grad=True)
    product = (out * weight).sum()
    with mode:
        write(x, out)
    product.backward()
    return weight.grad


@out_experiment
def out_that_backward_needs(write, inputs):
    return _out_was_saved(write, inputs, contextlib.nullcontext())


@out_experiment
def out_that_backward_needs_written_in_no_grad(write, inputs):
    return _out_was_saved(write, inputs, torch.no_grad())


@out_experiment
def out_that_backward_needs_written_in_inference_mode(write, inputs):
    return _out_was_saved(write, inputs, torch.inference_mode())


@out_experiment
def base_of_out_that_backward_needs(write, inputs):
    x, out = inputs
    base = torch.stack([out, out])
    weight = torch.ones_like(base, requires_grad=True)
    product = (base * weight).sum()
    write(x, base[0])
    product.backward()
    return weight.grad


@out_experiment
def version_of_out(write, inputs):
    x, out = inputs
    before = out._version
    write(x, out)
    return torch.tensor(out._version - before)


@out_experiment
def inference_tensor_as_out(write, inputs):
    with torch.inference_mode():
        out = inputs[1].clone()
    return write(inputs[0], out)


@out_experiment
def inference_tensor_as_input_with_out(write, inputs):
    with torch.inference_mode():
        x = inputs[0].clone()
    return write(x, inputs[1])


@out_experiment
def out_that_requires_grad(write, inputs):
    return write(inputs[0], inputs[1].requires_grad_())


@out_experiment
def out_that_requires_grad_in_no_grad(write, inputs):
    with torch.no_grad():
        return write(inputs[0], inputs[1].requires_grad_()).detach()


@out_experiment
def out_of_input_that_requires_grad(write, inputs):
    return write(inputs[0].requires_grad_(), inputs[1])


@out_experiment
def out_of_input_that_requires_grad_in_no_grad(write, inputs):
    with torch.no_grad():
        result = write(inputs[0].requires_grad_(), inputs[1])
    return result, torch.tensor(result.requires_grad)


@out_experiment
def out_with_negative_bit(write, inputs):
    x, out = inputs
    return write(x, torch._neg_view(out)), out


@out_experiment
def out_in_complex_memory(write, inputs):
    x, out = inputs
    memory = torch.zeros(out.shape, dtype=torch.complex128)
    write(x, memory.conj().imag)
    return memory


@out_experiment
def out_in_forward_mode(write, inputs):
    with fwAD.dual_level():
        dual = fwAD.make_dual(inputs[0], torch.ones_like(inputs[0]))
        return tuple(fwAD.unpack_dual(write(dual, inputs[1])))


@out_experiment
def dual_as_out(write, inputs):
    with fwAD.dual_level():
        dual = fwAD.make_dual(inputs[1], torch.ones_like(inputs[1]))
        return tuple(fwAD.unpack_dual(write(inputs[0], dual)))


@out_experiment
def out_under_functionalize(write, inputs):
    return torch.func.functionalize(lambda x: write(x, torch.empty(inputs[1].shape, dtype=x.dtype)))(
        inputs[0]
    )


@out_experiment
def out_under_functionalize_from_outside(write, inputs):
    return torch.func.functionalize(write)(*inputs), inputs[1]


@out_experiment
def out_under_vmap(write, inputs):
    return torch.vmap(write)(*stacked(inputs))


@out_experiment
def out_under_grad(write, inputs):
    return torch.func.grad(lambda x: write(x, inputs[1]).sum())(inputs[0])


@out_experiment
def out_that_is_resized(write, inputs):
    x, _ = inputs
    out = x.new_empty(0)
    view = out.view(0)
    write(x, out)
    return out, view


@out_experiment
def out_of_one_element_for_all(write, inputs):
    return write(inputs[0], inputs[1][..., :1, :1].expand(inputs[1].shape))


@out_experiment
def out_of_another_dtype(write, inputs):
    return write(inputs[0], inputs[1].float())
