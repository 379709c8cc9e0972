"""What the benches of whole networks in other libraries share: the networks, the command line, and how they are timed.

Each bench prints one JSON object a network and batch, as `steps --json` does.
"""

import argparse
import json
import os

import common

FIGURES = ("train", "infer", "single")
CLASSES = 10

# ("conv", inputs, outputs, kernel, padding), ("pool", window), ("dense", inputs, outputs), ("dropout", probability), …
NETS = {
    "mlp30": (("flatten",), ("dense", 784, 30), ("sigmoid",), ("dense", 30, 10)),
    "lenet5": (
        ("conv", 1, 6, 5, 2), ("relu",), ("pool", 2), ("conv", 6, 16, 5, 0), ("relu",), ("pool", 2), ("flatten",),
        ("dense", 400, 120), ("relu",), ("dense", 120, 84), ("relu",), ("dense", 84, 10),
    ),
    "nielsen": (
        ("conv", 1, 20, 5, 0), ("relu",), ("pool", 2), ("conv", 20, 40, 5, 0), ("relu",), ("pool", 2), ("flatten",),
        ("dense", 640, 100), ("relu",), ("dense", 100, 10),
    ),
    "torch-example": (
        ("conv", 1, 32, 3, 0), ("relu",), ("conv", 32, 64, 3, 0), ("relu",), ("pool", 2), ("dropout", 0.25),
        ("flatten",), ("dense", 9216, 128), ("relu",), ("dropout", 0.5), ("dense", 128, 10),
    ),
}


def options(description, formatter=argparse.HelpFormatter):
    """A parser of the options that `steps` has too."""
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    parser.add_argument("--nets", type=names, default=list(NETS), help="networks, with commas between them")
    parser.add_argument("--batch", type=sizes, default=[64], metavar="N", help="images in a batch; several with commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--secs", type=float, default=1.0, help="seconds for each measurement, at least")
    return parser


def arguments(description):
    """The command line, read. Threads are bounded by the processors that this process may use."""
    parser = options(description)
    args = parser.parse_args()
    common.take_processors(parser, args.threads)
    return args


def names(text):
    for name in text.split(","):
        if name not in NETS:
            raise argparse.ArgumentTypeError(f"no network {name!r}: there are {', '.join(NETS)}")
    return text.split(",")


def sizes(text):
    batches = [int(number) for number in text.split(",")]
    if min(batches) < 1:
        raise argparse.ArgumentTypeError("a batch has at least 1 image")
    return batches


def measure(peer, args, ways):
    """Times each network in all ways: `ways(layers, batch)` yields (figure, name of the way, function).

    A function is timed before the next one is asked for. Of each figure the best way counts.
    """
    for batch in args.batch:
        for name in args.nets:
            times = {figure: [] for figure in FIGURES}
            for figure, way, call in ways(NETS[name], batch):
                times[figure].append((common.median_seconds(call, args.secs), way))
            best = {figure: min(entries) for figure, entries in times.items()}
            result = {
                "peer": peer, "net": name, "batch": batch, "threads": args.threads,
                "train_img_s": round(batch / best["train"][0]), "infer_img_s": round(batch / best["infer"][0]),
                "single_us": round(best["single"][0] * 1e6, 2), "ways": {figure: best[figure][1] for figure in FIGURES},
            }
            print(json.dumps(result), flush=True)
