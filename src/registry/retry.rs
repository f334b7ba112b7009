//! When to ask again: exponential pauses with jitter, and a registry's own
//! `Retry-After`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use reqwest::Response;
use reqwest::header::RETRY_AFTER;

use super::Error;
use super::http::{SILENCE, redacted};

type Pause = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;
type Notice = Arc<dyn Fn(&Error) + Send + Sync>;

/// How many times a host is called that does not answer at all.
const KNOCKS: u32 = 4;

/// How often, and after how long, a failed request is sent again.
#[derive(Clone)]
pub struct Retry {
    /// How many times a request is sent in all.
    pub attempts: u32,
    /// The first pause; each later one is twice as long.
    pub first: Duration,
    /// The longest pause of our own.
    pub longest: Duration,
    /// The longest `Retry-After` that is obeyed.
    pub patience: Duration,
    /// How long a registry may be silent while an answer is awaited or read; while
    /// it has to take in an upload, five times as long.
    pub silence: Duration,
    pause: Pause,
    notice: Notice,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            patience: Duration::from_secs(120),
            silence: SILENCE,
            pause: Arc::new(|pause| Box::pin(tokio::time::sleep(pause))),
            notice: Arc::new(|_| {}),
        }
    }
}

impl Retry {
    /// The same policy with another way to pass the time.
    pub fn with_pause(self, pause: impl Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { pause: Arc::new(pause), ..self }
    }

    /// The same policy, which tells `notice` why a request is sent again, the first time.
    pub fn with_notice(self, notice: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self { notice: Arc::new(notice), ..self }
    }

    /// A single attempt.
    pub(super) fn once(&self) -> Attempts {
        Attempts { policy: Self { attempts: 1, ..self.clone() }, failed: 0 }
    }

    /// The attempts to reach a host that nobody has heard of yet, within some seconds: it may be
    /// starting, but most often its name is wrong, and a person waits.
    pub(super) fn knocks(&self) -> Attempts {
        Attempts { policy: Self { attempts: self.attempts.min(KNOCKS), ..self.clone() }, failed: 0 }
    }

    /// The attempts at one request.
    pub(super) fn begin(&self) -> Attempts {
        Attempts { policy: self.clone(), failed: 0 }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

/// The attempts made so far at one thing.
pub(super) struct Attempts {
    policy: Retry,
    failed: u32,
}

impl Attempts {
    /// Counts a failure and waits, unless it is final: then it is given back.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Error> {
        if !failure.error.is_transient() {
            return Err(failure.error);
        }
        self.after_any(failure).await
    }

    /// The same for a failure after which one begins anew, whatever it was.
    pub(super) async fn after_any(&mut self, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        if self.failed >= self.policy.attempts {
            return Err(failure.error);
        }
        if self.failed == 1 {
            (self.policy.notice)(&failure.error);
        }
        (self.policy.pause)(failure.wait.unwrap_or_else(|| self.pause())).await;
        Ok(())
    }

    /// Forgets earlier failures: there was progress since.
    pub(super) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Half of the pause is certain, half is left to chance, so that many clients
    /// that failed together don't come back together.
    fn pause(&self) -> Duration {
        let doubled = self.policy.first.saturating_mul(1 << (self.failed - 1).min(16));
        let whole = doubled.min(self.policy.longest);
        whole / 2 + whole.mul_f64(fastrand::f64() / 2.0)
    }
}

/// A failed attempt, and how long the registry wants to be left alone.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) wait: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, wait: None }
    }
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110 10.2.3). What is
/// neither counts as absent.
///
/// # Errors
/// [`Error::AskedToWait`] beyond the policy's patience.
pub(super) fn retry_after(policy: &Retry, response: &Response) -> Result<Option<Duration>, Error> {
    let Some(text) = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is as absurd as a century.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else if let Ok(date) = httpdate::parse_http_date(text) {
        date.duration_since(SystemTime::now()).unwrap_or_default()
    } else {
        return Ok(None);
    };
    if wait > policy.patience {
        let wait: String = match wait.as_secs() {
            u64::MAX => text.chars().take(40).collect(),
            seconds => format!("{seconds} seconds"),
        };
        return Err(Error::AskedToWait { url: redacted(response.url()), wait, patience: policy.patience });
    }
    Ok((!wait.is_zero()).then_some(wait))
}
