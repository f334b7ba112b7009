//! How many pulls a registry still allows: Docker Hub says so with every manifest, and counts a
//! `GET` of one as a pull, a `HEAD` not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Serialize;

use crate::locked::locked;

/// How many pulls a registry allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullLimit {
    /// How many in a window.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// The window's length in seconds, where the registry says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl PullLimit {
    /// What the headers of a manifest say, as Docker Hub has them:
    /// `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let header = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?;
            let (count, rest) = text.split_once(';').unwrap_or((text, ""));
            let window = rest.split(';').find_map(|part| part.trim().strip_prefix("w=")?.parse::<u64>().ok());
            Some((count.trim().parse::<u64>().ok()?, window))
        };
        let ((limit, window), (remaining, other)) = (header("ratelimit-limit")?, header("ratelimit-remaining")?);
        Some(Self { limit, remaining, seconds: window.or(other) })
    }

    /// The window, where the registry says it.
    pub fn window(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }
}

/// What registries said last, by name.
#[derive(Default)]
pub(super) struct PullLimits(Mutex<BTreeMap<String, PullLimit>>);

impl PullLimits {
    /// Notes what `registry` says with a manifest; most say nothing.
    pub(super) fn note(&self, registry: &str, headers: &HeaderMap) {
        if let Some(limit) = PullLimit::of(headers) {
            locked(&self.0).insert(registry.to_owned(), limit);
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, PullLimit> {
        locked(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_with_and_without_its_window() {
        let headers = |limit: &str, remaining: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-limit", limit.parse().unwrap());
            headers.insert("ratelimit-remaining", remaining.parse().unwrap());
            PullLimit::of(&headers)
        };
        let hub = headers("100;w=21600", "76;w=21600");
        assert_eq!(hub, Some(PullLimit { limit: 100, remaining: 76, seconds: Some(21_600) }));
        assert_eq!(headers("200", "0"), Some(PullLimit { limit: 200, remaining: 0, seconds: None }));
        assert_eq!(headers("many", "0;w=1"), None);
    }
}
