#!/usr/bin/env python3
"""Overlay beside other libraries: all run the same layers, and a table tells how many times as long the others take.

    benches/peers/compare.py torch jax scipy --suite mnist --threads 2
    benches/peers/compare.py torch candle --save results.jsonl
    benches/peers/compare.py results.jsonl others.jsonl

Suite by suite, overlay runs before and after each other library, and a ratio is of neighbours. A `~` marks a ratio
between two times of overlay that differ by more than 10 %: other work on the machine disturbed them, and it says little.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

import saved

HERE = pathlib.Path(__file__).resolve().parent
PASSES = ("forward", "input_gradient", "weight_gradient")
PYTHON = ("torch", "jax", "scipy")
RUST = ("burn", "candle", "ndarray-conv")


def main():
    args = arguments()
    lines = []
    for file in args.files:
        lines += [line for line in saved.read(file) if wanted(args, line)]
    show(lines)
    for suite in args.suites if args.peers else []:
        measured = measure(args, suite)
        show(measured)
        lines += measured
        if args.save:
            saved.write(args.save, args.threads, lines)
    summary(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = f"a library to run ({', '.join(PYTHON + RUST)}), or a file that --save wrote"
    parser.add_argument("what", nargs="+", metavar="LIBRARY|FILE", help=what)
    parser.add_argument("--suite", default="all", help="a suite of the shapes file, or all")
    parser.add_argument("--shapes", type=pathlib.Path, default=HERE.parent / "shapes.json")
    parser.add_argument("--layer", default="", metavar="TEXT", help="only layers with this in their name")
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES, help="only this pass")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--secs", type=float, default=0.4, help="seconds to time each pass for, at least")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the Python libraries")
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="keep every measurement, in JSON lines")
    args = parser.parse_args()
    args.peers = [what for what in args.what if what in PYTHON + RUST]
    args.files = [pathlib.Path(what) for what in args.what if what not in args.peers]
    for file in args.files:
        if not file.is_file():
            parser.error(f"{file}: neither a file nor one of {', '.join(PYTHON + RUST)}")
    if args.save and not args.peers:
        parser.error("--save keeps what a library took: name one to run")
    args.shapes = args.shapes.resolve()
    names = [suite for suite in json.loads(args.shapes.read_text()) if suite != "_"]
    args.suites = [suite for suite in names if args.suite in (suite, "all")]
    if not args.suites:
        parser.error(f"{args.shapes} has no suite {args.suite!r}: there are {', '.join(names)}")
    return args


def wanted(args, line):
    """Whether a line of a file is a measurement that the arguments ask for."""
    return (
        line.get("suite") in args.suites
        and args.layer in line["layer"]
        and (not args.passes or line["pass"] in args.passes)
    )


def measure(args, suite):
    """What the benches print, in the order in which they run: overlay between the others, first and last."""
    lines = run(args, "overlay", suite)
    for peer in args.peers:
        lines += run(args, peer, suite) + run(args, "overlay", suite)
    return lines


def run(args, peer, suite):
    """What one bench prints. The Rust ones run in their folder, where cargo finds how to compile them."""
    options = ["--suite", suite, "--shapes", args.shapes, "--secs", args.secs]
    options += ["--layer", args.layer] if args.layer else []
    options += [word for name in args.passes or [] for word in ("--pass", name)]
    cargo, folder = ["cargo", "run", "--release", "--quiet", "--locked"], None
    if peer in PYTHON:
        command = [args.python, HERE / f"{peer}_layers.py", "--threads", args.threads]
    elif peer in RUST:
        command, folder = [*cargo, "--", peer], HERE / "rust"
    else:
        cargo += ["--manifest-path", HERE.parent / "Cargo.toml", "--bin", "layers", "--"]
        command = [*cargo, "--json", "--threads", args.threads]
    command = [str(word) for word in command + options]
    environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    output = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if output.returncode != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return [json.loads(line) for line in output.stdout.splitlines()]


def ratios(lines):
    """By layer (suite, name, pass): overlay's ms, and by library, its time / overlay's and whether it was disturbed.

    A library's time is divided by the geometric mean of overlay's before and after it.
    """
    times = {}
    for line in lines:
        times.setdefault((line["suite"], line["layer"], line["pass"]), []).append((line["peer"], line["ms"]))
    table = {}
    for key, entries in times.items():
        ours = [ms for peer, ms in entries if peer == "overlay"]
        row = {}
        for (before, first), (peer, ms), (after, second) in zip(entries, entries[1:], entries[2:]):
            if peer != "overlay" and before == after == "overlay":
                row[peer] = ms / math.sqrt(first * second), max(first, second) > 1.1 * min(first, second)
        if row:
            table[key] = geometric_mean(ours), row
    return table


def libraries(table):
    return list(dict.fromkeys(peer for _, row in table.values() for peer in row))


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def heading(first, peers):
    """The names of the columns, the libraries' versions below."""
    names, versions = zip(*(peer.split(maxsplit=1) for peer in peers))
    print(first, *(f"{name:>14}" for name in names))
    print(" " * len(first), *(f"{version:>14}" for version in versions))


def show(lines):
    """A row for each layer and pass, a column for each library."""
    table = ratios(lines)
    if not table:
        return
    peers = libraries(table)
    heading(f"{'suite':12}  {'layer':20}  {'pass':15}  {'overlay ms':>10}", peers)
    for (suite, layer, name), (ms, row) in table.items():
        cells = (f"{row[peer][0]:13.2f}{'~' if row[peer][1] else ' '}" if peer in row else f"{'-':>13} " for peer in peers)
        print(f"{suite:12}  {layer:20}  {name:15}  {ms:10.4f}", *cells, flush=True)
    print()


def summary(lines):
    """The geometric mean and the least of the ratios of each suite and pass."""
    table = ratios(lines)
    if not table:
        sys.exit("nothing to compare: no library was measured between two runs of overlay")
    threads = {line["threads"] for line in lines}
    if len(threads) > 1:
        sys.exit(f"these were measured on different numbers of threads: {sorted(threads)}")
    peers = libraries(table)
    print(f"time / overlay's: geometric mean, worst; {threads.pop()} threads")
    heading(f"{'suite':12}  {'pass':15}", peers)
    for suite in dict.fromkeys(suite for suite, _, _ in table):
        for name in (*PASSES, "all"):
            rows = [row for key, (_, row) in table.items() if key[0] == suite and name in (key[2], "all")]
            columns = [[row[peer][0] for row in rows if peer in row] for peer in peers]
            if any(columns):
                cells = (f"{geometric_mean(of):7.2f} {min(of):6.2f}" if of else f"{'-':>14}" for of in columns)
                print(f"{suite:12}  {name:15}", *cells)


if __name__ == "__main__":
    main()
