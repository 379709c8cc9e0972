//! `correlate` and `convolve` against values that scipy computed (tests/golden says how).

mod golden;

use conv_kernels::{Element, KernelError, Mode, convolve, convolve2d, correlate, correlate2d};
use golden::{assert_close, complex, dtype, ints, list, reals};
use ndarray::{ArrayD, Ix2};
use serde_json::Value;

fn mode(name: &str) -> Mode {
    match name {
        "valid" => Mode::Valid,
        "full" => Mode::Full,
        "same" => Mode::Same,
        _ => panic!("no mode {name}"),
    }
}

/// Calls the function that scipy.signal knows by this name.
fn call<T: Element>(name: &str, first: &ArrayD<T>, second: &ArrayD<T>, mode: Mode) -> Result<ArrayD<T>, KernelError> {
    let two = |a: &ArrayD<T>| a.clone().into_dimensionality::<Ix2>().expect("two axes");
    match name {
        "correlate" => correlate(first, second, mode),
        "convolve" => convolve(first, second, mode),
        "correlate2d" => correlate2d(&two(first), &two(second), mode).map(ndarray::Array::into_dyn),
        "convolve2d" => convolve2d(&two(first), &two(second), mode).map(ndarray::Array::into_dyn),
        _ => panic!("no function {name}"),
    }
}

/// Complex operands, as real correlations: `Σ a·conj(b)` for `correlate2d`, `Σ a·b` for `convolve2d`.
fn call_complex(name: &str, first: &Value, second: &Value, mode: Mode) -> (ArrayD<f64>, ArrayD<f64>) {
    let ((ar, ai), (br, mut bi)) = (complex(first), complex(second));
    if name == "correlate2d" {
        bi = -bi;
    }
    let real = |a: &ArrayD<f64>, b: &ArrayD<f64>| call(name, a, b, mode).expect("scipy accepts these");
    (real(&ar, &br) - real(&ai, &bi), real(&ar, &bi) + real(&ai, &br))
}

#[test]
fn scipy_conventions() {
    let golden = golden::seed();
    let cases = list(&golden["scipy_conventions"]);
    assert_eq!(cases.len(), 166);
    let mut refused = 0;
    for (number, case) in cases.iter().enumerate() {
        let (name, mode) = (case["fn"].as_str().expect("a name"), mode(case["mode"].as_str().expect("a mode")));
        let (a, b, out) = (&case["a"], &case["b"], &case["out"]);
        let what = format!("case {number}: {name} {mode:?} of {} and {}", a["shape"], b["shape"]);
        if case.get("error").is_some() {
            let error = call(name, &reals(a), &reals(b), mode).expect_err(&what);
            assert!(matches!(error, KernelError::NeitherContains { .. }), "{what}: {error}");
            refused += 1;
        } else if dtype(a) == "int64" {
            assert_eq!(call(name, &ints(a), &ints(b), mode), Ok(ints(out)), "{what}");
        } else if dtype(a) == "float64" {
            assert_close(&call(name, &reals(a), &reals(b), mode).expect(&what), &reals(out), 1e-12, &what);
        } else {
            let ((re, im), (want_re, want_im)) = (call_complex(name, a, b, mode), complex(out));
            assert_close(&re, &want_re, 1e-12, &what);
            assert_close(&im, &want_im, 1e-12, &what);
        }
    }
    assert_eq!(refused, 4);
}

#[test]
fn appendix_a() {
    let golden = golden::seed();
    let a = &golden["appendix_a"];
    let (values, f) = (ints(&a["values"]), ints(&a["f"]));
    for name in ["correlate2d", "convolve2d"] {
        for mode_name in ["valid", "full", "same"] {
            let want = ints(&a[format!("{name}_{mode_name}")]);
            assert_eq!(call(name, &values, &f, mode(mode_name)), Ok(want), "{name} {mode_name}");
        }
    }
    let rotated = ints(&a["f_rot180"]);
    for mode_name in ["valid", "full"] {
        let want = ints(&a[format!("convolve2d_{mode_name}")]);
        assert_eq!(call("correlate2d", &values, &rotated, mode(mode_name)), Ok(want), "rotated, {mode_name}");
    }
}

#[test]
fn appendix_b() {
    let golden = golden::seed();
    let b = &golden["appendix_b"];
    let (maps, filters) = (ints(&b["maps"]), ints(&b["filters"]));
    assert_eq!(correlate(&maps, &filters, Mode::Valid), Ok(ints(&b["stacked"])));
    for (index, result) in ["result1", "result2"].into_iter().enumerate() {
        let map = maps.index_axis(ndarray::Axis(0), index);
        let filter = filters.index_axis(ndarray::Axis(0), index);
        assert_eq!(correlate(&map, &filter, Mode::Valid), Ok(ints(&b[result])), "{result}");
    }
}

/// Runs `check` on every result of a section of the N-D file.
fn for_each_result(section: &str, mut check: impl FnMut(&str, Mode, &Value, &Value, &Value, &str)) {
    let golden = golden::nd();
    for case in list(&golden[section]) {
        let (a, b) = (&case["a"], &case["b"]);
        for (name, modes) in case["out"].as_object().expect("functions") {
            for (mode_name, out) in modes.as_object().expect("modes") {
                let what = format!("{name} {mode_name} of {} and {}", a["shape"], b["shape"]);
                check(name, mode(mode_name), a, b, out, &what);
            }
        }
    }
}

#[test]
fn any_number_of_axes() {
    let (mut checked, mut refused) = (0, 0);
    for_each_result("exact", |name, mode, a, b, out, what| {
        let got = call(name, &ints(a), &ints(b), mode);
        if out.is_null() {
            assert!(matches!(got, Err(KernelError::NeitherContains { .. })), "{what}");
            refused += 1;
        } else {
            assert_eq!(got, Ok(ints(out)), "{what}");
        }
        checked += 1;
    });
    assert_eq!((checked, refused), (156, 8));
}

#[test]
fn real_numbers() {
    for_each_result("real", |name, mode, a, b, out, what| {
        assert_close(&call(name, &reals(a), &reals(b), mode).expect(what), &reals(out), 1e-12, what);
    });
}

#[test]
fn integers_wrap_as_numpys_do() {
    let mut wrapped = 0;
    for_each_result("wrapping", |name, mode, a, b, out, what| {
        let narrow = |value| ints(value).mapv(|v| i32::try_from(v).expect("an int32"));
        let got = call(name, &narrow(a), &narrow(b), mode).expect(what);
        assert_eq!(got, narrow(out), "{what}");
        // the same sums in 64 bits are others
        let wide = call(name, &ints(a), &ints(b), mode).expect(what);
        wrapped += usize::from(wide != got.mapv(i64::from));
    });
    assert_eq!(wrapped, 24);
}
