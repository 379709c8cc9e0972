//! Counting right and wrong answers.

use net::metrics::{Confusion, argmax, wilson_interval};
use proptest::prelude::*;

#[test]
fn the_first_largest_output_wins_and_nan_never() {
    assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Some(1));
    assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY, f32::NAN]), Some(1));
    assert_eq!(argmax(&[f64::NAN, 1.0, f64::NAN, 2.0]), Some(3));
    assert_eq!(argmax(&[f64::NAN; 3]), None);
    assert_eq!(argmax::<f32>(&[]), None);
}

#[test]
fn rates_are_those_of_the_definition() {
    let mut confusion = Confusion::new(3);
    // truth 0: five right, one taken for 1; truth 1: three right, two taken for 0; truth 2: none
    for (truth, predicted, times) in [(0, 0, 5), (0, 1, 1), (1, 1, 3), (1, 0, 2)] {
        (0..times).for_each(|_| confusion.add(truth, predicted));
    }
    assert_eq!((confusion.total(), confusion.correct(), confusion.errors()), (11, 8, 3));
    assert_eq!(confusion.accuracy(), 8.0 / 11.0);
    assert_eq!([0, 1, 2].map(|class| confusion.precision(class)), [Some(5.0 / 7.0), Some(0.75), None]);
    assert_eq!([0, 1, 2].map(|class| confusion.recall(class)), [Some(5.0 / 6.0), Some(0.6), None]);
    assert_eq!((confusion.count(1, 0), confusion.count(0, 1)), (2, 1));
}

#[test]
fn a_sample_without_a_prediction_is_an_error() {
    let mut confusion = Confusion::new(2);
    confusion.add(0, argmax(&[0.9, 0.1]));
    confusion.add(0, argmax(&[f64::NAN, f64::NAN]));
    assert_eq!((confusion.total(), confusion.errors(), confusion.recall(0)), (2, 1, Some(0.5)));
    let table = "\
true\\predicted     0     1  none
             0     1     .     1
             1     .     .     .
";
    assert_eq!(confusion.to_string(), table);
}

#[test]
fn columns_are_as_wide_as_the_largest_count() {
    let mut confusion = Confusion::new(2);
    (0..1234).for_each(|_| confusion.add(0, 0));
    confusion.add(1, 0);
    let table = "\
true\\predicted     0     1
             0  1234     .
             1     1     .
";
    assert_eq!(confusion.to_string(), table);
}

#[test]
fn parts_merge_into_the_whole() {
    let samples = [(0, 0), (1, 0), (2, 2), (2, 1), (1, 1)];
    let count = |samples: &[(usize, usize)]| {
        let mut confusion = Confusion::new(3);
        samples.iter().for_each(|&(truth, predicted)| confusion.add(truth, predicted));
        confusion
    };
    let mut merged = count(&samples[..2]);
    merged.merge(&count(&samples[2..]));
    assert_eq!(merged, count(&samples));
}

#[test]
fn nothing_counted_is_no_accuracy() {
    let empty = Confusion::new(10);
    assert_eq!((empty.total(), empty.accuracy(), empty.recall(0)), (0, 0.0, None));
}

#[test]
#[should_panic(expected = "class 3 in a confusion matrix of 3 classes")]
fn a_class_too_large_is_the_callers_mistake() {
    Confusion::new(3).add(0, 3);
}

/// Produced by scipy 1.17: `binomtest(k, n).proportion_ci(0.95, method='wilson')`.
#[test]
fn wilsons_interval_agrees_with_scipy() {
    let cases = [
        ((8, 10), (0.4901624715366418, 0.9433178485456248)),
        ((0, 10), (0.0, 0.27753279986288926)),
        ((10, 10), (0.7224672001371109, 1.0)),
        ((9900, 10000), (0.9878530177448853, 0.9917706638518516)),
        ((9967, 10000), (0.9953693594281882, 0.9976491765903818)),
    ];
    for ((correct, total), (low, high)) in cases {
        let (got_low, got_high) = wilson_interval(correct, total);
        assert!((got_low - low).abs() < 1e-14 && (got_high - high).abs() < 1e-14, "{correct} of {total}");
    }
    assert_eq!(wilson_interval(0, 0), (0.0, 1.0));
}

proptest! {
    #[test]
    fn wilsons_interval_holds_the_measured_share(total in 1..100_000u64, share in 0.0..=1.0) {
        let correct = (total as f64 * share) as u64;
        let (low, high) = wilson_interval(correct, total);
        let p = correct as f64 / total as f64;
        prop_assert!(0.0 <= low && low <= p + 1e-15 && p - 1e-15 <= high && high <= 1.0 && low < high);
    }
}
