//! Which of two versions is later (Debian policy 5.6.12).

use std::cmp::Ordering;

/// Compares `[epoch:]upstream_version[-debian_revision]`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    a.0.cmp(&b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    // "The absence of a debian_revision is equivalent to a debian_revision of 0."
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch.parse().unwrap_or_default(), upstream, revision)
}

fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        // "the initial part of each string consisting entirely of non-digit characters"
        let (left, right) =
            (split(&mut a, |byte| !byte.is_ascii_digit()), split(&mut b, |byte| !byte.is_ascii_digit()));
        let longest = left.len().max(right.len());
        let weights = |text: &str| (0..=longest).map(|at| weight(text.as_bytes().get(at))).collect::<Vec<_>>();
        // "The numerical values of these two parts are compared"; they may be of any length
        let (first, second) =
            (split(&mut a, |byte| byte.is_ascii_digit()), split(&mut b, |byte| byte.is_ascii_digit()));
        let (first, second) = (first.trim_start_matches('0'), second.trim_start_matches('0'));
        let order = weights(left).cmp(&weights(right));
        let order = order.then(first.len().cmp(&second.len())).then(first.cmp(second));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn split<'a>(text: &mut &'a str, belongs: impl Fn(u8) -> bool) -> &'a str {
    let end = text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len());
    let (part, rest) = text.split_at(end);
    *text = rest;
    part
}

/// "all the letters sort earlier than all the non-letters and so that a tilde sorts
/// before anything, even the end of a part"
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_policy_says() {
        let ordered = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+b1",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.2.3",
            "1.10",
            "2.36-9+deb12u9",
            "2.36-9+deb12u10",
            "1:0.1",
            "2:0",
        ];
        for (n, a) in ordered.iter().enumerate() {
            for (m, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), n.cmp(&m), "{a} {b}");
            }
        }
        assert_eq!(compare("1.0", "1.00"), Ordering::Equal);
        assert_eq!(compare("1.0", "0:1.0-0"), Ordering::Equal);
    }
}
