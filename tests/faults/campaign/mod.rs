//! The fault campaign: the same code that the tests run within bounds, and
//! `cargo bench --bench faults` whole.

pub mod cases;
pub mod disk;
pub mod flips;
pub mod home;
pub mod hundredths;
pub mod kills;
pub mod scene;
pub mod stepped;
pub mod together;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dlpack::registry::serve::Fault;

use scene::{Failure, Place, Scene};

/// What is right after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It passes: the work is done all the same.
    Survived,
    /// It stays: an error of this name, and nothing wrong is kept.
    Refused(&'static str),
}

/// What goes wrong, and what is right then.
pub struct Case {
    pub name: String,
    pub faults: Vec<Fault>,
    pub expected: Expected,
    pub bounds: Bounds,
}

/// How this side is set up.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// The longest part of an upload, in bytes, if not the usual one.
    pub part: Option<u64>,
    /// How long a registry may be silent.
    pub silence: Duration,
}

impl Bounds {
    /// So patient that a busy machine adds no failures of its own.
    pub const USUAL: Self = Self { part: None, silence: Duration::from_secs(60) };

    /// For a registry that is to be found silent.
    pub fn impatient(self) -> Self {
        Self { silence: Duration::from_secs(1), ..self }
    }
}

impl Case {
    pub fn survived(name: impl Into<String>, faults: Vec<Fault>) -> Self {
        Self { name: name.into(), faults, expected: Expected::Survived, bounds: Bounds::USUAL }
    }

    pub fn refused(name: impl Into<String>, error: &'static str, fault: Fault) -> Self {
        let expected = Expected::Refused(error);
        Self { name: name.into(), faults: vec![fault.always()], expected, bounds: Bounds::USUAL }
    }
}

/// Which way an image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Pull,
    Push,
}

/// What became of the faults of one class.
pub struct Tally {
    class: String,
    survived: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    pub fn new(class: impl Into<String>) -> Self {
        Self { class: class.into(), survived: 0, refused: 0, wrong: Vec::new() }
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.survived + self.refused + self.wrong.len()
    }

    /// Counts what `judge` says; where it panics, that was wrong.
    pub fn count(&mut self, case: &str, judge: impl FnOnce() -> Expected) {
        self.count_as(1, case, judge);
    }

    /// The same for several faults at once.
    pub fn count_as(&mut self, faults: usize, case: &str, judge: impl FnOnce() -> Expected) {
        match catch_unwind(AssertUnwindSafe(judge)) {
            Ok(Expected::Survived) => self.survived += faults,
            Ok(Expected::Refused(_)) => self.refused += faults,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
                self.wrong.push(format!("{case}: {said}"));
            }
        }
    }

    /// Runs `case` at `place` and counts it.
    pub fn run(&mut self, place: &Place, way: Way, case: Case) {
        let name = case.name.clone();
        self.count(&name, || {
            let scene = Scene::new(place, way, case.faults, case.bounds);
            let outcome = scene.go(way);
            assert!(scene.all_fell(), "the fault did not fall");
            match (case.expected, outcome) {
                (Expected::Survived, Ok(digest)) => assert_eq!(digest, scene.image),
                (Expected::Survived, Err(failure)) => panic!("{failure:?}"),
                (Expected::Refused(_), Ok(_)) => panic!("it succeeded"),
                (Expected::Refused(error), Err(failure)) => assert_eq!(name_of(&failure), error, "{failure:?}"),
            }
            scene.assert_sound();
            scene.set_faults(Vec::new());
            assert_eq!(scene.go(way).expect("the next honest run succeeds"), scene.image);
            scene.assert_arrived(way);
            case.expected
        });
    }

    /// Panics with what was wrong.
    #[track_caller]
    pub fn assert_none_wrong(&self) {
        assert!(self.wrong().is_empty(), "{self}\n{}", self.wrong.join("\n"));
    }

    /// The same, and that there was something.
    #[track_caller]
    pub fn assert_all_right(&self) {
        self.assert_none_wrong();
        assert!(self.total() > 0, "{self}: nothing was run");
    }

    /// What was wrong, case by case.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, survived, refused, wrong } = self;
        write!(f, "{class:<52} {survived:>6} survived {refused:>6} refused rightly {:>4} wrong", wrong.len())
    }
}

/// The name of the error's variant.
pub fn name_of(failure: &Failure) -> String {
    let Failure::Registry(error) = failure else { return format!("{failure:?}") };
    let debug = format!("{error:?}");
    // A connection that breaks at the first byte may or may not have brought the headers.
    let debug = debug.replace("Broken {", "Http {");
    debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
