//! How events are shown: bars on a terminal, plain lines elsewhere, JSON lines
//! for programs. Always on stderr; stdout is for results.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bars::Bars;
use super::tally::{Running, Tally, verb};
use crate::locked::locked;
use crate::progress::{Event, Listener, Progress};

/// How much a person wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing but warnings.
    Quiet,
    /// What took long, and how much was done in all.
    Normal,
    /// Each piece of work as it begins and ends.
    Verbose,
}

/// What is shown of a run, and where.
pub enum Display {
    /// A terminal with bars.
    Bars(Arc<Bars>),
    /// Lines for a person.
    Lines(Arc<Lines>),
    /// Lines for a program.
    Json(Arc<JsonLines>),
}

impl Display {
    /// The display that suits where stderr goes.
    pub fn new(json: bool, detail: Detail) -> Self {
        let bars = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match (json, detail) {
            (true, _) => Self::Json(Arc::new(JsonLines { quiet: detail == Detail::Quiet })),
            (false, Detail::Normal) if bars => Self::Bars(Arc::default()),
            _ => Self::Lines(Arc::new(Lines { detail, running: Mutex::default(), tally: Tally::default() })),
        }
    }

    /// Where work tells what it does.
    pub fn progress(&self) -> Progress {
        match self {
            Self::Bars(bars) => Progress::new(bars.clone()),
            Self::Lines(lines) => Progress::new(lines.clone()),
            Self::Json(lines) => Progress::new(lines.clone()),
        }
    }

    /// Says how much was done since this was last called.
    pub fn sum_up(&self) {
        match self {
            Self::Bars(bars) => bars.say_all(&bars.tally.lines()),
            Self::Lines(lines) if lines.detail != Detail::Quiet => {
                lines.tally.lines().iter().for_each(|line| say(line))
            }
            Self::Lines(_) | Self::Json(_) => {}
        }
    }

    /// Takes what is drawn off the screen.
    pub fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }
}

/// One JSON object an event, without the advances, which come too often to be read.
pub struct JsonLines {
    quiet: bool,
}

impl Listener for JsonLines {
    fn hear(&self, event: &Event) {
        let wanted = match event {
            Event::Advance { .. } => false,
            Event::Warning { .. } => true,
            Event::Begin { .. } | Event::Skip { .. } | Event::Output { .. } | Event::End { .. } => !self.quiet,
        };
        if wanted && let Ok(line) = serde_json::to_string(event) {
            say(&line);
        }
    }
}

/// A line for what took long, now and then one in the middle of it, and with
/// `--verbose` for all that begins and ends.
pub struct Lines {
    detail: Detail,
    /// What is going on, by its id, and when it was last told of.
    running: Mutex<HashMap<u64, (Running, Instant)>>,
    tally: Tally,
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
                running.insert(*id, (Running::begin(*activity, subject, *total), Instant::now()));
            }
            Event::Advance { id, bytes } => {
                let Some((work, told)) = running.get_mut(id) else { return };
                work.done += bytes;
                if self.detail != Detail::Quiet && told.elapsed() > SILENCE {
                    *told = Instant::now();
                    say(&work.so_far());
                }
            }
            Event::Skip { id, bytes } => {
                let Some((work, _)) = running.get_mut(id) else { return };
                work.skip(*bytes);
            }
            Event::Output { id, line } => {
                let Some((work, told)) = running.get_mut(id) else { return };
                *told = Instant::now();
                if self.detail != Detail::Quiet {
                    say(&format!("{}: {line}", work.subject));
                }
            }
            Event::End { id, outcome } => {
                let (Some((work, _)), Some(outcome)) = (running.remove(id), outcome) else { return };
                self.tally.count(&work);
                let wanted = match self.detail {
                    Detail::Quiet => false,
                    Detail::Normal => work.is_news(),
                    Detail::Verbose => true,
                };
                if wanted {
                    say(&work.ended(outcome));
                }
            }
        }
    }
}

/// Writes a line. What can't be written is not missed.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
