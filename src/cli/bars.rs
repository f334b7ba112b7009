//! A bar for each piece of work that takes a moment and one for all of them, with
//! bytes, rate and time left.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::say;
use super::tally::{Running, Tally, verb};
use crate::locked::locked;
use crate::progress::{Event, Listener};

/// The bars of a run.
pub struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    /// What is going on, by its id; nothing once the bars are off the screen.
    running: Mutex<Option<HashMap<u64, Shown>>>,
    /// What was done.
    pub tally: Tally,
}

/// A piece of work and its bar, which it gets when it has lasted a moment.
struct Shown {
    work: Running,
    bar: Option<ProgressBar>,
}

/// How long a piece of work lasts before it gets a bar: what comes and goes at once
/// would only flicker.
const MOMENT: Duration = Duration::from_millis(400);

impl Default for Bars {
    fn default() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let total = screen.add(ProgressBar::new(0)).with_style(style(true)).with_prefix("in total");
        Self { screen, total, running: Mutex::new(Some(HashMap::new())), tally: Tally::default() }
    }
}

impl Bars {
    /// Takes the bars off the screen.
    pub fn clear(&self) {
        // Work that was given up may still tell how far it got.
        let mut running = locked(&self.running);
        for shown in running.take().into_iter().flat_map(HashMap::into_values) {
            shown.bar.iter().for_each(ProgressBar::finish_and_clear);
        }
        self.total.finish_and_clear();
        // an error: the screen is gone, and the bars with it
        let _ = self.screen.clear();
    }

    /// Writes lines above the bars.
    pub fn say_all(&self, lines: &[String]) {
        self.screen.suspend(|| lines.iter().for_each(|line| say(line)));
    }

    fn bar(&self, work: &Running) -> ProgressBar {
        let bar = match work.total {
            Some(total) => ProgressBar::new(total).with_style(style(true)),
            None => ProgressBar::new_spinner().with_style(style(false)),
        };
        let bar = self.screen.insert_before(&self.total, bar);
        bar.set_prefix(short(&format!("{} {}", verb(work.activity), work.subject)));
        bar.set_position(work.done);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

impl Listener for Bars {
    fn aside(&self, work: &mut dyn FnMut()) {
        self.screen.suspend(work);
    }

    fn hear(&self, event: &Event) {
        let mut running = locked(&self.running);
        let Some(running) = running.as_mut() else { return };
        match event {
            Event::Warning { message } => self.say_all(&[format!("warning: {message}")]),
            Event::Begin { id, activity, subject, total } => {
                let work = Running::begin(*activity, subject, *total);
                // no bytes moved while there were none to move: that says nothing of their rate
                if total.is_some() && running.values().all(|shown| shown.work.total.is_none()) {
                    self.total.reset_eta();
                }
                self.total.inc_length(total.unwrap_or(0));
                // without bytes there is no advance that could bring the bar later
                let bar = total.is_none().then(|| self.bar(&work));
                running.insert(*id, Shown { work, bar });
            }
            Event::Advance { id, bytes } => {
                let Some(Shown { work, bar }) = running.get_mut(id) else { return };
                work.done += bytes;
                match bar {
                    Some(bar) => bar.inc(*bytes),
                    None if work.since.elapsed() > MOMENT => *bar = Some(self.bar(work)),
                    None => {}
                }
                if work.total.is_some() {
                    self.total.inc(*bytes);
                }
            }
            Event::Skip { id, bytes } => {
                let Some(Shown { work, bar }) = running.get_mut(id) else { return };
                work.skip(*bytes);
                bar.iter().for_each(|bar| bar.dec_length(*bytes));
                self.total.dec_length(*bytes);
            }
            Event::Output { id, line } => {
                let Some(Shown { work, bar }) = running.get_mut(id) else { return };
                bar.get_or_insert_with(|| self.bar(work)).set_message(line.clone());
            }
            Event::End { id, outcome } => {
                let Some(Shown { work, bar }) = running.remove(id) else { return };
                bar.iter().for_each(ProgressBar::finish_and_clear);
                // Work that turned out to be done already counts as done.
                self.total.inc(work.total.unwrap_or(0).saturating_sub(work.done));
                let Some(outcome) = outcome else { return };
                self.tally.count(&work);
                if work.is_news() {
                    self.say_all(&[work.ended(outcome)]);
                }
            }
        }
    }
}

/// A line of a bar, as much of it as the terminal has room for.
fn style(sized: bool) -> ProgressStyle {
    let template = match (sized, console_width()) {
        (false, _) => "{prefix:<36} {spinner} {elapsed} {wide_msg}",
        (true, 100..) => {
            "{prefix:<36} {bar:24} {decimal_bytes:>10} of {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12} {eta:>4} left"
        }
        (true, _) => "{prefix:<30!} {percent:>3}% {decimal_bytes_per_sec:>12} {eta:>4}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ ")
}

/// The columns of the terminal; narrow if they can't be known.
fn console_width() -> u16 {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col)
}

/// Cuts a name that is too long for its column.
fn short(text: &str) -> String {
    match text.chars().count() {
        0..=36 => text.to_owned(),
        _ => text.chars().take(35).chain(['…']).collect(),
    }
}
