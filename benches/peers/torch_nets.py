"""Whole networks in PyTorch: the best of eager, eager with channels last, and compiled.

Needs `pip install torch`, and a C++ compiler for the third.
"""

import sys

import torch
from torch import nn

import nets

KINDS = {
    "conv": lambda inputs, outputs, kernel, padding: nn.Conv2d(inputs, outputs, kernel, padding=padding),
    "pool": nn.MaxPool2d,
    "dense": nn.Linear,
    "dropout": nn.Dropout,
    "flatten": nn.Flatten,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
}


def ways(layers, batch):
    """Training steps and inference in every way: (figure, way, function)."""
    labels = torch.arange(batch) % nets.CLASSES
    for way in ("eager", "channels_last", "compile"):
        net, images = nn.Sequential(*(KINDS[kind](*sizes) for kind, *sizes in layers)), torch.rand(batch, 1, 28, 28)
        if way == "channels_last":
            net, images = (what.to(memory_format=torch.channels_last) for what in (net, images))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        run = prepared(net, way)

        def step():
            optimizer.zero_grad()
            nn.functional.cross_entropy(run(images), labels).backward()
            optimizer.step()

        try:
            step()
        except torch._dynamo.exc.TorchDynamoException as error:
            print(f"{way} is left out: {error}", file=sys.stderr)
            continue
        yield "train", way, step
        net.eval()
        with torch.inference_mode():
            for figure, x in (("infer", images), ("single", images[:1])):
                run = prepared(net, way)
                yield figure, way, lambda: run(x)


def prepared(net, way):
    """The network as it is to be called. Each use is compiled anew, for its own shapes."""
    if way != "compile":
        return net
    torch._dynamo.reset()
    return torch.compile(net)


def main():
    args = nets.arguments(__doc__)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    nets.measure(f"torch {torch.__version__}", args, ways)


if __name__ == "__main__":
    main()
