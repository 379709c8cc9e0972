#!/usr/bin/env python3
"""Overlay beside another library: both run the same layers, and a table tells how many times as long the other takes.

    benches/peers/compare.py torch --suite mnist --threads 2

Suite by suite, overlay runs, then the other, then overlay again. A `~` marks a layer for which overlay's two times
differ by more than 10 %: other work on the machine disturbed them, and the ratio says little.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PASSES = ("forward", "input_gradient", "weight_gradient")
PYTHON = ("torch", "jax", "scipy")
RUST = ("burn", "candle", "ndarray-conv")


def main():
    args = arguments()
    suites = [suite for suite in json.loads(args.shapes.read_text()) if suite != "_" and args.suite in (suite, "all")]
    if not suites:
        sys.exit(f"{args.shapes} has no suite {args.suite!r}")
    ratios, raw = [], []
    for suite in suites:
        rows, lines = compare(args, suite)
        raw += lines
        ratios += rows
        show(rows)
    summary(ratios)
    if args.save:
        args.save.write_text("".join(json.dumps(line) + "\n" for line in raw))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PYTHON + RUST)
    parser.add_argument("--suite", default="all", help="a suite of the shapes file, or all")
    parser.add_argument("--shapes", type=pathlib.Path, default=HERE.parent / "shapes.json")
    parser.add_argument("--layer", default="", metavar="TEXT", help="only layers with this in their name")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="only this pass")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--secs", type=float, default=0.4, help="seconds to time each pass for, at least")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other library")
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="keep every measurement, in JSON lines")
    return parser.parse_args()


def compare(args, suite):
    """Rows (layer, pass, overlay's ms, the other's ms, whether disturbed), and every line that the benches printed."""
    ours, theirs = commands(args, suite)
    before, peer, after = (run(command, args.threads) for command in (ours, theirs, ours))
    times = [{(line["layer"], line["pass"]): line["ms"] for line in lines} for lines in (before, peer, after)]
    rows = []
    for key in times[0]:
        if key in times[1] and key in times[2]:
            first, other, second = (of[key] for of in times)
            disturbed = max(first, second) > 1.1 * min(first, second)
            rows.append((suite, *key, math.sqrt(first * second), other, disturbed))
    return rows, before + peer + after


def commands(args, suite):
    options = ["--suite", suite, "--shapes", args.shapes, "--secs", args.secs]
    options += ["--layer", args.layer] if args.layer else []
    options += [word for name in args.passes or [] for word in ("--pass", name)]
    cargo = ["cargo", "run", "--release", "--quiet", "--manifest-path"]
    ours = [*cargo, HERE.parent / "Cargo.toml", "--bin", "layers", "--", "--json", "--threads", args.threads, *options]
    if args.peer in PYTHON:
        theirs = [args.python, HERE / f"{args.peer}_layers.py", "--threads", args.threads, *options]
    else:
        theirs = [*cargo, HERE / "rust/Cargo.toml", "--", args.peer, *options]
    return ours, theirs


def run(command, threads):
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    output = subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.PIPE, text=True)
    if output.returncode != 0:
        sys.exit(f"failed: {' '.join(str(word) for word in command)}")
    return [json.loads(line) for line in output.stdout.splitlines()]


def show(rows):
    for suite, layer, name, ours, theirs, disturbed in rows:
        mark = "~" if disturbed else ""
        print(f"{suite:12}  {layer:20}  {name:15}  {ours:10.4f} ms  {theirs:10.4f} ms  {theirs / ours:7.2f}{mark}", flush=True)


def summary(rows):
    """The geometric mean and the least of the ratios."""
    print("\nthe other's time / overlay's: geometric mean, worst")
    for suite in dict.fromkeys(row[0] for row in rows):
        for name in PASSES:
            ratios = {row[1]: row[4] / row[3] for row in rows if (row[0], row[2]) == (suite, name)}
            if ratios:
                mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
                worst = min(ratios, key=ratios.get)
                print(f"{suite:12}  {name:15}  {mean:7.2f}  {ratios[worst]:7.2f} ({worst})")


if __name__ == "__main__":
    main()
