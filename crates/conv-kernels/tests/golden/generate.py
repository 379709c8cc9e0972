#!/usr/bin/env python3
"""Golden values: the article's own listing, its companions, and scipy's 2-D conventions.

    python3 generate.py ARTICLE        writes seed_golden.json beside itself

ARTICLE is the Markdown source of "Convolutional Neural Networks: An Intuitive Primer"
(nestedsoftware, 2019-05-28); numpy and scipy must be installed.

The script executes the article's own Python listing (xrange -> range, nothing else changed) so that the
numbers are the article's, not a re-implementation's; independent re-computations (plain loops, central
differences) are run beside it and must agree, or the script fails.  All random numbers come from
numpy's legacy generator (np.random.seed), whose stream numpy promises not to change.
Floats are written by json with repr(), i.e. the shortest text that round-trips the f64 exactly.
"""
import io, json, re, sys, warnings, contextlib
from pathlib import Path
import numpy as np, scipy
from scipy import signal

if len(sys.argv) != 2:
    sys.exit("usage: generate.py ARTICLE (the article's Markdown source)")
ARTICLE = Path(sys.argv[1])
OUT = Path(__file__).with_name("seed_golden.json")


def listing():
    text = ARTICLE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    code = next(b for b in blocks if "class FeatureMap" in b).replace("xrange", "range")
    defs, demo = code.split("input_data = np.arange(20)")          # library | demo part
    return defs, "input_data = np.arange(20)" + demo


DEFS, DEMO = listing()


def fresh():
    ns = {}
    exec(compile(DEFS, "article", "exec"), ns)
    return ns


def arr(a):
    """Array -> JSON: shape, dtype, flat C-order data."""
    a = np.asarray(a)
    if a.dtype == object:                                            # max_positions: tuples
        return {"shape": list(a.shape), "dtype": "position", "data": [[int(i), int(j)] for i, j in a.ravel()]}
    if np.iscomplexobj(a):
        return {"shape": list(a.shape), "dtype": str(a.dtype), "data": [[float(z.real), float(z.imag)] for z in a.ravel()]}
    return {"shape": list(a.shape), "dtype": str(a.dtype), "data": a.ravel().tolist()}


def loop_correlate_valid(x, w):
    M, N = x.shape; I, J = w.shape
    return np.array([[sum(x[r + i, c + j] * w[i, j] for i in range(I) for j in range(J))
                      for c in range(N - J + 1)] for r in range(M - I + 1)])


def close(a, b, tol, what):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape, (what, a.shape, b.shape)
    err = float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))) if a.size else 0.0
    assert err <= tol, (what, err)
    return err


# ---------------------------------------------------------------- the article's demo, verbatim
def demo(seed):
    ns = fresh()
    np.random.seed(seed)
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        exec(compile(DEMO, "article-demo", "exec"), ns)
    cl, mpl, fcl = ns["cl"], ns["mpl"], ns["fcl"]
    # the random numbers that the listing drew, in its order: what a port needs to start from
    np.random.seed(seed)
    draws = {"feature_map_w": np.random.randn(2, 2), "feature_map_b": np.random.randn(1, 1), "feature_map_gradient": np.random.randn(3, 4),
             "max_pool_gradient": np.random.randn(3, 4), "fully_connected_w": np.random.randn(10, 20),
             "fully_connected_b": np.random.randn(10, 1), "fully_connected_gradient": np.random.randn(10)}
    x = np.arange(20).reshape(4, 5)
    assert np.array_equal(signal.correlate2d(x, draws["feature_map_w"], mode="valid") + draws["feature_map_b"], cl.z)
    assert np.array_equal(np.dot(draws["fully_connected_w"], x.reshape(20, 1)) + draws["fully_connected_b"], fcl.z)
    return {"seed": seed, "draws": {k: arr(v) for k, v in draws.items()}, "warnings": sorted({str(x.message) for x in w}),
            "feature_map": {"z": arr(cl.z), "a": arr(cl.a), "w_after": arr(cl.w), "b_after": arr(cl.b),
                            "a_prev_gradient": arr(cl.a_prev_gradient)},
            "max_pool": {"max_values": arr(mpl.max_values), "max_positions": arr(mpl.max_positions),
                         "a_prev_gradient": arr(mpl.a_prev_gradient)},
            "fully_connected": {"z": arr(fcl.z), "a": arr(fcl.a), "w_after": arr(fcl.w), "b_after": arr(fcl.b),
                                "a_prev_gradient": arr(fcl.a_prev_gradient)}}


