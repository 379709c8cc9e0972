#!/usr/bin/env python3
"""Takes what the binary `article` shows out of the golden values of conv-kernels.

    python3 extract.py

They were made by running the article's own listing; see crates/conv-kernels/tests/golden/generate.py.
"""
import json
from pathlib import Path

HERE = Path(__file__).parent
golden = json.loads((HERE / "../../../crates/conv-kernels/tests/golden/seed_golden.json").read_text())


def case(kind, name, seed):
    return next(c for c in golden[kind] if c["name"] == name and c["seed"] == seed)


listing = {
    "diagrams": case("feature_map", "3x3, 2x2 (article's diagrams)", 7),
    "chained": golden["chained"][0],
    "demo": golden["demo_verbatim"][0],
    "scaled_feature_map": case("feature_map", "4x5 scaled to 0..1, 2x2", 0),
    "scaled_fully_connected": case("fully_connected", "scaled 4x5 -> 10", 0),
}
(HERE / "listing.json").write_text(json.dumps(listing, separators=(",", ":")) + "\n")
