//! What this machine gives a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use super::{Error, Fallback, Lacks, launch};
use crate::progress::Progress;

/// What this machine gives a sandbox, the same for all steps of a build.
#[derive(Clone)]
pub struct Host {
    /// The dlpack program, which starts itself anew as a sandbox's first process.
    pub program: PathBuf,
    /// A directory on local disk for what a step writes.
    pub scratch: PathBuf,
    /// Where cache directories of `run` layers persist.
    pub caches: PathBuf,
    /// Where the output of steps is kept.
    pub logs: PathBuf,
    /// The files that `--secret NAME=FILE` names.
    pub secrets: BTreeMap<String, PathBuf>,
    /// Whether a person wants a shell where a step failed.
    pub shell_on_failure: bool,
    /// Who hears what steps print, and which fallback was taken.
    pub progress: Progress,
}

impl Host {
    /// What steps on this machine would do without that layers may show, found out by trial.
    ///
    /// # Errors
    /// If this machine can't run any; see [`Error`].
    pub fn lacks(&self) -> Result<Lacks, Error> {
        Ok(Lacks::of(launch::fallbacks(&self.program)?))
    }

    /// Tells of `fallback`, and of what follows from it, the first time.
    pub fn announce(&self, fallback: Fallback) {
        static TOLD: Mutex<BTreeSet<Fallback>> = Mutex::new(BTreeSet::new());
        let first = TOLD.lock().is_ok_and(|mut told| told.insert(fallback));
        if first {
            let consequence = match fallback.changes_layers() {
                true => "; layers that are made so are remembered apart: only machines that lack the same take them",
                false => "",
            };
            self.progress.warn(format!("{fallback}{consequence}"));
        }
    }
}