# ---------------------------------------------------------------- the same classes, step by step, inputs recorded
def feature_map(name, seed, x, overlay, step):
    ns = fresh(); np.random.seed(seed)
    fm = ns["FeatureMap"](x, overlay)
    w0, b0 = fm.w.copy(), fm.b.copy()
    a = fm.feed_forward().copy(); z = fm.z.copy()
    g = np.random.randn(*ns["get_feature_map_shape"](x.shape, overlay))
    dz = ns["dc_db"](z, g)
    ga = fm.propagate_backward(g, step)
    # independent: z by loops; gradients of C = sum(g * sigmoid(z)) by central differences
    close(z, loop_correlate_valid(x, w0) + b0, 1e-12, name + " z")
    f = lambda x_, w_, b_: float(np.sum(g * ns["sigmoid"](loop_correlate_valid(x_, w_) + b_)))
    h = 1e-5
    def num(which):
        base = {"x": x.astype(float), "w": w0, "b": b0}[which]; out = np.zeros(base.shape)
        for i in np.ndindex(*base.shape):
            p, m = base.copy(), base.copy(); p[i] += h; m[i] -= h
            args = lambda v: (v if which == "x" else x, v if which == "w" else w0, v if which == "b" else b0)
            out[i] = (f(*args(p)) - f(*args(m))) / (2 * h)
        return out
    gb = signal.correlate2d(ns["sigmoid_prime"](z), g, mode="valid")
    gw = signal.correlate2d(x, dz, mode="valid")
    tol = 1e-7 * max(1.0, float(np.abs(x).max()) ** 2)
    errs = {"x": close(ga, num("x"), tol, name + " dx"), "w": close(gw, num("w"), tol, name + " dw"),
            "b": close(gb, num("b"), tol, name + " db")}
    close(fm.w, w0 - step * gw, 0, name); close(fm.b, b0 - step * gb, 0, name)
    return {"name": name, "seed": seed, "step_size": step, "input": arr(x), "w": arr(w0), "b": arr(b0),
            "z": arr(z), "a": arr(a), "a_gradient": arr(g), "b_gradient_components": arr(dz),
            "b_gradient": arr(gb), "w_gradient": arr(gw), "a_prev_gradient": arr(ga),
            "w_after": arr(fm.w), "b_after": arr(fm.b), "numeric_gradient_max_err": errs}


def max_pool(name, seed, x, overlay):
    ns = fresh(); np.random.seed(seed)
    mp = ns["MaxPoolingMap"](x, overlay)
    v = mp.feed_forward()
    g = np.random.randn(*ns["get_feature_map_shape"](x.shape, overlay))
    ga = mp.propagate_backward(g)
    close(ga.sum(), g.sum(), 1e-12, name + " gradient mass is kept")
    for r, c in np.ndindex(*v.shape):
        assert v[r, c] == x[r:r + overlay[0], c:c + overlay[1]].max() == x[mp.max_positions[r, c]]
    return {"name": name, "seed": seed, "overlay": list(overlay), "stride": 1, "input": arr(x), "max_values": arr(v),
            "max_positions": arr(mp.max_positions), "a_gradient": arr(g), "a_prev_gradient": arr(ga)}


