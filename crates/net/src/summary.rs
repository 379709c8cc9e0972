//! A network as a table.

use std::fmt::{self, Write as _};

use layers::Scalar;

use crate::{Sequential, error::dims};

/// [`Sequential::summary`]: one line a layer, printed with `{}`.
#[derive(Clone, Debug)]
pub struct Summary {
    rows: Vec<[String; 4]>,
    parameters: usize,
    bytes: usize,
    macs: u64,
}

impl Summary {
    /// The number of learnt parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }
}

impl<T: Scalar> Sequential<T> {
    /// Layers, shapes and parameters.
    ///
    /// The article counts 23,550 parameters for a fully connected hidden layer of 30 neurons, and 272 for sixteen 4×4 feature
    /// maps:
    ///
    /// ```
    /// use net::Sequential;
    /// let dense = Sequential::builder([1, 28, 28]).dense(30).build(0)?;
    /// let maps = Sequential::builder([1, 28, 28]).conv2d(16, 4).build(0)?;
    /// assert_eq!((dense.summary().parameters(), maps.summary().parameters()), (23_550, 272));
    /// println!("{}", maps.summary());
    /// # Ok::<(), net::NetError>(())
    /// ```
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut rows = vec![["input".into(), String::new(), dims(&self.input), String::new()]];
        for stage in self.layers() {
            let count: usize = stage.layer.params().iter().map(layers::TensorSpec::len).sum();
            let count = if count == 0 { String::new() } else { thousands(count as u64) };
            rows.push([stage.name.clone(), stage.layer.describe(), dims(&stage.output), count]);
        }
        let parameters = self.params.layout().count();
        Summary { rows, parameters, bytes: parameters * size_of::<T>(), macs: self.macs() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["layer", "what", "output", "parameters"].map(String::from);
        let width =
            |column: usize| self.rows.iter().chain([&titles]).map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let line = |[layer, what, output, count]: &[String; 4]| {
            let [a, b, c, d] = widths;
            let mut line = String::new();
            let _ = write!(line, "{layer:<a$}  {what:<b$}  {output:<c$}  {count:>d$}");
            line.trim_end().to_string()
        };
        writeln!(f, "{}", line(&titles))?;
        writeln!(f, "{}", "─".repeat(widths.iter().sum::<usize>() + 6))?;
        for row in &self.rows {
            writeln!(f, "{}", line(row))?;
        }
        let megaflops = 2.0 * self.macs as f64 / 1e6;
        write!(
            f,
            "{} parameters, {}, {megaflops:.3} MFLOP forward per sample",
            thousands(self.parameters as u64),
            size(self.bytes)
        )
    }
}

/// `85670` as `85,670`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn size(bytes: usize) -> String {
    match bytes as f64 {
        b if b < 1e3 => format!("{b} B"),
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b => format!("{:.1} MB", b / 1e6),
    }
}
