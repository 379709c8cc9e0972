//! "Chaining Convolutional Layers": two feature maps over three, as 3-D stacks and as one layer.

use std::io::Write;

use conv_kernels::{Mode, convolve, correlate, correlate2d};
use layers::{Activation, Conv2d, Solo};
use ndarray::{Array2, Array3, Array4, Axis, s};

use crate::functions::dc_db;
use crate::golden::Chained;
use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>, golden: &Chained) -> anyhow::Result<()> {
    report.section("Chaining: two feature maps over three", "the article's prose, in Python")?;
    report.text("The article describes this layer without code. The numbers are numpy's for seed 3.")?;
    let (stack, filters) = (golden.x.shaped((3, 6, 6))?, golden.w.shaped((2, 3, 3, 3))?);
    let (b, a_gradient) = (golden.b.shaped(2)?, golden.a_gradient.shaped((2, 4, 4))?);

    report.text(
        "\"cross-correlate the 3-d matrix representing the feature maps [...] with [...] the\n corresponding filters\"",
    )?;
    rust!(report, let z0 = correlate(&stack, &filter(&filters, 0), Mode::Valid)? + b[0]);
    rust!(report, let z1 = correlate(&stack, &filter(&filters, 1), Mode::Valid)? + b[1]);
    let z = ndarray::concatenate(Axis(0), &[z0.view(), z1.view()])?;
    report.check("z", &z, &golden.z.array()?)?;
    report.text("The same as adding 2-d cross-correlations, one for each map of the layer before:")?;
    report.check("z", &sum_of_maps(&stack, &filters, &b.to_vec())?, &golden.z.array()?)?;

    let delta: Vec<Array3<f64>> = (0..2).map(|map| components(&z, &a_gradient, map)).collect();
    let (delta0, delta1) = (&delta[0], &delta[1]);
    report.text("\"cross-correlate the 3-d feature map activation matrix [...] with our 2-d dC/db matrix\"")?;
    rust!(report, let dw0 = correlate(&stack, delta0, Mode::Valid)?);
    rust!(report, let dw1 = correlate(&stack, delta1, Mode::Valid)?);
    let dw = ndarray::stack(Axis(0), &[dw0.view(), dw1.view()])?;
    report.check("w_gradient", &dw, &golden.w_gradient.array()?)?;

    report.text("\"convolve our 3-d weight matrix, w, with our 2-d dC/db matrix [...] and add together\"")?;
    rust!(report, let dx0 = convolve(&filter(&filters, 0), delta0, Mode::Full)?);
    rust!(report, let dx1 = convolve(&filter(&filters, 1), delta1, Mode::Full)?);
    report.check("x_gradient", &(dx0 + dx1), &golden.x_gradient.array()?)?;

    layer(report, golden)
}

/// The whole of it as one layer.
fn layer<W: Write>(report: &mut Report<W>, golden: &Chained) -> anyhow::Result<()> {
    let (x, a_gradient) = (golden.x.shaped((1, 3, 6, 6))?, golden.a_gradient.shaped((1, 2, 4, 4))?);
    let (w, b) = (golden.w.array()?, golden.b.array()?);
    report.text("As one layer:")?;
    rust!(report, let conv = Conv2d::new([3, 6, 6], 2, 3).activation(Activation::Sigmoid).build()?);
    rust!(report, let mut maps = Solo::<f64, _>::new(conv, &[3, 6, 6], 0)?);
    rust!(report, maps.params_mut().set("weight", &w)?);
    rust!(report, maps.params_mut().set("bias", &b)?);
    rust!(report, let a = maps.forward(&x)?);
    report.check("a", &a, &golden.a.array()?)?;
    rust!(report, let x_gradient = maps.backward(&a_gradient)?);
    report.check("x_gradient", &x_gradient, &golden.x_gradient.array()?)?;
    report.check("w_gradient", &maps.grads().tensor("weight")?, &golden.w_gradient.array()?)?;
    report.check("b_gradient", &maps.grads().tensor("bias")?, &golden.b_gradient.array()?)?;
    Ok(())
}

/// The stack of filters of one map, one filter for each map of the layer before.
fn filter(filters: &Array4<f64>, map: usize) -> Array3<f64> {
    filters.index_axis(Axis(0), map).to_owned()
}

/// z of both maps, one 2-D correlation after the other.
fn sum_of_maps(stack: &Array3<f64>, filters: &Array4<f64>, b: &[f64]) -> anyhow::Result<Array3<f64>> {
    let mut z = Array3::zeros((2, 4, 4));
    for (map, mut z) in z.outer_iter_mut().enumerate() {
        z.fill(b[map]);
        for channel in 0..3 {
            let (below, overlay) = (stack.index_axis(Axis(0), channel), filters.slice(s![map, channel, .., ..]));
            z += &correlate2d(&below, &overlay, Mode::Valid)?;
        }
    }
    Ok(z)
}

/// The components of ∂C/∂b of one map, "wrapped in an extra set of brackets".
fn components(z: &Array3<f64>, a_gradient: &Array3<f64>, map: usize) -> Array3<f64> {
    let plane = |stack: &Array3<f64>| -> Array2<f64> { stack.index_axis(Axis(0), map).to_owned() };
    dc_db(&plane(z), &plane(a_gradient)).insert_axis(Axis(0))
}
