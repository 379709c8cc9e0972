//! The feature map of the article's diagrams, a 3x3 input under a 2x2 overlay, with the functions of `conv-kernels`.

use std::io::Write;

use conv_kernels::{Mode, convolve2d, correlate2d};
use ndarray::{Array2, s};

use crate::functions::{dc_db, sigmoid, sigmoid_prime};
use crate::golden::FeatureMap;
use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>, golden: &FeatureMap) -> anyhow::Result<()> {
    report
        .section("A feature map: 3x3 input, 2x2 overlay, with correlate2d and convolve2d", "the listing in Python")?;
    report.text("The article's diagrams with numbers: input 0.1 to 0.9; w, b and a_gradient numpy's for seed 7.")?;
    let (a_prev, w) = (golden.input.shaped((3, 3))?, golden.w.shaped((2, 2))?);
    let (b, a_gradient) = (golden.b.shaped((1, 1))?, golden.a_gradient.shaped((2, 2))?);

    report.python(r#"self.z = sp.signal.correlate2d(self.a_prev, self.w, mode="valid") + self.b"#)?;
    rust!(report, let z = correlate2d(&a_prev, &w, Mode::Valid)? + b);
    report.check("z", &z, &golden.z.array()?)?;

    report.python("self.a = sigmoid(self.z)")?;
    rust!(report, let a = sigmoid(&z));
    report.check("a", &a, &golden.a.array()?)?;

    report.python("b_gradient_components = dc_db(self.z, a_gradient)")?;
    rust!(report, let components = dc_db(&z, &a_gradient));
    report.check("components", &components, &golden.b_gradient_components.array()?)?;

    report.python(r#"b_gradient = sp.signal.correlate2d(sigmoid_prime(self.z), a_gradient, mode="valid")"#)?;
    rust!(report, let b_gradient = correlate2d(&sigmoid_prime(&z), &a_gradient, Mode::Valid)?);
    report.check("b_gradient", &b_gradient, &golden.b_gradient.array()?)?;
    report.text("The diagram adds up the four components:")?;
    rust!(report, let sum = components.sum());
    report.check("b_gradient", &Array2::from_elem((1, 1), sum), &golden.b_gradient.array()?)?;

    report.python(r#"w_gradient = sp.signal.correlate2d(self.a_prev, b_gradient_components, mode="valid")"#)?;
    rust!(report, let w_gradient = correlate2d(&a_prev, &components, Mode::Valid)?);
    report.check("w_gradient", &w_gradient, &golden.w_gradient.array()?)?;
    report.text("The diagram adds four 2x2 matrices: each underlay, times the component of its neuron.")?;
    report.check("w_gradient", &sum_of_underlays(&a_prev, &components), &golden.w_gradient.array()?)?;

    report.python(r#"a_prev_gradient = sp.signal.convolve2d(self.w, b_gradient_components, mode="full")"#)?;
    rust!(report, let a_prev_gradient = convolve2d(&w, &components, Mode::Full)?);
    report.check("a_prev_gradient", &a_prev_gradient, &golden.a_prev_gradient.array()?)?;
    report.text("The diagram adds four 3x3 matrices: the overlay where each neuron has it, times its component.")?;
    report.check("a_prev_gradient", &sum_of_overlays(&w, &components), &golden.a_prev_gradient.array()?)?;
    Ok(())
}

/// Σ over the neurons: the part of the input under the overlay, times the neuron's component.
fn sum_of_underlays(a_prev: &Array2<f64>, components: &Array2<f64>) -> Array2<f64> {
    let mut sum = Array2::zeros((2, 2));
    for ((row, column), &component) in components.indexed_iter() {
        sum.scaled_add(component, &a_prev.slice(s![row..row + 2, column..column + 2]));
    }
    sum
}

/// Σ over the neurons: zeros, but for the overlay where the neuron has it, times the neuron's component.
fn sum_of_overlays(w: &Array2<f64>, components: &Array2<f64>) -> Array2<f64> {
    let mut sum = Array2::zeros((3, 3));
    for ((row, column), &component) in components.indexed_iter() {
        sum.slice_mut(s![row..row + 2, column..column + 2]).scaled_add(component, w);
    }
    sum
}
