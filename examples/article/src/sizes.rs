//! The sizes and the parameter counts that the article's text works out.

use std::io::Write;

use conv_kernels::{Mode, output_shape};
use layers::{Conv2d, Dense, Layer, Layout};
use ndarray::Array1;

use crate::functions::get_feature_map_shape;
use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>) -> anyhow::Result<()> {
    report.section("Sizes and parameters, from the article's text", "the article")?;

    report.text("28x28 pixels, a fully connected hidden layer of 30 neurons: 23,550 parameters")?;
    rust!(report, let dense = Dense::new(28 * 28, 30).build::<f64>()?);
    report.check_one("weights", tensor_len(&dense, "weight"), 23_520)?;
    report.check_one("weights and biases", parameters(&dense), 23_550)?;

    report.text("28x28 pixels, 16 feature maps, each a 4x4 overlay and a bias: 272 parameters")?;
    rust!(report, let maps = Conv2d::new([1, 28, 28], 16, 4).build::<f64>()?);
    report.check_one("weights and biases", parameters(&maps), 272)?;
    report.check("size of the maps", &sizes(&maps.output_shape(&[1, 28, 28])?), &Array1::from(vec![16, 25, 25]))?;

    report.python("get_feature_map_shape((4, 5), (2, 2))")?;
    rust!(report, let shape = get_feature_map_shape([4, 5], [2, 2])?);
    report.check("4x5 with 2x2", &sizes(&shape), &Array1::from(vec![3, 4]))?;

    report.text("\"a 7x3 matrix [...] with a 2x3 matrix, we get a 6x1 matrix\"")?;
    rust!(report, let shape = output_shape(&[7, 3], &[2, 3], Mode::Valid)?);
    report.check("7x3 with 2x3", &sizes(&shape), &Array1::from(vec![6, 1]))?;

    report.text("A 2x2 gradient in full convolution with a 2x2 overlay: 3x3, the size of the input")?;
    rust!(report, let shape = output_shape(&[2, 2], &[2, 2], Mode::Full)?);
    report.check("2x2 with 2x2, full", &sizes(&shape), &Array1::from(vec![3, 3]))?;
    Ok(())
}

fn parameters(layer: &impl Layer<f64>) -> i64 {
    Layout::new(layer.params()).count() as i64
}

fn tensor_len(layer: &impl Layer<f64>, name: &str) -> i64 {
    Layout::new(layer.params()).range(name).map_or(0, |range| range.len()) as i64
}

fn sizes(shape: &[usize]) -> Array1<i64> {
    shape.iter().map(|&size| size as i64).collect()
}
