//! What a run has done so far, for one line in place of a hundred: a person wants to
//! know that 93 wheels came, not the name of each.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::display::{bytes, seconds};
use crate::locked::locked;
use crate::progress::Activity;

/// A piece of work that is going on.
pub struct Running {
    /// Of what kind.
    pub activity: Activity,
    /// What it works on.
    pub subject: String,
    /// Its bytes, where they are known.
    pub total: Option<u64>,
    /// How many of them are done.
    pub done: u64,
    /// When it began.
    pub since: Instant,
}

impl Running {
    /// Work that begins now.
    pub fn begin(activity: Activity, subject: &str, total: Option<u64>) -> Self {
        Self { activity, subject: subject.to_owned(), total, done: 0, since: Instant::now() }
    }

    /// Leaves out what need not be done.
    pub fn skip(&mut self, bytes: u64) {
        self.total = self.total.map(|total| total.saturating_sub(bytes));
    }

    /// Its line when it has ended: `fetch numpy-….whl: downloaded (17 MB in 0.4 s)`.
    pub fn ended(&self, outcome: &str) -> String {
        let spent = match self.done {
            0 => String::new(),
            done => format!(" ({} in {})", bytes(done), seconds(self.since.elapsed())),
        };
        format!("{} {}: {outcome}{spent}", verb(self.activity), self.subject)
    }

    /// Its line in the middle: `push layer 1a2b…: 1.2 GB of 2.5 GB, 80 MB/s`.
    pub fn so_far(&self) -> String {
        let rate = self.done as f64 / self.since.elapsed().as_secs_f64().max(0.001);
        let total = self.total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
        format!("{} {}: {}{total}, {}/s", verb(self.activity), self.subject, bytes(self.done), bytes(rate as u64))
    }

    /// Whether a person has waited for it, and wants to know what it was.
    pub fn is_news(&self) -> bool {
        !counted(self.activity) || self.since.elapsed() > PATIENCE
    }
}

/// How long a wait is that a person asks about.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kinds of work that come in dozens.
fn counted(activity: Activity) -> bool {
    matches!(activity, Activity::Fetch | Activity::Build | Activity::Push | Activity::Pull)
}

/// What a piece of work does, in the imperative.
pub fn verb(activity: Activity) -> &'static str {
    match activity {
        Activity::Resolve => "resolve",
        Activity::Read => "read",
        Activity::Fetch => "fetch",
        Activity::Extract => "extract",
        Activity::Build => "build",
        Activity::Push => "push",
        Activity::Pull => "pull",
        Activity::Verify => "verify",
        Activity::Export => "export",
        Activity::Test => "test",
    }
}

/// The pieces of work of each kind that moved bytes.
#[derive(Default)]
pub struct Tally {
    kinds: Mutex<Vec<Kind>>,
}

struct Kind {
    activity: Activity,
    count: usize,
    bytes: u64,
    began: Instant,
    ended: Instant,
}

impl Tally {
    /// Counts `work`, which has just ended.
    pub fn count(&self, work: &Running) {
        // of a push its own last line says more
        let moved = work.done > 0 || work.activity == Activity::Build;
        if !counted(work.activity) || work.activity == Activity::Push || !moved {
            return;
        }
        let mut kinds = locked(&self.kinds);
        let now = Instant::now();
        match kinds.iter_mut().find(|kind| kind.activity == work.activity) {
            Some(kind) => {
                kind.count += 1;
                kind.bytes += work.done;
                kind.began = kind.began.min(work.since);
                kind.ended = now;
            }
            None => {
                kinds.push(Kind { activity: work.activity, count: 1, bytes: work.done, began: work.since, ended: now })
            }
        }
    }

    /// A line for each kind: `fetch: 93 files, 57 MB in 3.1 s`; without bytes where there
    /// were none to count, as of commands that were run.
    pub fn lines(&self) -> Vec<String> {
        let line = |kind: &Kind| {
            let noun = match (kind.activity, kind.count) {
                (Activity::Fetch, 1) => "file",
                (Activity::Fetch, _) => "files",
                (Activity::Build, 1) => "layer",
                (Activity::Build, _) => "layers",
                (_, 1) => "blob",
                _ => "blobs",
            };
            let took = seconds(kind.ended - kind.began);
            let moved = if kind.bytes > 0 { format!(", {}", bytes(kind.bytes)) } else { String::new() };
            format!("{}: {} {noun}{moved} in {took}", verb(kind.activity), kind.count)
        };
        locked(&self.kinds).drain(..).map(|kind| line(&kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dozens_of_pieces_of_work_are_one_line() {
        let tally = Tally::default();
        for (activity, done) in [(Activity::Fetch, 4_000), (Activity::Build, 7), (Activity::Fetch, 2_000)] {
            tally.count(&Running { done, ..Running::begin(activity, "it", None) });
        }
        // nothing moved: it was there already
        tally.count(&Running::begin(Activity::Push, "it", Some(9)));
        let lines = tally.lines();
        assert_eq!(lines, ["fetch: 2 files, 6.0 kB in 0.0 s", "build: 1 layer, 7 B in 0.0 s"]);
        assert_eq!(tally.lines(), Vec::<String>::new());
        tally.count(&Running::begin(Activity::Build, "run", None));
        assert_eq!(tally.lines(), ["build: 1 layer in 0.0 s"]);
    }
}
