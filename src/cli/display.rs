//! How numbers and tables are written for a person.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use super::error::{ExitKind, Failure};

/// Prints a result, and a newline, on stdout. Whoever reads it may have seen enough
/// (`dlpack cache list | head`): that is no failure.
///
/// # Errors
/// Anything else that hinders the writing, such as a full disk.
pub fn show(result: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{result}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            Err(Failure::new(if is_full { ExitKind::Store } else { ExitKind::Other }, error)
                .about("can't write to stdout"))
        }
        _ => Ok(()),
    }
}

/// Bytes in the units that registries bill by: `1.6 GB` is 1.6 × 10⁹.
pub fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in units {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{count} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `1 layer`, `2 layers`.
pub fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A span of time: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn seconds(span: Duration) -> String {
    match span.as_secs_f64() {
        short if short < 9.95 => format!("{short:.1} s"),
        middle if middle < 119.5 => format!("{middle:.0} s"),
        long => format!("{} min {} s", (long / 60.0) as u64, (long % 60.0) as u64),
    }
}

/// How long ago, as exactly as the store keeps it: `now`, `5 min ago`, `12 d ago`.
pub fn ago(span: Duration) -> String {
    match span.as_secs() {
        0..60 => "now".into(),
        seconds @ 60..3_600 => format!("{} min ago", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// Columns separated by two spaces, each as wide as its widest cell; those named
/// in `right` are set flush right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let space = " ".repeat(widths[column] - cell.chars().count());
            if right.contains(&column) { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_to_two_digits_or_whole_units() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_999, "1.0 MB"),
            (12_345_678, "12 MB"),
            (5_610_000_000, "5.6 GB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "10".into()], vec!["bcd".into(), "7".into()]];
        assert_eq!(table(&rows, &[1]), "a    10\nbcd   7\n");
    }
}
