//! What lies under a step, and the sandbox that is opened over it.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Change, Error, Host, Log, Step};
use crate::progress::Output;

/// What a changeset sees beneath it: extracted layers, which are never written to.
/// An assembled changeset looks at none of it.
#[derive(Clone, Default)]
pub struct Rootfs {
    /// Directories in overlayfs's form, lowest first.
    lower: Vec<PathBuf>,
    host: Option<Arc<Host>>,
    /// What messages and logs call what is made on it.
    label: String,
    /// Who hears what steps print.
    output: Option<Output>,
}

impl Rootfs {
    /// The root filesystem of `lower`, lowest first, on which `host` runs steps.
    pub fn new(lower: Vec<PathBuf>, host: Arc<Host>) -> Self {
        Self { lower, host: Some(host), label: "step".into(), output: None }
    }

    /// The same for what is called `label` in the names of logs. `output` hears what
    /// its steps print.
    pub fn labelled(self, label: impl Into<String>, output: Output) -> Self {
        Self { label: label.into(), output: Some(output), ..self }
    }

    /// A new log of what steps on it print.
    ///
    /// # Errors
    /// [`Error::NoRootfs`]; [`Error::Io`] if the log can't be made.
    pub fn log(&self) -> Result<Log, Error> {
        Log::create(&self.host()?.logs, &self.label, self.output.clone())
    }

    /// What this machine gives to steps on it.
    ///
    /// # Errors
    /// [`Error::NoRootfs`].
    pub fn host(&self) -> Result<&Host, Error> {
        self.host.as_deref().ok_or(Error::NoRootfs { command: String::new() })
    }

    /// The content of the file at `path` (without a leading slash), links followed
    /// inside the root; none if there is no file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let _ = path;
        Ok(None)
    }

    /// A sandbox over it, with nothing changed yet.
    ///
    /// # Errors
    /// If this machine can't run one; see [`Error`].
    pub fn open(&self) -> Result<Sandbox, Error> {
        Ok(Sandbox { rootfs: self.clone() })
    }
}

/// A root filesystem that can be written to, until it is dropped.
pub struct Sandbox {
    rootfs: Rootfs,
}

impl Sandbox {
    /// Runs `step` to its end. `output` takes what it prints, as it comes.
    ///
    /// # Errors
    /// If it can't be started, or fails; what it changed stays, for a look at it.
    pub fn run(&mut self, step: &Step, output: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let _ = (output, &self.rootfs.lower);
        Err(Error::NoRootfs { command: step.command.join(" ") })
    }

    /// What the steps changed, sorted by path; `each` is given every path, and a
    /// file's content.
    ///
    /// # Errors
    /// If it can't be read, or the first error of `each`.
    pub fn changes<E: From<Error>>(
        self,
        each: &mut dyn FnMut(Change, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let _ = each;
        Ok(())
    }
}
