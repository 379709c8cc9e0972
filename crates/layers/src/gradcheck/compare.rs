//! A gradient against differences of the function.

use super::{
    Options,
    report::{TensorReport, Verdict, Worst},
};

/// Checks `analytic`, the gradient of `f` at `at`, against central differences. `name` is for the report.
///
/// Of [`Options`], the phase and the seed have no meaning here.
///
/// ```
/// use layers::gradcheck::{Options, Verdict, compare};
/// let f = |x: &[f64]| x[0] * x[0] * x[1];
/// let right = compare("x", &[12.0, 9.0], f, &[3.0, 2.0], &Options::default());
/// assert_eq!(right.verdict, Verdict::Passed);
/// let wrong = compare("x", &[12.0, 6.0], f, &[3.0, 2.0], &Options::default());
/// assert_eq!(wrong.verdict, Verdict::Failed);
/// assert_eq!(wrong.worst.unwrap().index, 1);
/// ```
///
/// # Panics
/// When `analytic` and `at` differ in length.
pub fn compare(
    name: &str,
    analytic: &[f64],
    mut f: impl FnMut(&[f64]) -> f64,
    at: &[f64],
    options: &Options<'_>,
) -> TensorReport {
    assert_eq!(analytic.len(), at.len(), "a gradient has one element for each value");
    let here = f(at);
    let mut point = at.to_vec();
    let probes: Vec<Probe> = (0..at.len()).map(|i| probe(&mut f, &mut point, i, here, options.step)).collect();

    // what rounding alone may have made of each slope
    let noise = f64::EPSILON * probes.iter().fold(here.abs(), |most, probe| most.max(probe.size)) / options.step;
    let typical = norm(probes.iter().map(|probe| probe.slope)) / (at.len().max(1) as f64).sqrt();
    let smooth = |probe: &Probe| probe.doubt <= options.tolerance * probe.slope.abs().max(typical) + 4.0 * noise;
    let kept: Vec<usize> = (0..at.len()).filter(|&i| smooth(&probes[i])).collect();

    let numeric_norm = norm(kept.iter().map(|&i| probes[i].slope));
    let analytic_norm = norm(kept.iter().map(|&i| analytic[i]));
    let difference = |i: usize| (analytic[i] - probes[i].slope).abs();
    let error = norm(kept.iter().map(|&i| difference(i))) / (numeric_norm + analytic_norm);
    let worst = kept.iter().copied().max_by(|&i, &j| difference(i).total_cmp(&difference(j)));
    let worst = worst.map(|index| Worst { index, analytic: analytic[index], numeric: probes[index].slope });

    let floor = options.floor.max(noise * (at.len() as f64).sqrt() / options.tolerance);
    let excluded = at.len() - kept.len();
    let at_kinks = excluded as f64 > options.max_excluded * at.len() as f64;
    let tiny = numeric_norm < floor && analytic_norm < floor;
    let verdict = if at_kinks || tiny {
        Verdict::Unchecked
    } else if error <= options.tolerance {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    TensorReport { name: name.into(), verdict, error, norm: numeric_norm, floor, worst, excluded, len: at.len() }
}

/// What differences say about one element.
struct Probe {
    /// The central difference quotient.
    slope: f64,
    /// How far quotients disagree that agree where the function is smooth.
    doubt: f64,
    /// The largest magnitude of the function that was met.
    size: f64,
}

/// Difference quotients of one step, to both sides of a point.
struct Quotients {
    right: f64,
    left: f64,
    central: f64,
    size: f64,
}

impl Quotients {
    /// Step times second derivative where the function is smooth; the jump of the slope at a kink.
    fn bend(&self) -> f64 {
        self.right - self.left
    }
}

/// Varies element `i` by the step and by half of it.
///
/// Where the function is smooth, the central quotient is the same for both but for a term in the step's square, and the
/// bend is half as large for the half step. At a kink within the step, one or the other fails.
fn probe(f: &mut impl FnMut(&[f64]) -> f64, point: &mut [f64], i: usize, here: f64, step: f64) -> Probe {
    let centre = point[i];
    let [whole, half] = [1.0, 0.5].map(|part| {
        let step = part * step * centre.abs().max(1.0);
        let [up, down] = [centre + step, centre - step];
        let [above, below] = [up, down].map(|value| {
            point[i] = value;
            f(point)
        });
        Quotients {
            right: (above - here) / (up - centre),
            left: (here - below) / (centre - down),
            central: (above - below) / (up - down),
            size: above.abs().max(below.abs()),
        }
    });
    point[i] = centre;
    let doubt = (whole.central - half.central).abs().max((half.bend() - whole.bend() / 2.0).abs());
    Probe { slope: whole.central, doubt, size: whole.size.max(half.size) }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(analytic: &[f64], f: impl FnMut(&[f64]) -> f64, at: &[f64]) -> TensorReport {
        compare("x", analytic, f, at, &Options::default())
    }

    #[test]
    fn smooth_functions_are_told_right_from_wrong() {
        let f = |x: &[f64]| x[0].sin() * x[1].exp() + x[2] * x[2] * x[2];
        let at = [0.3f64, -1.2, 40.0];
        let right = [at[0].cos() * at[1].exp(), at[0].sin() * at[1].exp(), 3.0 * at[2] * at[2]];
        assert_eq!(verdict(&right, f, &at).verdict, Verdict::Passed);
        for i in 0..3 {
            let mut wrong = right;
            wrong[i] += 0.01 * norm(right.into_iter());
            let report = verdict(&wrong, f, &at);
            assert_eq!(report.verdict, Verdict::Failed);
            assert_eq!(report.worst.map(|w| w.index), Some(i));
        }
        assert_eq!(verdict(&[0.0; 3], f, &at).verdict, Verdict::Failed);
        assert_eq!(verdict(&[f64::NAN, right[1], right[2]], f, &at).verdict, Verdict::Failed);
    }

    #[test]
    fn kinks_are_left_out_wherever_they_lie_within_the_step() {
        let smooth: Vec<f64> = (0..10).map(|i| f64::from(i) / 3.0 - 1.4).collect();
        for distance in [0.0, 0.1, 0.25, 1.0 / 3.0, 0.5, 0.7, 0.9] {
            for side in [-1.0, 1.0] {
                let mut at = smooth.clone();
                at.push(side * distance * 1e-5);
                let f = |x: &[f64]| x.iter().map(|v| v.max(0.0)).sum();
                let analytic: Vec<f64> = at.iter().map(|&v| if v > 0.0 { 1.0 } else { 0.0 }).collect();
                let report = verdict(&analytic, f, &at);
                assert_eq!((report.verdict, report.excluded), (Verdict::Passed, 1), "at {distance} of the step");
            }
        }
    }

    #[test]
    fn too_many_kinks_are_no_pass() {
        let f = |x: &[f64]| x.iter().map(|v| v.abs()).sum();
        let report = verdict(&[1.0, 1.0, 0.0], f, &[1.0, 2.0, 0.0]);
        assert_eq!((report.verdict, report.excluded), (Verdict::Unchecked, 1));
    }

    #[test]
    fn a_tiny_gradient_proves_nothing() {
        // small by itself
        assert_eq!(verdict(&[0.0], |x| 1e-9 * x[0], &[1.0]).verdict, Verdict::Unchecked);
        assert_eq!(verdict(&[1e-9], |x| 1e-9 * x[0], &[1.0]).verdict, Verdict::Unchecked);
        // small beside the rounding of a large function
        assert_eq!(verdict(&[0.01], |x| 1e6 + 0.01 * x[0], &[1.0]).verdict, Verdict::Unchecked);
        // but a large claim where there is nothing is wrong
        assert_eq!(verdict(&[1.0], |_| 3.0, &[1.0]).verdict, Verdict::Failed);
    }

    #[test]
    fn a_function_that_is_not_finite_is_no_pass() {
        assert_eq!(verdict(&[1.0], |x| if x[0] > 1.0 { f64::NAN } else { x[0] }, &[1.0]).verdict, Verdict::Unchecked);
    }
}
