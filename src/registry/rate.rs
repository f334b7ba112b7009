//! A bandwidth that everything under way shares.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::locked::locked;

/// The shortest piece that is waited for, in bytes.
const PIECE: u64 = 1 << 10;

/// Bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

/// A text that is no rate.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no rate: write bytes a second, as 500K, 10M or 1G")]
pub struct InvalidRate {
    text: String,
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        // curl(1), --limit-rate: "The suffixes (k, M, G, T, P) are 1024 based", in either case
        let (digits, factor) = match text.char_indices().last().map(|(at, c)| (at, c.to_ascii_uppercase())) {
            Some((at, suffix @ ('K' | 'M' | 'G' | 'T' | 'P'))) => {
                let power = "KMGTP".find(suffix).unwrap_or_default() as u32 + 1;
                (&text[..at], 1024u64.pow(power))
            }
            _ => (text, 1),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| plain).and_then(|number| number.checked_mul(factor));
        let rate = number.and_then(NonZeroU64::new);
        rate.map(Self).ok_or_else(|| InvalidRate { text: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes a second", self.0)
    }
}

/// A limit in each direction: a line carries as much one way as the other.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) sent: Bucket,
    pub(super) received: Bucket,
}

impl Limit {
    pub(super) fn new(rate: Rate) -> Self {
        let bucket = || Bucket { rate, free: Mutex::new(None) };
        Self { sent: bucket(), received: bucket() }
    }
}

/// What is left of a rate, for all who share it.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When all that was taken so far will have gone by.
    free: Mutex<Option<Instant>>,
}

impl Bucket {
    /// How much is to be taken at once, in bytes: a quarter of a second's.
    pub(super) fn piece(&self) -> u64 {
        (self.rate.0.get() / 4).max(PIECE)
    }

    /// Waits until what was taken has gone by.
    pub(super) async fn wait(&self) {
        let free = *locked(&self.free);
        if let Some(free) = free {
            tokio::time::sleep_until(free).await;
        }
    }

    /// Takes `bytes`, which go now.
    pub(super) fn take(&self, bytes: u64) {
        let mut free = locked(&self.free);
        *free = Some(after(*free, Instant::now(), bytes, self.rate));
    }
}

/// When `bytes` have gone by that begin as soon as those before them have, yet not
/// before `now`.
fn after(free: Option<Instant>, now: Instant, bytes: u64, rate: Rate) -> Instant {
    let begin = free.map_or(now, |free| free.max(now));
    begin + Duration::from_secs_f64(bytes as f64 / rate.0.get() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_for_curl() {
        let bytes = |text: &str| text.parse::<Rate>().map(|rate| rate.0.get());
        let rates = [("1", 1), ("500K", 512_000), ("3m", 3 << 20), ("1G", 1 << 30), ("2t", 2 << 40), ("1P", 1 << 50)];
        for (text, expected) in rates {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "K", "0", "0M", "-1", "+1", "1.5M", "1KB", "1 M", "10 ", "99999999999999999999", "99999999P"] {
            assert_eq!(bytes(bad), Err(InvalidRate { text: bad.to_owned() }));
        }
    }

    #[test]
    fn what_is_taken_goes_by_one_after_the_other_and_no_credit_is_saved_up() {
        let rate: Rate = "1000".parse().unwrap_or_else(|error| panic!("{error}"));
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let first = after(None, now, 2000, rate);
        assert_eq!(first, now + 2 * second);
        assert_eq!(after(Some(first), now + second, 500, rate), first + second / 2);
        assert_eq!(after(Some(first), now + 60 * second, 1000, rate), now + 61 * second);
    }
}
