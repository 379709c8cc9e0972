//! Arrays as numpy prints them, one beside another.

use ndarray::{ArrayViewD, Axis};

use crate::equality::Number;

/// Columns of the report.
pub(crate) const WIDTH: usize = 100;

/// Arrays of at most this many elements are shown whole.
const SHORT: usize = 20;

/// Of longer ones so much is shown along each axis; an ellipsis stands for the rest.
const SHOWN: usize = 3;

/// The lines of an array: brackets around each axis, elements right-aligned.
pub(crate) fn lines<T: Number>(array: ArrayViewD<'_, T>, scientific: bool) -> Vec<String> {
    let width = array.iter().map(|value| value.show(scientific).chars().count()).max().unwrap_or(0);
    let shown = if array.len() > SHORT { SHOWN } else { SHORT };
    block(array, shown, &|value| format!("{:>width$}", value.show(scientific)))
}

fn block<T>(array: ArrayViewD<'_, T>, shown: usize, cell: &impl Fn(&T) -> String) -> Vec<String> {
    match array.ndim() {
        0 => array.iter().map(cell).collect(),
        1 => {
            let mut cells: Vec<_> = array.iter().take(shown).map(cell).collect();
            cells.extend((array.len() > shown).then(|| "…".into()));
            vec![format!("[{}]", cells.join(", "))]
        }
        _ => {
            let count = array.len_of(Axis(0));
            let mut lines: Vec<String> = Vec::new();
            for part in array.outer_iter().take(shown) {
                close(&mut lines, ",");
                lines.extend(block(part, shown, cell).into_iter().map(|line| format!(" {line}")));
            }
            if count > shown {
                close(&mut lines, ",");
                lines.push(" …".into());
            }
            if let Some(first) = lines.first_mut() {
                first.replace_range(..1, "[");
            }
            close(&mut lines, "]");
            lines
        }
    }
}

/// Appends to the last line.
fn close(lines: &mut [String], end: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(end);
    }
}

/// Two blocks of lines side by side, or `None` where that is wider than `width`.
pub(crate) fn beside(left: &[String], right: &[String], width: usize) -> Option<Vec<String>> {
    let widest = |lines: &[String]| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let column = widest(left).max(20) + 4;
    if column + widest(right) > width {
        return None;
    }
    let line = |i: usize, lines: &[String]| lines.get(i).cloned().unwrap_or_default();
    let rows = left.len().max(right.len());
    Some((0..rows).map(|i| format!("{:<column$}{}", line(i, left), line(i, right)).trim_end().to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, arr0, array};

    #[test]
    fn arrays_look_as_in_the_article() {
        let matrix = array![[40_i64, 110, 180], [140, 230, 90]].into_dyn();
        assert_eq!(lines(matrix.view(), false), ["[[ 40, 110, 180],", " [140, 230,  90]]"]);
        let stack = array![[[1_i64, 2]], [[3, 4]]].into_dyn();
        assert_eq!(lines(stack.view(), false), ["[[[1, 2]],", " [[3, 4]]]"]);
        assert_eq!(lines(arr0(272_i64).into_dyn().view(), false), ["272"]);
    }

    #[test]
    fn long_arrays_are_cut() {
        let lines = lines(Array2::<i64>::zeros((10, 20)).into_dyn().view(), false);
        assert_eq!((lines.len(), lines[0].as_str()), (4, "[[0, 0, 0, …],"));
        assert_eq!(lines[3], " …]");
    }

    #[test]
    fn blocks_stand_side_by_side_where_they_fit() {
        let (left, right) = (vec!["a".to_string(), "b".into()], vec!["c".to_string()]);
        assert_eq!(beside(&left, &right, 80).unwrap(), [format!("a{}c", " ".repeat(23)), "b".into()]);
        assert_eq!(beside(&left, &right, 24), None);
    }
}
