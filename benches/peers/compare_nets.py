#!/usr/bin/env python3
"""Overlay beside another library: both train and run the same networks, and a table tells how overlay compares.

    benches/peers/compare_nets.py torch --batch 1,16,64,256 --threads 2

Network by network, overlay runs, then the other, then overlay again. A `~` marks a ratio between two times of overlay
that differ by more than 10 %: other work on the machine disturbed them, and it says little. The other suffers more from
such work, because its threads wait for each other in a loop: compare on a machine that does nothing else.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

import nets
import saved

HERE = pathlib.Path(__file__).resolve().parent


def main():
    args = arguments()
    lines, ratios = [], {figure: [] for figure in nets.FIGURES}
    cells = (f"{name:>12}  {'times':>6}  " for name in ("train img/s", "infer img/s", "single µs"))
    print(f"{'net':13}  {'batch':>5}", *cells, f"{'share':>7}")
    for batch in args.batch:
        for name in args.nets:
            before, theirs, after = (run(*command, args.threads) for command in commands(args, name, batch))
            lines += [before, theirs, after]
            show(before, theirs, after, ratios)
    means = (math.exp(sum(map(math.log, values)) / len(values)) for values in ratios.values())
    print("geometric mean", *(f"{figure} {mean:.2f}" for figure, mean in zip(ratios, means)), sep="  ")
    if args.save:
        saved.write(args.save, args.threads, lines)


def arguments():
    parser = nets.options(__doc__, argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("torch", "jax", "burn"))
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other library")
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="keep every measurement, in JSON lines")
    return parser.parse_args()


def commands(args, name, batch):
    """Overlay's, the other's, and overlay's again, each with the folder to run it in."""
    options = ["--nets", name, "--batch", batch, "--threads", args.threads, "--secs", args.secs]
    cargo = ["cargo", "run", "--release", "--quiet", "--manifest-path", HERE.parent / "Cargo.toml", "--bin", "steps"]
    ours = [*cargo, "--", "--json", *options]
    theirs = [args.python, HERE / f"{args.peer}_nets.py", *options]
    if args.peer == "burn":
        theirs = ["cargo", "run", "--release", "--quiet", "--locked", "--bin", "burn_nets", "--", *options]
    return (ours, None), (theirs, HERE / "rust" if args.peer == "burn" else None), (ours, None)


def run(command, folder, threads):
    """The one line that a bench prints for one network and batch. Rust libraries ask the environment for threads, and cargo its
    folder how to compile them."""
    command, environment = [str(word) for word in command], os.environ | {"RAYON_NUM_THREADS": str(threads)}
    output = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if output.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return json.loads(output.stdout)


def show(before, theirs, after, ratios):
    """A row: overlay's figures, and how many times as good they are as the other's."""
    cells = []
    for figure, key in (("train", "train_img_s"), ("infer", "infer_img_s"), ("single", "single_us")):
        ours = math.sqrt(before[key] * after[key])
        ratio = theirs[key] / ours if figure == "single" else ours / theirs[key]
        disturbed = max(before[key], after[key]) > 1.1 * min(before[key], after[key])
        ratios[figure].append(ratio)
        cells.append(f"{ours:12.1f}  {ratio:6.2f}{'~' if disturbed else ' '} ")
    share = math.sqrt(before["peak_share"] * after["peak_share"])
    print(f"{before['net']:13}  {before['batch']:5}", *cells, f"{100 * share:7.1f} %", flush=True)


if __name__ == "__main__":
    main()
