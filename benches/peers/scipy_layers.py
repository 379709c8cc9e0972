"""Convolutions of one image with one kernel in scipy: the best of its functions that can compute each pass.

Needs `pip install scipy`. Layers with several images or channels, padding or strides are left out.
"""

import os

import common

ARGS = common.arguments(__doc__)
os.environ.setdefault("OMP_NUM_THREADS", str(ARGS.threads))

import numpy  # noqa: E402
import scipy  # noqa: E402
from scipy import ndimage, signal  # noqa: E402


def ways(layer):
    """A function from a pass to the functions that compute it."""
    random = numpy.random.default_rng(0)
    x, weight, dy = (
        random.standard_normal(shape[2:], dtype=numpy.float32)
        for shape in (layer.x_shape, layer.weight_shape, layer.y_shape)
    )
    rotated = weight[::-1, ::-1]

    def calls(name):
        if name == "forward":
            yield "correlate2d", lambda: signal.correlate2d(x, weight, "valid")
            yield "correlate", lambda: signal.correlate(x, weight, "valid", method="fft")
            yield "oaconvolve", lambda: signal.oaconvolve(x, rotated, "valid")
            yield "ndimage.correlate", lambda: ndimage.correlate(x, weight, mode="constant")
        elif name == "input_gradient":
            yield "convolve2d", lambda: signal.convolve2d(dy, weight, "full")
            yield "fftconvolve", lambda: signal.fftconvolve(dy, weight, "full")
            yield "oaconvolve", lambda: signal.oaconvolve(dy, weight, "full")
        else:
            yield "correlate2d", lambda: signal.correlate2d(x, dy, "valid")
            yield "correlate", lambda: signal.correlate(x, dy, "valid", method="fft")

    return calls


def main():
    for layer in common.layers(ARGS):
        plain = (layer.stride, layer.padding, layer.dilation, layer.groups) == (1, 0, 1, 1)
        if plain and (layer.batch, layer.inputs, layer.outputs) == (1, 1, 1):
            common.measure(f"scipy {scipy.__version__}", ARGS, layer, ways(layer))


if __name__ == "__main__":
    main()
