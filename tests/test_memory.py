"""Memory beyond the result: bounded by the work, and running out of it raises PyTorch's error."""

import subprocess
import sys
import textwrap

import pytest


def run(program, gigabytes=None):
    """Runs a program in a separate process, with this much address space beyond what the imports took."""
    limit = ""
    if gigabytes is not None:
        limit = f"""
            import resource
            torch.rand(64, 64) @ torch.rand(64, 64)  # the threads' stacks count too
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + int({gigabytes} * 2**30),) * 2)
        """
    whole = "import torch\nimport torch.nn.functional as F\nimport upsample_ext\n" + textwrap.dedent(limit)
    done = subprocess.run(
        [sys.executable, "-c", whole + textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# Of an image expanded to 2^31 columns, where a row takes 8 GiB, 24 are read.
CALLS = [
    "upsample_ext.interpolate(x, (17, 12), mode='bilinear')",
    "upsample_ext.interpolate(x, (17, 12), mode='bilinear', align_corners=True)",
    "upsample_ext.interpolate(x[:, :1], (17, 12), mode='bilinear')",
    "upsample_ext.interpolate(x[..., :1].mul(255).byte().expand(x.shape), (17, 12), mode='bilinear')",
    "upsample_ext.upsample_argmax(x, (17, 12))",
    "upsample_ext.upsample_argmax(x, (17, 12), return_score=True)[1]",
    "upsample_ext.upsample_threshold(x, (17, 12), threshold=0.5)",
    "upsample_ext.upsample_add(x, torch.ones(3, 5, 17, 12))",
    "upsample_ext.upsample_concat([x, x], (17, 12))",
    "upsample_ext.upsample_cross_entropy(x, torch.ones(3, 17, 12, dtype=torch.long), reduction='none')",
]


@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_a_very_wide_image_that_is_expanded(layout):
    program = f"""
        image = torch.rand(3, 5, 16, 1).to(memory_format=torch.{layout})
        for call in {CALLS}:
            results = [eval(call, globals() | {{"x": image.expand(3, 5, 16, n)}}) for n in (64, 2**31)]
            # Columns are equal, and weights sum to 1 but for rounding: a half may go either way.
            atol = 1 if results[0].dtype == torch.uint8 else 1e-6
            torch.testing.assert_close(*results, rtol=1e-6, atol=atol, msg=lambda why: call + why)
    """
    run(program, gigabytes=1)


def test_too_little_memory_is_pytorchs_error():
    calls = [
        "upsample_ext.fixed_conv_transpose2d(x, (torch.ones(1).expand(2**30), torch.ones(1)), "
        "padding=(2**29 - 1, 0), padding_mode='replicate')",
        "upsample_ext.interpolate(x, (2**20, 2**14), mode='bilinear')",
        "upsample_ext.upsample_argmax(x, (2**20, 2**14))",
    ]
    program = f"""
        x = torch.ones(1, 1, 4, 4)
        for call in {calls}:
            try:
                eval(call)
            except RuntimeError as error:
                assert "can't allocate memory" in str(error), error
            else:
                raise AssertionError("there was enough for " + call)
        expected = F.interpolate(x, (9, 9), mode="bilinear")
        torch.testing.assert_close(upsample_ext.interpolate(x, (9, 9), mode="bilinear"), expected)
    """
    run(program, gigabytes=1)
