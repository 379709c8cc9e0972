//! "Appendix B: Summing 2-D vs. 3-D Stack", every line of it.

use std::io::Write;

use conv_kernels::{Mode, correlate, correlate2d};
use ndarray::{Axis, array, stack};

use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>) -> anyhow::Result<()> {
    report.section("Appendix B: Summing 2-D vs. 3-D Stack", "the article")?;

    report.python("feature_map1 = np.array([[1,2,3],[4,5,6],[7,8,9]])")?;
    rust!(report, let feature_map1 = array![[1_i64, 2, 3], [4, 5, 6], [7, 8, 9]]);
    report.python("feature_map2 = np.array([[9,8,7],[6,5,4],[3,2,1]])")?;
    rust!(report, let feature_map2 = array![[9_i64, 8, 7], [6, 5, 4], [3, 2, 1]]);
    report.python("filter1 = np.array([[1,2],[3,4]])")?;
    rust!(report, let filter1 = array![[1_i64, 2], [3, 4]]);
    report.python("filter2 = np.array([[5,6],[7,8]])")?;
    rust!(report, let filter2 = array![[5_i64, 6], [7, 8]]);

    report.python(r#"result1 = sp.signal.correlate2d(feature_map1, filter1, mode="valid")"#)?;
    rust!(report, let result1 = correlate2d(&feature_map1, &filter1, Mode::Valid)?);
    report.check("result1", &result1, &array![[37, 47], [67, 77]])?;

    report.python(r#"result2 = sp.signal.correlate2d(feature_map2, filter2, mode="valid")"#)?;
    rust!(report, let result2 = correlate2d(&feature_map2, &filter2, Mode::Valid)?);
    report.check("result2", &result2, &array![[175, 149], [97, 71]])?;

    report.python("sum_of_results = result1 + result2")?;
    rust!(report, let sum_of_results = result1 + result2);
    report.check("sum_of_results", &sum_of_results, &array![[212, 196], [164, 148]])?;

    report.python("feature_maps_stacked = np.array([feature_map1, feature_map2])")?;
    rust!(report, let feature_maps_stacked = stack![Axis(0), feature_map1, feature_map2]);
    let expected = array![[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[9, 8, 7], [6, 5, 4], [3, 2, 1]]];
    report.check("feature_maps_stacked", &feature_maps_stacked, &expected)?;

    report.python("filters_stacked = np.array([filter1, filter2])")?;
    rust!(report, let filters_stacked = stack![Axis(0), filter1, filter2]);
    report.check("filters_stacked", &filters_stacked, &array![[[1, 2], [3, 4]], [[5, 6], [7, 8]]])?;

    report.python(r#"stacked_results = signal.sp.correlate(feature_maps_stacked, filters_stacked, mode="valid")"#)?;
    rust!(report, let stacked_results = correlate(&feature_maps_stacked, &filters_stacked, Mode::Valid)?);
    report.python("stacked_results.reshape(2,2) # same as sum_of_results")?;
    rust!(report, let reshaped = stacked_results.into_shape_with_order((2, 2))?);
    report.check("reshaped", &reshaped, &array![[212, 196], [164, 148]])?;
    report.text("(In today's scipy the line is signal.correlate(...): scipy.signal has no attribute sp any more.)")?;
    Ok(())
}
