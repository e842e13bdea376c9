"""Runs the test suite over the emulated CUDA code: python run_suite.py FLAVOUR [pytest arguments].

All that is emulated (tests/conftest.py) in the plain flavour; in the sanitized and the traced one, which are
slower, the tests of SUBSET, which reach every kernel, every layout and every dtype.
"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import build  # noqa: E402

SUBSET = (
    "test_axes.py::test_values_and_gradients_of_every_layout",
    "test_axes.py::test_gradients_are_as_close_as_natives",
    "test_axes.py::test_channels_last_of_any_number_of_channels",
    "test_axes.py::test_long_axes",
    "test_axes.py::test_bytes",
    "test_axes.py::test_separable_kernels_of_many_taps",
    "test_axes.py::test_lines_and_volumes",
    "test_resample_random.py::test_any_resize_and_its_gradient",
    "test_smoke.py",
    "test_resample.py::test_values_and_strides_of_every_layout",
    "test_resample.py::test_values_of_scale_factors",
    "test_resample.py::test_out_keeps_its_strides",
    "test_resample_gradients.py::test_gradients_of_every_layout_of_grad_output",
    "test_resample_gradients.py::test_gradients_of_large_factors",
    "test_resample_gradients.py::test_gradients_of_scale_factors",
    "test_add.py::test_every_layout",
    "test_add.py::test_of_what_broadcasts_to_the_image",
    "test_concat.py::test_every_layout",
    "test_threshold.py::test_every_layout",
    "test_argmax.py::test_every_layout",
    "test_argmax.py::test_index_dtypes",
    "test_cross_entropy.py::test_every_layout",
    "test_cross_entropy.py::test_every_option",
    "test_deconv.py::test_values_gradients_and_strides_are_natives",
    "test_deconv.py::test_any_strides",
    "test_deconv_geometry.py::test_fixed_kernels",
    "test_deconv_geometry.py::test_gradients_of_fixed_kernels_by_large_strides",
    "test_deconv_geometry.py::test_weight_and_bias_of_any_strides",
)


def main():
    flavour, *arguments = sys.argv[1:]
    if flavour not in build.FLAVOURS:
        sys.exit(f"expected one of {', '.join(build.FLAVOURS)}, got {flavour}")
    if build.wrong_processor():
        print(f"not run: {build.wrong_processor()}")
        return
    build.build([flavour])
    named = any(argument.startswith("tests/") for argument in arguments)
    tests = [] if flavour == "plain" or named else [f"tests/{test}" for test in SUBSET]
    command = [sys.executable, "-m", "pytest", "-q", "--dist", "loadgroup", *tests, *arguments]
    environment = {**os.environ, **build.environment(flavour)}
    sys.exit(subprocess.run(command, cwd=build.package_directory(flavour), env=environment).returncode)


if __name__ == "__main__":
    main()
