//! Amounts as a command line gives them: bytes and spans of time, with their units.

use std::time::Duration;

/// Bytes, with a unit of 1000.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return Err("write a number and a unit: 50GB, 500MB".into()),
    };
    let count: u64 = text[..digits].parse().map_err(|_| "write a number and a unit: 50GB, 500MB".to_owned())?;
    count.checked_mul(unit).ok_or_else(|| "that is more than there are bytes".into())
}

/// Days, hours or minutes.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let form = || "write a number and a unit: 30d, 12h, 45m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => return Err(form()),
    };
    let count: u64 = text[..digits].parse().map_err(|_| form())?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(form)
}
