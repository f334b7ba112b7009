//! What is going on, told as it happens. Whoever does the work tells a
//! [`Progress`]; whoever shows it implements [`Listener`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;

use crate::locked::locked;

/// The kinds of work that a person waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// Asking an index or a registry what there is.
    Resolve,
    /// Reading the base's layers for the files that a layer amends.
    Read,
    /// Downloading wheels and interpreters.
    Fetch,
    /// Laying the base's files out on disk.
    Extract,
    /// Writing layers.
    Build,
    /// Sending blobs.
    Push,
    /// Receiving blobs.
    Pull,
    /// Reading the store.
    Verify,
    /// Writing an image in another tool's form.
    Export,
    /// Running a recipe's tests.
    Test,
}

/// Something that happened. `id` is the same for all events of one piece of work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A piece of work begins.
    Begin {
        /// Which.
        id: u64,
        /// Of what kind.
        activity: Activity,
        /// What it works on, for a person.
        subject: String,
        /// Its bytes, where they are known.
        total: Option<u64>,
    },
    /// It got further.
    Advance {
        /// Which.
        id: u64,
        /// By how many bytes.
        bytes: u64,
    },
    /// Some of it need not be done: it was, by an earlier run.
    Skip {
        /// Which.
        id: u64,
        /// How many of its bytes.
        bytes: u64,
    },
    /// It ended.
    End {
        /// Which.
        id: u64,
        /// How: `built`, `mounted`, `already there` …; nothing if it failed.
        outcome: Option<String>,
    },
    /// What a command printed that works on it.
    Output {
        /// Which.
        id: u64,
        /// A line, without its end.
        line: String,
    },
    /// Something that a person should know, and that stops nothing.
    Warning {
        /// What.
        message: String,
    },
}

/// Shows events, or keeps them.
pub trait Listener: Send + Sync {
    /// Takes an event. Called from many threads; must not block for long.
    fn hear(&self, event: &Event);

    /// Does `work`, which has the terminal to itself; nothing is to be heard meanwhile.
    fn aside(&self, work: &mut dyn FnMut()) {
        work();
    }
}

/// Where work tells what it does. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    listener: Arc<dyn Listener>,
    next: Arc<AtomicU64>,
    /// What happened while somebody else has the terminal.
    held: Arc<Mutex<Option<Vec<Event>>>>,
}

impl Progress {
    /// Progress that `listener` hears.
    pub fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, next: Arc::default(), held: Arc::default() }
    }

    /// Progress that nobody hears.
    pub fn silent() -> Self {
        struct Nobody;
        impl Listener for Nobody {
            fn hear(&self, _: &Event) {}
        }
        Self::new(Arc::new(Nobody))
    }

    /// Begins a piece of work on `subject`, of `total` bytes where that is known.
    pub fn task(&self, activity: Activity, subject: impl Into<String>, total: Option<u64>) -> Task {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::Begin { id, activity, subject: subject.into(), total });
        Task { progress: self.clone(), id, ended: false }
    }

    /// Does `work`, which has the terminal to itself: what happens meanwhile is told
    /// afterwards.
    pub fn aside(&self, work: &mut dyn FnMut()) {
        *self.held() = Some(Vec::new());
        self.listener.aside(work);
        let mut held = self.held();
        held.take().iter().flatten().for_each(|event| self.listener.hear(event));
    }

    fn tell(&self, event: Event) {
        let mut held = self.held();
        match held.as_mut() {
            Some(held) => held.push(event),
            None => {
                drop(held);
                self.listener.hear(&event);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Event>>> {
        locked(&self.held)
    }

    /// Tells something that a person should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.tell(Event::Warning { message: message.into() });
    }
}

/// A piece of work. Dropped without [`Task::end`], it failed.
pub struct Task {
    progress: Progress,
    id: u64,
    ended: bool,
}

impl Task {
    /// Says that `bytes` more are done.
    pub fn advance(&self, bytes: u64) {
        self.progress.tell(Event::Advance { id: self.id, bytes });
    }

    /// Says that `bytes` of it need not be done: they were, by an earlier run.
    pub fn skip(&self, bytes: u64) {
        self.progress.tell(Event::Skip { id: self.id, bytes });
    }

    /// Where a command that works on it tells what it prints.
    pub fn output(&self) -> Output {
        Output { progress: self.progress.clone(), id: self.id }
    }

    /// Says how it ended.
    pub fn end(mut self, outcome: impl Into<String>) {
        self.ended = true;
        self.progress.tell(Event::End { id: self.id, outcome: Some(outcome.into()) });
    }
}

/// Where a command that works on a task tells what it prints. Cheap to clone.
#[derive(Clone)]
pub struct Output {
    progress: Progress,
    id: u64,
}

impl Output {
    /// Tells a line, without its end.
    pub fn line(&self, line: impl Into<String>) {
        self.progress.tell(Event::Output { id: self.id, line: line.into() });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.progress.tell(Event::End { id: self.id, outcome: None });
        }
    }
}
