//! How events are shown: bars on a terminal, plain lines elsewhere, JSON lines
//! for programs. Always on stderr; stdout is for results.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::display::{bytes, seconds};
use crate::progress::{Activity, Event, Listener, Progress};

/// How much a person wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing but warnings.
    Quiet,
    /// What ended.
    Normal,
    /// What began, too.
    Verbose,
}

/// The listener that suits where stderr goes.
pub fn listener(json: bool, detail: Detail) -> (Progress, Option<Arc<Bars>>) {
    if json {
        return (Progress::new(Arc::new(JsonLines { quiet: detail == Detail::Quiet })), None);
    }
    if detail == Detail::Normal && std::io::stderr().is_terminal() {
        let bars = Arc::new(Bars::new());
        return (Progress::new(bars.clone()), Some(bars));
    }
    (Progress::new(Arc::new(Lines { detail, running: Mutex::default() })), None)
}

/// One JSON object an event, without the advances, which come too often to be read.
struct JsonLines {
    quiet: bool,
}

impl Listener for JsonLines {
    fn hear(&self, event: &Event) {
        let wanted = match event {
            Event::Advance { .. } => false,
            Event::Warning { .. } => true,
            Event::Begin { .. } | Event::End { .. } => !self.quiet,
        };
        if wanted && let Ok(line) = serde_json::to_string(event) {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

struct Running {
    activity: Activity,
    subject: String,
    total: Option<u64>,
    done: u64,
    since: Instant,
    told: Instant,
}

/// A line for everything that ended, and one now and then for what takes long.
struct Lines {
    detail: Detail,
    running: Mutex<HashMap<u64, Running>>,
}

/// How long a piece of work may be silent where there are no bars.
const SILENCE: Duration = Duration::from_secs(15);

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        let mut running = locked(&self.running);
        match event {
            Event::Warning { message } => say(&format!("warning: {message}")),
            Event::Begin { id, activity, subject, total } => {
                if self.detail == Detail::Verbose {
                    say(&format!("{} {subject} …", verb(*activity)));
                }
                let now = Instant::now();
                let work = Running {
                    activity: *activity,
                    subject: subject.clone(),
                    total: *total,
                    done: 0,
                    since: now,
                    told: now,
                };
                running.insert(*id, work);
            }
            Event::Advance { id, bytes: more } => {
                let Some(work) = running.get_mut(id) else { return };
                work.done += more;
                if self.detail != Detail::Quiet && work.told.elapsed() > SILENCE {
                    work.told = Instant::now();
                    say(&format!("{} {}: {}", verb(work.activity), work.subject, so_far(work)));
                }
            }
            Event::End { id, outcome } => {
                let Some(work) = running.remove(id) else { return };
                // What was there already is no news.
                let wanted = match self.detail {
                    Detail::Quiet => false,
                    Detail::Normal => {
                        work.done > 0 || work.activity != Activity::Push || outcome.as_deref() == Some("mounted")
                    }
                    Detail::Verbose => true,
                };
                if wanted && let Some(outcome) = outcome {
                    say(&format!("{} {}: {outcome}{}", verb(work.activity), work.subject, spent(&work)));
                }
            }
        }
    }
}

fn so_far(work: &Running) -> String {
    let rate = work.done as f64 / work.since.elapsed().as_secs_f64().max(0.001);
    let total = work.total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
    format!("{}{total}, {}/s", bytes(work.done), bytes(rate as u64))
}

fn spent(work: &Running) -> String {
    let took = work.since.elapsed();
    match work.done {
        0 => String::new(),
        done => format!(" ({} in {})", bytes(done), seconds(took)),
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn verb(activity: Activity) -> &'static str {
    match activity {
        Activity::Resolve => "resolve",
        Activity::Read => "read",
        Activity::Fetch => "fetch",
        Activity::Build => "build",
        Activity::Push => "push",
        Activity::Pull => "pull",
        Activity::Verify => "verify",
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bar for each piece of work and one for all of them, with bytes, rate and
/// time left.
pub struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    running: Mutex<HashMap<u64, (ProgressBar, Running)>>,
}

impl Bars {
    fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let total = screen.add(ProgressBar::new(0));
        total.set_style(style("{msg:<36} {bar:24} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>5} left"));
        total.set_message("in total");
        Self { screen, total, running: Mutex::default() }
    }

    /// Takes the bars off the screen.
    pub fn clear(&self) {
        self.total.finish_and_clear();
        let _ = self.screen.clear();
    }
}

impl Listener for Bars {
    fn hear(&self, event: &Event) {
        let mut running = locked(&self.running);
        match event {
            Event::Warning { message } => self.screen.suspend(|| say(&format!("warning: {message}"))),
            Event::Begin { id, activity, subject, total } => {
                let bar = match total {
                    Some(total) => ProgressBar::new(*total).with_style(style(
                        "{msg:<36} {bar:24} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>5} left",
                    )),
                    None => ProgressBar::new_spinner().with_style(style("{msg:<36} {spinner} {elapsed}")),
                };
                let bar = self.screen.insert_before(&self.total, bar);
                bar.set_message(short(&format!("{} {subject}", verb(*activity))));
                bar.enable_steady_tick(Duration::from_millis(200));
                self.total.inc_length(total.unwrap_or(0));
                let now = Instant::now();
                let (activity, subject) = (*activity, subject.clone());
                running
                    .insert(*id, (bar, Running { activity, subject, total: *total, done: 0, since: now, told: now }));
            }
            Event::Advance { id, bytes: more } => {
                let Some((bar, work)) = running.get_mut(id) else { return };
                work.done += more;
                bar.inc(*more);
                if work.total.is_some() {
                    self.total.inc(*more);
                }
            }
            Event::End { id, outcome } => {
                let Some((bar, work)) = running.remove(id) else { return };
                bar.finish_and_clear();
                // Work that turned out to be done already counts as done.
                self.total.inc(work.total.unwrap_or(0).saturating_sub(work.done));
                if let Some(outcome) = outcome {
                    let line = format!("{} {}: {outcome}{}", verb(work.activity), work.subject, spent(&work));
                    self.screen.suspend(|| say(&line));
                }
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ ")
}

/// Cuts a name that is too long for its column.
fn short(text: &str) -> String {
    match text.chars().count() {
        0..=36 => text.to_owned(),
        _ => text.chars().take(35).chain(['…']).collect(),
    }
}
