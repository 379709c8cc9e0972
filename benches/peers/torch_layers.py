"""Convolution layers in PyTorch, as a user calls them: the better of the contiguous and the channels-last format.

Needs `pip install torch`.
"""

import torch

import common


def ways(layer):
    """A function from a pass to the ways of computing it: with images of each memory format."""
    inputs, weights = torch.randn(layer.x_shape), torch.randn(layer.weight_shape) * 0.1
    bias, gradients = torch.randn(layer.outputs), torch.randn(layer.y_shape)
    geometry = [[layer.stride] * 2, [layer.padding] * 2, [layer.dilation] * 2]

    def calls(name):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x, weight, dy = (array.to(memory_format=memory_format) for array in (inputs, weights, gradients))

            def forward():
                return torch.nn.functional.conv2d(x, weight, bias, *geometry, layer.groups)

            def backward(wanted):
                sizes = [layer.outputs], *geometry, False, [0, 0], layer.groups
                return torch.ops.aten.convolution_backward(dy, x, weight, *sizes, wanted)

            run = {
                "forward": forward,
                "input_gradient": lambda: backward([True, False, False]),
                "weight_gradient": lambda: backward([False, True, True]),
            }
            yield str(memory_format).removeprefix("torch."), run[name]

    return calls


def main():
    args = common.arguments(__doc__)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        for layer in common.layers(args):
            common.measure(f"torch {torch.__version__}", args, layer, ways(layer))


if __name__ == "__main__":
    main()