def fully_connected(name, seed, x, n, step):
    ns = fresh(); np.random.seed(seed)
    fc = ns["FullyConnectedLayer"](x, n)
    w0, b0 = fc.w.copy(), fc.b.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = fc.feed_forward().copy(); z = fc.z.copy()
        g = ns["as_col"](np.random.randn(n))
        dz = ns["dc_db"](z, g); ga = fc.propagate_backward(g, step)
    close(z, w0 @ x.reshape(-1, 1) + b0, 1e-12, name)
    close(ga, (w0.T @ dz).reshape(x.shape), 1e-12, name)
    return {"name": name, "seed": seed, "step_size": step, "input": arr(x), "w": arr(w0), "b": arr(b0), "z": arr(z),
            "a": arr(a), "a_gradient": arr(g), "b_gradient": arr(dz), "w_gradient": arr(dz @ x.reshape(1, -1)),
            "a_prev_gradient": arr(ga), "w_after": arr(fc.w), "b_after": arr(fc.b)}


def pool_diagram():
    """The article's max-pooling picture (r90l2lnvraqju2n14vqm.png), values read off it: overlapping, stride 1."""
    ns = fresh()
    x = np.array([[-.7, -.2, -.6], [.3, -.6, .1], [.3, .5, .2]]); g = np.array([[.025, .035], [-.013, .091]])
    mp = ns["MaxPoolingMap"](x, (2, 2)); v = mp.feed_forward(); ga = mp.propagate_backward(g)
    assert v.tolist() == [[.3, .1], [.5, .5]] and ga.tolist() == [[0, 0, 0], [.025, 0, .035], [0, -.013 + .091, 0]]
    return {"name": "article diagram", "overlay": [2, 2], "stride": 1, "input": arr(x), "max_values": arr(v),
            "max_positions": arr(mp.max_positions), "a_gradient": arr(g), "a_prev_gradient": arr(ga)}


# ---------------------------------------------------------------- chained layers (article's prose, its 3-D stacks)
def chained(seed, depth_in, depth_out, size, k):
    """One conv layer on a 3-D stack, exactly as the article's prose says; sigmoid; C = sum(g*a)."""
    np.random.seed(seed)
    x = np.random.rand(depth_in, size, size)
    w = np.random.randn(depth_out, depth_in, k, k) * 0.5
    b = np.random.randn(depth_out) * 0.5
    o = size - k + 1
    g = np.random.randn(depth_out, o, o)
    sig = lambda t: 1 / (1 + np.exp(-t))
    # forward: 3-D valid correlation of the stack with each stacked filter (depth collapses to 1) ...
    z3 = np.stack([signal.correlate(x, w[m], mode="valid", method="direct")[0] + b[m] for m in range(depth_out)])
    # ... is the sum of 2-D correlations (appendix B)
    z2 = np.stack([sum(signal.correlate2d(x[d], w[m, d], mode="valid") for d in range(depth_in)) + b[m] for m in range(depth_out)])
    close(z3, z2, 1e-13, "appendix B on random stacks")
    dz = g * sig(z3) * (1 - sig(z3))
    gw = np.stack([signal.correlate(x, dz[m][None], mode="valid", method="direct") for m in range(depth_out)])
    gx = sum(signal.convolve(w[m], dz[m][None], mode="full", method="direct") for m in range(depth_out))
    gb = dz.sum(axis=(1, 2))
    f = lambda x_, w_: float(np.sum(g * sig(np.stack([sum(loop_correlate_valid(x_[d], w_[m, d]) for d in range(depth_in)) + b[m] for m in range(depth_out)]))))
    h = 1e-6
    for base, got, mk in ((x, gx, lambda v: (v, w)), (w, gw, lambda v: (x, v))):
        n = np.zeros(base.shape)
        for i in np.ndindex(*base.shape):
            p, m = base.copy(), base.copy(); p[i] += h; m[i] -= h
            n[i] = (f(*mk(p)) - f(*mk(m))) / (2 * h)
        close(got, n, 1e-7, "chained numeric gradient")
    return {"seed": seed, "x": arr(x), "w": arr(w), "b": arr(b), "z": arr(z3), "a": arr(sig(z3)), "a_gradient": arr(g),
            "b_gradient": arr(gb), "w_gradient": arr(gw), "x_gradient": arr(gx)}


