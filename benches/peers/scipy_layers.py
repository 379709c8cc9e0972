"""Convolutions of one image with one kernel in scipy: the best of its functions that can compute each pass.

Needs `pip install scipy`. numpy adds the bias. Only Fourier transforms use several threads. Layers with several images
or channels, padding or strides are left out.
"""

import common
import numpy
import scipy
from scipy import ndimage, signal


def ways(layer):
    """A function from a pass to the functions that compute it."""
    random = numpy.random.default_rng(0)
    x, weight, dy = (
        random.standard_normal(shape[2:], dtype=numpy.float32)
        for shape in (layer.x_shape, layer.weight_shape, layer.y_shape)
    )
    rotated, bias = weight[::-1, ::-1], numpy.float32(0.5)
    # ndimage computes the borders as well
    inner = tuple(slice(side // 2, side // 2 + size) for side, size in zip(weight.shape, dy.shape))

    def calls(name):
        if name == "forward":
            yield "correlate2d", lambda: signal.correlate2d(x, weight, "valid") + bias
            yield "correlate", lambda: signal.correlate(x, weight, "valid", method="fft") + bias
            yield "oaconvolve", lambda: signal.oaconvolve(x, rotated, "valid") + bias
            yield "ndimage.correlate", lambda: ndimage.correlate(x, weight, mode="constant")[inner] + bias
        elif name == "input_gradient":
            yield "convolve2d", lambda: signal.convolve2d(dy, weight, "full")
            yield "fftconvolve", lambda: signal.fftconvolve(dy, weight, "full")
            yield "oaconvolve", lambda: signal.oaconvolve(dy, weight, "full")
        else:
            yield "correlate2d", lambda: (signal.correlate2d(x, dy, "valid"), dy.sum())
            yield "correlate", lambda: (signal.correlate(x, dy, "valid", method="fft"), dy.sum())

    return calls


def main():
    args = common.arguments(__doc__)
    with scipy.fft.set_workers(args.threads):
        for layer in common.layers(args):
            plain = (layer.stride, layer.padding, layer.dilation, layer.groups) == (1, 0, 1, 1)
            if plain and (layer.batch, layer.inputs, layer.outputs) == (1, 1, 1):
                common.measure(f"scipy {scipy.__version__}", args, layer, ways(layer))


if __name__ == "__main__":
    main()
