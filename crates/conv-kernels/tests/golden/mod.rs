//! Reads the golden files beside it: arrays are objects `{shape, dtype, data}`, `data` flat in C order.
//!
//! Shared by test binaries: `mod golden;`, or `#[path = "…/tests/golden/mod.rs"]` from another crate.

#![allow(dead_code, reason = "each test binary uses its own part")]

use ndarray::ArrayD;
use serde_json::Value;

/// Values of the article's own listing, of its appendices and of scipy's 2-D functions (`generate.py`).
pub(crate) fn seed() -> Value {
    serde_json::from_str(include_str!("seed_golden.json")).expect("seed_golden.json is JSON")
}

/// Values of scipy's N-D functions (`generate_nd.py`).
pub(crate) fn nd() -> Value {
    serde_json::from_str(include_str!("nd_golden.json")).expect("nd_golden.json is JSON")
}

/// A list in a golden file.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("a list, not {value}"))
}

/// `"int64"`, `"float64"`, `"complex128"`, …
pub(crate) fn dtype(value: &Value) -> &str {
    value["dtype"].as_str().unwrap_or_else(|| panic!("an array with a dtype, not {value}"))
}

/// An integer array.
pub(crate) fn ints(value: &Value) -> ArrayD<i64> {
    assert!(dtype(value).starts_with("int"), "{}", dtype(value));
    array(value, |v| v.as_i64().expect("an integer"))
}

/// A real array; integers are converted.
pub(crate) fn reals(value: &Value) -> ArrayD<f64> {
    array(value, |v| v.as_f64().expect("a number"))
}

/// A complex array, as its real and its imaginary part.
pub(crate) fn complex(value: &Value) -> (ArrayD<f64>, ArrayD<f64>) {
    assert_eq!(dtype(value), "complex128");
    let part = |i: usize| array(value, |v| v[i].as_f64().expect("a pair of numbers"));
    (part(0), part(1))
}

/// Positions `[row, column]`, as the article's max pooling returns them.
pub(crate) fn positions(value: &Value) -> ArrayD<[usize; 2]> {
    assert_eq!(dtype(value), "position");
    array(value, |v| [0, 1].map(|i: usize| v[i].as_u64().expect("an index") as usize))
}

/// Asserts that two arrays agree within `tolerance`, relative to the larger of 1 and the expected value.
#[track_caller]
pub(crate) fn assert_close(got: &ArrayD<f64>, want: &ArrayD<f64>, tolerance: f64, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    for (index, want) in want.indexed_iter() {
        let error = (got[&index] - want).abs() / want.abs().max(1.0);
        assert!(error <= tolerance, "{what} at {index:?}: {} is not {want}", got[&index]);
    }
}

fn array<T>(value: &Value, element: impl Fn(&Value) -> T) -> ArrayD<T> {
    let shape: Vec<usize> = list(&value["shape"]).iter().map(|v| v.as_u64().expect("a length") as usize).collect();
    let data = list(&value["data"]).iter().map(element).collect();
    ArrayD::from_shape_vec(shape, data).expect("as many values as the shape says")
}