# ---------------------------------------------------------------- appendices, checked against the printed text
def appendices():
    v = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]); f = np.array([[10, 20], [30, 40]]); r = np.rot90(f, 2)
    A = {"values": arr(v), "f": arr(f), "f_rot180": arr(r)}
    printed = {("correlate2d", "valid"): [[370, 470], [670, 770]], ("convolve2d", "valid"): [[230, 330], [530, 630]],
               ("correlate2d", "full"): [[40, 110, 180, 90], [180, 370, 470, 210], [360, 670, 770, 330], [140, 230, 260, 90]],
               ("convolve2d", "full"): [[10, 40, 70, 60], [70, 230, 330, 240], [190, 530, 630, 420], [210, 520, 590, 360]]}
    for (fn, mode), want in printed.items():
        got = getattr(signal, fn)(v, f, mode=mode); assert got.tolist() == want, (fn, mode)
        A[f"{fn}_{mode}"] = arr(got)
    assert signal.correlate2d(v, r, mode="valid").tolist() == printed["convolve2d", "valid"]
    assert signal.correlate2d(v, r, mode="full").tolist() == printed["convolve2d", "full"]
    for fn in ("correlate2d", "convolve2d"):
        A[f"{fn}_same"] = arr(getattr(signal, fn)(v, f, mode="same"))          # not in the article
    m1, m2 = v, np.array([[9, 8, 7], [6, 5, 4], [3, 2, 1]]); f1, f2 = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
    r1, r2 = signal.correlate2d(m1, f1, mode="valid"), signal.correlate2d(m2, f2, mode="valid")
    st = signal.correlate(np.array([m1, m2]), np.array([f1, f2]), mode="valid")
    assert r1.tolist() == [[37, 47], [67, 77]] and r2.tolist() == [[175, 149], [97, 71]]
    assert (r1 + r2).tolist() == [[212, 196], [164, 148]] == st.reshape(2, 2).tolist()
    B = {"maps": arr(np.array([m1, m2])), "filters": arr(np.array([f1, f2])), "result1": arr(r1), "result2": arr(r2), "stacked": arr(st)}
    try:
        signal.sp.correlate; sp_bug = "signal.sp exists in this scipy"
    except AttributeError as e:
        sp_bug = f"AttributeError: {e}"
    B["article_line_signal.sp.correlate"] = sp_bug
    return A, B


# ---------------------------------------------------------------- scipy's 2-D conventions on many shapes
def conventions():
    rng = np.random.RandomState(20190528); out = []
    shapes = [((1, 1), (1, 1)), ((1, 5), (1, 3)), ((5, 1), (3, 1)), ((3, 3), (3, 3)), ((4, 5), (2, 2)), ((5, 4), (3, 2)),
              ((6, 7), (1, 1)), ((7, 6), (5, 5)), ((8, 3), (2, 3)), ((3, 8), (3, 2)), ((2, 2), (4, 5)), ((2, 3), (2, 3)),
              ((2, 5), (4, 3)), ((28, 28), (5, 5))]
    for (sa, sb) in shapes:
        for kind in ("int", "float"):
            a, b = (rng.randint(-9, 10, s) if kind == "int" else rng.randn(*s) for s in (sa, sb))
            if kind == "float" and sa == (28, 28): continue
            for fn in ("correlate2d", "convolve2d"):
                for mode in ("valid", "full", "same"):
                    c = {"fn": fn, "mode": mode, "a": arr(a), "b": arr(b)}
                    try: c["out"] = arr(getattr(signal, fn)(a, b, mode=mode))
                    except ValueError as e: c["error"] = str(e)
                    out.append(c)
    z = rng.randn(4, 4) + 1j * rng.randn(4, 4); k = rng.randn(2, 3) + 1j * rng.randn(2, 3)
    for fn in ("correlate2d", "convolve2d"):
        for mode in ("valid", "full"):
            out.append({"fn": fn, "mode": mode, "a": arr(z), "b": arr(k), "out": arr(getattr(signal, fn)(z, k, mode=mode)),
                        "note": "correlate2d conjugates its second argument"})
    return out


