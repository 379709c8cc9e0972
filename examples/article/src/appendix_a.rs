//! "Appendix A: Valid vs. Full Mode", every line of it.

use std::io::Write;

use conv_kernels::{Mode, convolve2d, correlate2d};
use ndarray::{array, s};

use crate::report::{Report, rust};

pub(crate) fn run<W: Write>(report: &mut Report<W>) -> anyhow::Result<()> {
    report.section("Appendix A: Valid vs. Full Mode", "the article")?;

    report.python("values = np.array([[1,2,3],[4,5,6],[7,8,9]])")?;
    rust!(report, let values = array![[1_i64, 2, 3], [4, 5, 6], [7, 8, 9]]);
    report.python("values")?;
    report.check("values", &values, &array![[1, 2, 3], [4, 5, 6], [7, 8, 9]])?;

    report.python("f = np.array([[10,20],[30,40]])")?;
    rust!(report, let f = array![[10_i64, 20], [30, 40]]);
    report.python("f")?;
    report.check("f", &f, &array![[10, 20], [30, 40]])?;

    report.python(r#"sp.signal.correlate2d(values,f,mode="valid")"#)?;
    rust!(report, let result = correlate2d(&values, &f, Mode::Valid)?);
    report.check("result", &result, &array![[370, 470], [670, 770]])?;

    report.python(r#"sp.signal.convolve2d(values,f,mode="valid")"#)?;
    rust!(report, let result = convolve2d(&values, &f, Mode::Valid)?);
    report.check("result", &result, &array![[230, 330], [530, 630]])?;

    report.python("f_rot180 = np.rot90(np.rot90(f))")?;
    rust!(report, let f_rot180 = f.slice(s![..;-1, ..;-1]));
    report.python("f_rot180")?;
    report.check("f_rot180", &f_rot180, &array![[40, 30], [20, 10]])?;

    report.python(r#"sp.signal.correlate2d(values,f_rot180,mode="valid")"#)?;
    rust!(report, let result = correlate2d(&values, &f_rot180, Mode::Valid)?);
    report.check("result", &result, &array![[230, 330], [530, 630]])?;

    report.python(r#"sp.signal.correlate2d(values,f,mode="full")"#)?;
    rust!(report, let result = correlate2d(&values, &f, Mode::Full)?);
    let expected = array![[40, 110, 180, 90], [180, 370, 470, 210], [360, 670, 770, 330], [140, 230, 260, 90]];
    report.check("result", &result, &expected)?;

    let expected = array![[10, 40, 70, 60], [70, 230, 330, 240], [190, 530, 630, 420], [210, 520, 590, 360]];
    report.python(r#"sp.signal.convolve2d(values,f,mode="full")"#)?;
    rust!(report, let result = convolve2d(&values, &f, Mode::Full)?);
    report.check("result", &result, &expected)?;

    report.python(r#"sp.signal.correlate2d(values,f_rot180,mode="full")"#)?;
    rust!(report, let result = correlate2d(&values, &f_rot180, Mode::Full)?);
    report.check("result", &result, &expected)?;
    Ok(())
}
