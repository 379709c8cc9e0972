//! The diagram of the section "Max Pooling", with its own numbers.

use std::io::Write;

use layers::{MaxPool2d, Solo};
use ndarray::{ArrayD, array};

use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>) -> anyhow::Result<()> {
    report.section("The max pooling diagram", "the article")?;
    report.text("The window slides by one, so windows overlap, and the gradients of one winner add up.")?;

    report.python("mp = MaxPoolingMap(a_prev, (2, 2))")?;
    rust!(report, let a_prev = array![[[[-0.7, -0.2, -0.6], [0.3, -0.6, 0.1], [0.3, 0.5, 0.2]]]]);
    rust!(report, let pool = MaxPool2d::new([1, 3, 3], 2).stride(1).build()?);
    rust!(report, let mut mp = Solo::<f64, _>::new(pool, &[1, 3, 3], 0)?);

    report.python("mp.feed_forward()")?;
    rust!(report, let max_values = mp.forward(&a_prev)?);
    report.check("max_values", &max_values, &array![[0.3, 0.1], [0.5, 0.5]])?;
    report.check("max_positions", &positions(&mp, [2, 2], 3)?, &array![[(1, 0), (1, 2)], [(2, 1), (2, 1)]])?;

    report.python("mp.propagate_backward(a_gradient)")?;
    rust!(report, let a_gradient = array![[[[0.025, 0.035], [-0.013, 0.091]]]]);
    rust!(report, let a_prev_gradient = mp.backward(&a_gradient)?);
    let expected = array![[0.0, 0.0, 0.0], [0.025, 0.0, 0.035], [0.0, 0.078, 0.0]];
    report.check("a_prev_gradient", &a_prev_gradient, &expected)?;
    Ok(())
}

/// Where the winners of the last pass stand, row and column, in an image of `width` columns.
pub(crate) fn positions(
    pool: &Solo<f64, MaxPool2d>,
    shape: [usize; 2],
    width: usize,
) -> anyhow::Result<ArrayD<(usize, usize)>> {
    let places = pool.memo().into_iter().flatten().map(|&place| (place as usize / width, place as usize % width));
    Ok(ArrayD::from_shape_vec(shape.as_slice(), places.collect())?)
}