# ---------------------------------------------------------------- companions: the primer, PyTorch hello world, softmax
def companions():
    sg = lambda z: 1.0 / (1.0 + np.exp(-z)); sp = lambda z: sg(z) * (1 - sg(z))
    def tiny(factor):                       # factor 1: quadratic cost 1/2(a-y)^2 (primer); 2: torch MSELoss
        a0, w1, b1, w2, b2, y, h = 0.8, 1.58, -0.14, 2.45, -0.11, 1.0, 0.1
        z1 = w1 * a0 + b1; a1 = sg(z1); z2 = w2 * a1 + b2; a2 = sg(z2)
        d2 = sp(z2) * (factor * (a2 - y)); gw2 = a1 * d2; da1 = w2 * d2; d1 = sp(z1) * da1; gw1 = a0 * d1
        nb2, nw2, nb1, nw1 = b2 - d2 * h, w2 - gw2 * h, b1 - d1 * h, w1 - gw1 * h
        n1 = sg(nw1 * a0 + nb1); n2 = sg(nw2 * n1 + nb2)
        return dict(z_l1=z1, a_l1=a1, z_l2=z2, a_l2=a2, dc_db_l2=d2, dc_dw_l2=gw2, dc_da_l1=da1, dc_db_l1=d1, dc_dw_l1=gw1,
                    updated_b_l2=nb2, updated_w_l2=nw2, updated_b_l1=nb1, updated_w_l1=nw1, updated_a_l1=n1, updated_a_l2=n2,
                    cost=0.5 * (a2 - y) ** 2, updated_cost=0.5 * (n2 - y) ** 2)
    p = {k: float(v) for k, v in tiny(1).items()}; t = {k: float(v) for k, v in tiny(2).items()}
    printed = dict(z_l1=1.124, a_l1=0.7547299213576082, z_l2=1.73908830732614, a_l2=0.850571226530534, dc_db_l2=-0.018992369482903983,
                   dc_dw_l2=-0.014334109526226761, dc_da_l1=-0.04653130523311476, updated_b_l2=-0.1081007630517096,
                   updated_w_l2=2.451433410952623, dc_db_l1=-0.008613534018377424, dc_dw_l1=-0.006890827214701939,
                   updated_b_l1=-0.13913864659816227, updated_w_l1=1.5806890827214704, updated_a_l1=0.7549913210309638,
                   updated_a_l2=0.8510309824120517, cost=0.011164479170294499, updated_cost=0.011095884100559231)
    for k_, v in printed.items(): assert abs(p[k_] - v) <= 4 * np.spacing(abs(v)), (k_, p[k_], v)
    for k_, v in dict(a_l2=.8506, updated_w_l1=1.5814, updated_b_l1=-.1383, updated_w_l2=2.4529, updated_b_l2=-.1062, updated_a_l2=.8515).items():
        assert round(t[k_], 4) == v, k_
    # the primer's [2,3,2] demo (its listing prints nothing; these are the values it holds)
    b = [np.array([[0.54001045], [0.75958375], [0.01870296]]), np.array([[-0.32783478], [0.06061246]])]
    w = [np.array([[-0.11499179, 0.454649], [-0.65801895, 0.56618695], [-0.15686814, -0.87499479]]),
         np.array([[0.01071228, -0.49139708, -0.81775586], [-0.87455946, -0.08351883, -0.77534763]])]
    x, y, h = np.array([[0.8], [0.2]]), np.array([[0.], [1.]]), 0.1
    z1 = w[0] @ x + b[0]; a1 = sg(z1); z2 = w[1] @ a1 + b[1]; a2 = sg(z2)
    d2 = sp(z2) * (a2 - y); d1 = sp(z1) * (w[1].T @ d2)
    net = {"b": [arr(v) for v in b], "w": [arr(v) for v in w], "input": arr(x), "y": arr(y), "step_size": h, "z": [arr(z1), arr(z2)],
           "a": [arr(a1), arr(a2)], "b_after": [arr(b[0] - h * d1), arr(b[1] - h * d2)],
           "w_after": [arr(w[0] - h * d1 @ x.T), arr(w[1] - h * d2 @ a1.T)]}
    o = np.array([0.2, 0.4, 0.9]); s = np.exp(o) / np.exp(o).sum()
    assert np.round(s, 4).tolist() == [.2361, .2884, .4755] and round(float(-np.log(s[2])), 4) == .7434
    soft = {"output": arr(o), "target": 2, "softmax": arr(s), "loss": float(-np.log(s[2])), "gradient": arr(s - np.array([0, 0, 1.]))}
    return {"primer_1_1_1": p, "pytorch_hello_world_1_1_1": t, "primer_2_3_2": net, "softmax_cross_entropy": soft}


