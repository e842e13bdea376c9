"""DTensors: every function gives what native gives of the same placements, in one process and in two."""

import subprocess
import sys

import pytest
import torch
from checkout import ROOT

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch is built without torch.distributed"
)

PROGRAM = """if True:
    import sys
    import torch, torch.nn.functional as F, upsample_ext
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    from upsample_ext._chain import chain_argmax, chain_resample, chain_threshold

    path, rank, world = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = torch.distributed.FileStore(path, world)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    torch.manual_seed(0)
    x, weight, bias, plane = torch.rand(2, 4, 5, 6), torch.rand(4, 1, 4, 3), torch.rand(4), torch.rand(3, 4)
    target = torch.randint(0, 4, (2, 9, 8))

    def resized(t, size=(9, 8)):
        return F.interpolate(t, size, mode="bilinear")

    def convolved(t, w, b):
        return F.conv_transpose2d(t, w, b, 2, 1, groups=4)

    stages = [((9, 8), None, False, (1, 2, 7, 6)), ((11, 10), None, False, None)]
    chain = lambda t: resized(resized(t)[:, :, 1:8, 2:8], (11, 10))
    planes = plane.expand(4, 1, 3, 4)
    ue = upsample_ext
    # Ours and native's, of tensors that are all distributed.
    CALLS = {
        "interpolate": (lambda t: ue.interpolate(t, (9, 8), mode="bilinear"), resized, (x,)),
        "to another size": (lambda t: ue.interpolate(t, (3, 12), mode="bilinear"),
                            lambda t: resized(t, (3, 12)), (x,)),
        "bicubic": (lambda t: ue.interpolate(t, (9, 8), mode="bicubic"),
                    lambda t: F.interpolate(t, (9, 8), mode="bicubic"), (x,)),
        "conv_transpose2d": (lambda t, w, b: ue.conv_transpose2d(t, w, b, 2, 1, groups=4), convolved,
                             (x, weight, bias)),
        "conv_transpose2d, another stride": (
            lambda t, w, b: ue.conv_transpose2d(t, w, b, 3, 1, groups=4),
            lambda t, w, b: F.conv_transpose2d(t, w, b, 3, 1, groups=4), (x, weight, bias)),
        "without bias": (lambda t, w: ue.conv_transpose2d(t, w, None, 2, 1, groups=4),
                         lambda t, w: convolved(t, w, None), (x, weight)),
        "fixed": (lambda t: ue.fixed_conv_transpose2d(t, plane, 2, 1),
                  lambda t: F.conv_transpose2d(t, planes, None, 2, 1, groups=4), (x,)),
        "bilinear": (lambda t: ue.bilinear_conv_transpose2d(t, 2, padding_mode="replicate"),
                     lambda t: F.interpolate(t, scale_factor=2, mode="bilinear"), (x,)),
        "add": (lambda t: ue.upsample_add(t, ue.interpolate(t, (9, 8), mode="bilinear")),
                lambda t: 2 * resized(t), (x,)),
        "concat": (lambda t: ue.upsample_concat([t, t], (9, 8)),
                   lambda t: torch.cat([resized(t), resized(t)], 1), (x,)),
        "cross_entropy": (
            ue.upsample_cross_entropy,
            lambda t, u: F.cross_entropy(resized(t), u), (x, target)),
        "argmax": (lambda t: ue.upsample_argmax(t, (9, 8)), lambda t: resized(t).argmax(1), (x,)),
        "threshold": (lambda t: ue.upsample_threshold(t, (9, 8), threshold=0.5),
                      lambda t: resized(t) > 0.5, (x,)),
        "chain": (lambda t: chain_resample(t, stages), chain, (x,)),
        "chain threshold": (lambda t: chain_threshold(t, stages, 0.5), lambda t: chain(t) > 0.5, (x,)),
        "chain argmax": (lambda t: chain_argmax(t, stages), lambda t: chain(t).argmax(1), (x,)),
    }

    def results(function, tensors):
        leaves = [t.detach().clone().requires_grad_(t.is_floating_point()) for t in tensors]
        output = function(*leaves)
        if not output.requires_grad:
            return output, []
        output.square().sum().backward()
        return output.detach(), [t.grad for t in leaves if t.grad is not None]

    for name, (ours, native, tensors) in CALLS.items():
        expected, expected_grads = results(native, tensors)
        for placement in (Replicate(), Shard(0), Shard(1)):
            if name == "cross_entropy" and placement == Shard(1):
                continue  # classes, which native's own loss does not take sharded
            placed = []
            for i, t in enumerate(tensors):
                of_weight = Shard(0) if placement == Shard(1) else Replicate()
                shared = i > 0 and name != "cross_entropy"
                placed.append(distribute_tensor(t, mesh, [of_weight if shared else placement]))
            found, grads = results(ours, placed)
            assert found.shape == expected.shape, (name, placement, found.shape)
            torch.testing.assert_close(found.full_tensor(), expected, msg=lambda m: f"{name}: {m}")
            for grad, wanted in zip(grads, expected_grads, strict=True):
                torch.testing.assert_close(grad.full_tensor(), wanted, msg=lambda m: f"{name}, gradient: {m}")

    # Of a plain weight native makes an error, under patch() too; a plain fixed kernel is every process's own.
    image = distribute_tensor(x, mesh, [Shard(0)])
    with upsample_ext.patch():
        for function in (F.conv_transpose2d, upsample_ext.conv_transpose2d):
            try:
                function(image, weight, groups=4)
            except RuntimeError as error:
                assert "mixed torch.Tensor and DTensor" in str(error), error
            else:
                raise AssertionError("no error")
    torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("world", [1, 2])
def test_every_function_of_distributed_tensors(world, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, tmp_path / "store"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(world)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-4000:]
