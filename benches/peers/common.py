"""What the benches of other libraries share: the layers, the command line, and how a call is timed.

Each bench prints one JSON object a layer and pass, as `layers --json` does.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

PASSES = ("forward", "input_gradient", "weight_gradient")


def arguments(description):
    """The command line, read. Threads are bounded by the processors that this process may use."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--suite", default="all", help="a suite of the shapes file, or all")
    parser.add_argument("--shapes", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "shapes.json")
    parser.add_argument("--layer", default="", metavar="TEXT", help="only layers with this in their name")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="only this pass")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--secs", type=float, default=0.4, help="seconds to time each pass for, at least")
    args = parser.parse_args()
    args.passes = args.passes or PASSES
    take_processors(parser, args.threads)
    return args


def take_processors(parser, count):
    """Keeps this process to as many processors: some libraries count them for their threads."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        if not 1 <= count <= len(processors):
            parser.error(f"--threads must be 1 to {len(processors)}")
        os.sched_setaffinity(0, processors[:count])


class Layer:
    """One convolution: NCHW images, OIHW weights, single precision."""

    def __init__(self, suite, name, numbers):
        self.suite, self.name = suite, name
        self.batch, self.inputs, self.height, self.width, self.outputs = numbers[:5]
        self.kernel, (self.stride, self.padding, self.dilation, self.groups) = numbers[5:7], numbers[7:]

    @property
    def x_shape(self):
        return self.batch, self.inputs, self.height, self.width

    @property
    def weight_shape(self):
        return self.outputs, self.inputs // self.groups, *self.kernel

    @property
    def y_shape(self):
        covers = [(side - 1) * self.dilation + 1 for side in self.kernel]
        sizes = [
            (size + 2 * self.padding - cover) // self.stride + 1
            for size, cover in zip((self.height, self.width), covers)
        ]
        return self.batch, self.outputs, *sizes

    @property
    def flops(self):
        """Two for each multiply-add of the definition."""
        batch, outputs, height, width = self.y_shape
        _, depth, kernel_height, kernel_width = self.weight_shape
        return 2 * batch * outputs * height * width * depth * kernel_height * kernel_width


def layers(args):
    """The layers that the arguments ask for."""
    for suite, entries in json.loads(args.shapes.read_text()).items():
        if suite != "_" and args.suite in (suite, "all"):
            for name, numbers in entries.items():
                if args.layer in name:
                    yield Layer(suite, name, numbers)


def median_seconds(call, least_seconds):
    """The median duration of a call, over at least 5 calls and `least_seconds`, after 2 to warm up."""
    call()
    call()
    times = []
    while len(times) < 5 or sum(times) < least_seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(peer, args, layer, calls):
    """Times the best way to compute each pass. `calls(pass)` yields the ways: (name, function without arguments)."""
    for name in args.passes:
        ways = [(median_seconds(call, args.secs), way) for way, call in calls(name)]
        if ways:
            seconds, way = min(ways)
            result = {
                "peer": peer, "threads": args.threads, "suite": layer.suite, "layer": layer.name, "pass": name,
                "ms": round(seconds * 1e3, 5), "gflops": round(layer.flops / seconds / 1e9, 2), "kernel": way,
            }
            print(json.dumps(result), flush=True)
