#!/usr/bin/env python3
"""Golden values of scipy.signal.correlate and convolve in one to four dimensions.

    python3 generate_nd.py             writes nd_golden.json beside itself

`exact`: int64, every mode, both functions; an operand pair that `valid` refuses holds null there.
`wrapping`: int32 near its limits; numpy wraps on overflow, and so must a port.
`real`: float64.
The 2-D functions are here for what seed_golden.json lacks: where `same` starts when the second operand is even.
"""
import itertools, json
from pathlib import Path
import numpy as np, scipy
from scipy import signal

OUT = Path(__file__).with_name("nd_golden.json")
MODES = ("valid", "full", "same")


def arr(a):
    return {"shape": list(a.shape), "dtype": str(a.dtype), "data": a.ravel().tolist()}


def results(a, b):
    """{function: {mode: array or null}}"""
    fns = {fn: (lambda a, b, mode, fn=fn: getattr(signal, fn)(a, b, mode, method="direct")) for fn in ("correlate", "convolve")}
    if a.ndim == 2:
        fns |= {fn: getattr(signal, fn) for fn in ("correlate2d", "convolve2d")}
    out = {}
    for fn, mode in itertools.product(fns, MODES):
        try:
            got = arr(fns[fn](a, b, mode))
        except ValueError:                                   # neither operand contains the other
            got = None
        out.setdefault(fn, {})[mode] = got
    return out


def case(a, b):
    return {"a": arr(a), "b": arr(b), "out": results(a, b)}


rng = np.random.RandomState(19731031)
small = lambda s: rng.randint(-9, 10, s)
EXACT = [((1,), (1,)), ((1,), (4,)), ((7,), (3,)), ((7,), (4,)), ((3,), (7,)), ((4,), (7,)), ((40,), (5,)),
         ((3, 5), (2, 2)), ((4, 4), (1, 4)), ((2, 2), (4, 5)), ((2, 5), (4, 3)),
         ((1, 1, 1), (2, 1, 3)), ((3, 4, 5), (2, 3, 2)), ((2, 3, 4), (2, 3, 4)), ((2, 2, 3), (3, 4, 4)), ((3, 1, 4), (2, 2, 2)),
         ((5, 1, 1), (2, 1, 1)), ((2, 4, 18), (1, 2, 3)),
         ((2, 3, 3, 4), (1, 2, 2, 3)), ((2, 1, 2, 2), (2, 2, 3, 3)), ((2, 2, 2, 2), (2, 2, 2, 2)), ((1, 3, 1, 5), (2, 1, 1, 2))]
REAL = [((9,), (4,)), ((3, 4, 5), (2, 2, 3)), ((2, 2, 3, 3), (1, 2, 2, 2))]
WRAP = [((6,), (3,)), ((3, 4), (2, 2)), ((2, 2, 3), (1, 2, 2))]
near = lambda s: rng.randint(-2**31, 2**31, s, dtype=np.int64).astype(np.int32)
G = {"about": {"numpy": np.__version__, "scipy": scipy.__version__, "layout": "data is flat, C order"},
     "exact": [case(small(a), small(b)) for a, b in EXACT],
     "real": [case(rng.randn(*a), rng.randn(*b)) for a, b in REAL],
     "wrapping": [case(near(a), near(b)) for a, b in WRAP]}
OUT.write_text(json.dumps(G, separators=(",", ":")) + "\n")
print("wrote", OUT.name, OUT.stat().st_size, "bytes;", {k: len(v) for k, v in G.items() if k != "about"})
