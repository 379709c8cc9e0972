"""Convolution layers in JAX on the CPU, compiled: the better of the layouts NCHW and NHWC.

Needs `pip install jax`.
"""

import os

import common

ARGS = common.arguments(__doc__)  # before JAX counts the processors for its threads
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy  # noqa: E402
from jax import lax  # noqa: E402

LAYOUTS = (("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"))


def ways(layer):
    """A function from a pass to the ways of computing it: with images in each layout."""
    random = numpy.random.default_rng(0)
    images = random.standard_normal(layer.x_shape, dtype=numpy.float32)
    weights = random.standard_normal(layer.weight_shape, dtype=numpy.float32)
    gradients = random.standard_normal(layer.y_shape, dtype=numpy.float32)
    bias = jax.numpy.asarray(random.standard_normal(layer.outputs, dtype=numpy.float32))

    def calls(name):
        for layout in LAYOUTS:
            last = layout[0] == "NHWC"
            arranged = [
                jax.numpy.asarray(array.transpose(axes) if last else array)
                for array, axes in ((images, (0, 2, 3, 1)), (weights, (2, 3, 1, 0)), (gradients, (0, 2, 3, 1)))
            ]

            def forward(x, weight, bias):
                y = lax.conv_general_dilated(
                    x, weight, (layer.stride,) * 2, [(layer.padding,) * 2] * 2, rhs_dilation=(layer.dilation,) * 2,
                    dimension_numbers=layout, feature_group_count=layer.groups,
                )
                return y + (bias if last else bias[:, None, None])

            def input_gradient(x, weight, bias, dy):
                return jax.vjp(lambda x: forward(x, weight, bias), x)[1](dy)

            def weight_gradient(x, weight, bias, dy):
                return jax.vjp(lambda weight, bias: forward(x, weight, bias), weight, bias)[1](dy)

            yield layout[0], compiled(name, forward, input_gradient, weight_gradient, *arranged, bias)

    return calls


def compiled(name, forward, input_gradient, weight_gradient, x, weight, dy, bias):
    """A call that returns when the result is there."""
    if name == "forward":
        function, operands = jax.jit(forward), (x, weight, bias)
    else:
        function = jax.jit(input_gradient if name == "input_gradient" else weight_gradient)
        operands = (x, weight, bias, dy)
    return lambda: jax.block_until_ready(function(*operands))


def main():
    for layer in common.layers(ARGS):
        common.measure(f"jax {jax.__version__}", ARGS, layer, ways(layer))


if __name__ == "__main__":
    main()
