//! What is printed: lines of the article, the Rust for each, and results beside what they should be.

use std::io::{self, Write};

use ndarray::{Array, ArrayRef, Dimension};

use crate::equality::{Number, RULE, difference, shaped_like};
use crate::grid::{WIDTH, beside, lines};

/// Runs a line of Rust, and shows it as it stands in the source.
macro_rules! rust {
    ($report:expr, let $name:pat = $rust:expr) => {
        $report.rust(concat!("let ", stringify!($name), " = ", stringify!($rust)))?;
        let $name = $rust;
    };
    ($report:expr, $rust:expr) => {
        $report.rust(stringify!($rust))?;
        $rust;
    };
}
pub(crate) use rust;

/// The report on its way out, and how many results were equal.
#[derive(Debug)]
pub(crate) struct Report<W> {
    out: W,
    /// What results are compared with.
    against: &'static str,
    results: usize,
    equal: usize,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, against: "the article", results: 0, equal: 0 }
    }

    /// What the reader should know first.
    pub(crate) fn head(&mut self) -> io::Result<()> {
        let title = "\"Convolutional Neural Networks: An Intuitive Primer\", line by line";
        writeln!(
            self.out,
            "{title}\n\n>>> a line of the article, in Python\nrs> the line that takes its place, in Rust\n"
        )?;
        writeln!(self.out, "{RULE}")
    }

    /// A section, whose results are compared with what `against` names.
    pub(crate) fn section(&mut self, title: &str, against: &'static str) -> io::Result<()> {
        self.against = against;
        writeln!(self.out, "\n\n{title}\n{}", "=".repeat(title.chars().count()))
    }

    /// A remark, or a sentence of the article.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n{text}")
    }

    /// A line of the article.
    pub(crate) fn python(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "\n>>> {line}")
    }

    /// A line of this program, as [`rust!`] has it.
    pub(crate) fn rust(&mut self, line: &str) -> io::Result<()> {
        // the compiler breaks long lines of what it quotes
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(self.out, "rs> {}", line.replace("( ", "(").replace(". ", "."))
    }

    /// A result beside what it should be, and the verdict.
    pub(crate) fn check<T: Number, D: Dimension, E: Dimension>(
        &mut self,
        name: &str,
        ours: &ArrayRef<T, D>,
        expected: &ArrayRef<T, E>,
    ) -> io::Result<()> {
        let expected = expected.to_owned().into_dyn();
        let verdict = difference(ours, &expected);
        let scientific = !expected.iter().all(|value| value.is_plain());
        let left = lines(shaped_like(ours, &expected).view(), scientific);
        let right = lines(expected.view(), scientific);

        self.results += 1;
        self.equal += usize::from(verdict.is_none());
        let verdict = verdict.map_or("equal".into(), |difference| format!("DIFFERENT: {difference}"));
        let heads = [format!("{name}, here"), self.against.to_string()];
        let titled = |head: &String, body: &[String]| [std::slice::from_ref(head), body].concat();
        match beside(&titled(&heads[0], &left), &titled(&heads[1], &right), WIDTH - 12) {
            Some(rows) => self.end_with(&rows, &verdict),
            None => self.end_with(&[titled(&heads[0], &left), titled(&heads[1], &right)].concat(), &verdict),
        }
    }

    /// Lines, indented, the last with the verdict behind it.
    fn end_with(&mut self, rows: &[String], verdict: &str) -> io::Result<()> {
        let (last, rows) = rows.split_last().map_or((String::new(), rows), |(last, rows)| (last.clone(), rows));
        for row in rows {
            writeln!(self.out, "    {row}")?;
        }
        if last.chars().count() + verdict.chars().count() + 6 > WIDTH {
            return writeln!(self.out, "    {last}\n      {verdict}");
        }
        writeln!(self.out, "    {last}  {verdict}")
    }

    /// [`check`](Self::check) of a single number.
    pub(crate) fn check_one<T: Number>(&mut self, name: &str, ours: T, expected: T) -> io::Result<()> {
        self.check(name, &Array::from_elem((), ours), &Array::from_elem((), expected))
    }

    /// The last line; whether all results were equal.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        writeln!(self.out, "\n\n{} of {} results equal", self.equal, self.results)?;
        self.out.flush()?;
        Ok(self.equal == self.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn printed(work: impl FnOnce(&mut Report<&mut Vec<u8>>) -> io::Result<()>) -> (String, bool) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        work(&mut report).unwrap();
        let all_equal = report.finish().unwrap();
        (String::from_utf8(out).unwrap(), all_equal)
    }

    #[test]
    fn a_wrong_value_is_reported_and_counted() {
        let (text, all_equal) = printed(|report| {
            report.check("right", &array![1, 2_i64], &array![1, 2])?;
            report.check("wrong", &array![1.0, 2.5], &array![1.0, 2.0])
        });
        assert!(!all_equal);
        assert!(text.contains("DIFFERENT: 1 of 2 values, first 2.5000e0 for 2.0000e0 at [1]"), "{text}");
        assert!(text.ends_with("1 of 2 results equal\n"), "{text}");
    }

    #[test]
    fn another_shape_is_reported() {
        let (text, all_equal) = printed(|report| report.check("w", &array![[1_i64, 2]], &array![[1], [2_i64], [3]]));
        assert!(!all_equal && text.contains("DIFFERENT: the shape is [1, 2], and should be [3, 1]"), "{text}");
    }

    #[test]
    fn results_stand_beside_what_they_should_be() {
        let (text, all_equal) = printed(|report| {
            report.python("1 + 1")?;
            rust!(report, let sum = 1 + 1);
            report.check_one("sum", sum, 2_i64)
        });
        assert!(all_equal);
        let gap = " ".repeat(15);
        assert_eq!(
            text,
            format!(
                "\n>>> 1 + 1\nrs> let sum = 1 + 1\n    sum, here{gap}the article\n    2{gap}        2  equal\n\n\n1 of 1 results equal\n"
            )
        );
    }
}
