//! Matrices, times and what files say as text.

use std::fmt::Display;
use std::io::{self, Write};

/// The largest number of rows and of columns that is printed.
const MAX_PRINTED: usize = 8;

/// Prints the name of a matrix and its elements, a line per row, columns aligned. Of a large matrix only the first
/// rows and columns are printed.
pub fn matrix<T: Display>(
    out: &mut dyn Write,
    name: &str,
    (rows, cols): (usize, usize),
    data: &[T],
) -> io::Result<()> {
    let (m, n) = (rows.min(MAX_PRINTED), cols.min(MAX_PRINTED));
    let part = if (m, n) == (rows, cols) { String::new() } else { format!(", first {m} x {n}") };
    writeln!(out, "{name} ({rows} x {cols}{part})")?;
    let cells: Vec<Vec<String>> =
        (0..m).map(|i| (0..n).map(|j| data[i * cols + j].to_string()).collect()).collect();
    let width = |j: usize| cells.iter().map(|row| row[j].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..n).map(width).collect();
    for row in &cells {
        let line: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        writeln!(out, "  {}", line.join(" "))?;
    }
    Ok(())
}

/// Text from a file, for a message of one line: what does not print is escaped.
pub fn one_line(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        // Of what prints, only these would be escaped.
        if matches!(c, '\'' | '"' | '\\') { shown.push(c) } else { shown.extend(c.escape_debug()) }
    }
    shown
}

/// A time in the largest of s, ms and us in which it is at least 1, else in ns.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