x45 = np.arange(20).reshape(4, 5)
pool = np.array([[8, 0, 11, 1, 6], [10, 2, 4, 14, 17], [5, 16, 19, 15, 7], [12, 13, 9, 18, 3]])
A, B = appendices()
G = {"about": {"numpy": np.__version__, "scipy": scipy.__version__, "python": sys.version.split()[0],
               "layout": "data is flat, C order; positions are [row, col]; floats round-trip f64 exactly"},
     "demo_verbatim": [demo(s) for s in (0, 1, 42)],
     "feature_map": [feature_map("article 4x5, 2x2", s, x45, (2, 2), 0.1) for s in (0, 1, 42)] +
                    [feature_map("4x5 scaled to 0..1, 2x2", s, x45 / 20.0, (2, 2), 0.1) for s in (0, 1, 42)] +
                    [feature_map("3x3, 2x2 (article's diagrams)", 7, np.arange(1, 10).reshape(3, 3) / 10.0, (2, 2), 0.1),
                     feature_map("overlay as large as input", 7, np.linspace(-1, 1, 12).reshape(3, 4), (3, 4), 0.1),
                     feature_map("1x1 overlay", 7, np.linspace(-1, 1, 12).reshape(3, 4), (1, 1), 0.1),
                     feature_map("1xN", 7, np.linspace(-1, 1, 6).reshape(1, 6), (1, 3), 0.5),
                     feature_map("9x7, 3x5", 7, np.sin(np.arange(63)).reshape(9, 7), (3, 5), 0.5)],
     "max_pool": [pool_diagram()] + [max_pool("article", s, pool, (2, 2)) for s in (0, 42)] +
                 [max_pool("ties: first in row-major order wins", 0, np.ones((3, 4)), (2, 2)),
                  max_pool("3x2 overlay", 0, pool, (3, 2)), max_pool("whole input", 0, pool, (4, 5)),
                  max_pool("negative values", 0, -pool, (2, 2))],
     "fully_connected": [fully_connected("article 4x5 -> 10", s, x45, 10, 0.1) for s in (0, 42)] +
                        [fully_connected("scaled 4x5 -> 10", 0, x45 / 20.0, 10, 0.1)],
     "chained": [chained(3, 3, 2, 6, 3), chained(4, 1, 1, 4, 2), chained(5, 2, 5, 7, 4)],
     "appendix_a": A, "appendix_b": B, "scipy_conventions": conventions(), "companions": companions()}
OUT.write_text(json.dumps(G, indent=None, separators=(",", ":")) + "\n")
print("wrote", OUT, OUT.stat().st_size, "bytes;", {k: len(v) for k, v in G.items()})
