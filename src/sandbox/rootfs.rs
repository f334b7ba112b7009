//! What lies under a step, and the sandbox that is opened over it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::diff::{Broken, receive};
use super::launch::{Beside, Helper};
use super::lookup::{Below, Entry};
use super::scratch::Directory;
use super::spec::{Opening, Task};
use super::{
    Account, Change, Ending, Error, Fallback, Host, Identity, Lacks, Log, Step, lookup, network, terminal, user,
};
use crate::locked::locked;
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
    /// What sandboxes on it did without.
    fallbacks: Arc<Mutex<BTreeSet<Fallback>>>,
}

impl Rootfs {
    /// The root filesystem of `lower`, lowest first, on which `host` runs steps.
    pub fn new(lower: Vec<PathBuf>, host: Arc<Host>) -> Self {
        Self { lower, host: Some(host), label: "step".into(), ..Self::default() }
    }

    /// The same for what is called `label` in the names of logs, and of which
    /// [`Self::lacks`] tells. `output` hears what its steps print.
    pub fn labelled(self, label: impl Into<String>, output: Output) -> Self {
        Self { label: label.into(), output: Some(output), fallbacks: Arc::default(), ..self }
    }

    /// What sandboxes on it, and on clones of it, so far did without that a layer may show.
    pub fn lacks(&self) -> Lacks {
        Lacks::of(locked(&self.fallbacks).iter().copied())
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
        let failed = |source| Error::Io { doing: "read from the root filesystem", path: path.into(), source };
        lookup::read(&self.lower, path).map_err(failed)
    }

    /// What is at `path` (without a leading slash): links on the way are followed inside
    /// the root, one at its end is itself.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        let failed = |source| Error::Io { doing: "read from the root filesystem", path: path.into(), source };
        lookup::entry(&self.lower, path).map_err(failed)
    }

    /// Where links lead from `path`, on the way and at its end, inside the root: without a leading slash;
    /// none if nothing is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn real(&self, path: &str) -> Result<Option<String>, Error> {
        let failed = |source| Error::Io { doing: "read from the root filesystem", path: path.into(), source };
        lookup::real(&self.lower, path).map_err(failed)
    }

    /// The names in the directory at `path`, sorted; none if there is no directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self, path: &str) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Io { doing: "read from the root filesystem", path: path.into(), source };
        lookup::names(&self.lower, path).map_err(failed)
    }

    /// The files and links below the directory at `path`, however deep, sorted; none if there is no
    /// directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn below(&self, path: &str) -> Result<Vec<Below>, Error> {
        let failed = |source| Error::Io { doing: "read from the root filesystem", path: path.into(), source };
        lookup::below(&self.lower, path).map_err(failed)
    }

    /// Who `user` is here: `user`, `uid`, `user:group`, `uid:gid` …, as image-spec
    /// `config.md` has it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`super::Refusal::User`] if passwd(5) and group(5) know no such user.
    pub fn account(&self, user: &str) -> Result<Account, Error> {
        let read = |path| Ok(String::from_utf8_lossy(&self.read(path)?.unwrap_or_default()).into_owned());
        user::account(user, &read("etc/passwd")?, &read("etc/group")?).map_err(Error::Refused)
    }

    /// A sandbox over it, with nothing changed yet, in which the caller is root.
    ///
    /// # Errors
    /// If this machine can't run one; see [`Error`].
    pub fn open(&self) -> Result<Sandbox, Error> {
        self.open_as(Identity::Root)
    }

    /// The same with the caller as `identity`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(&self, identity: Identity) -> Result<Sandbox, Error> {
        let host = self.host()?;
        self.open_on(Directory::create(&host.scratch)?, None, identity)
    }

    /// The same in the directory of `lasting`, with what an earlier one wrote there, if one did; what this one
    /// writes stays there. The lower directories, and the identity, are to be the same.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_lasting(&self, lasting: &Lasting, identity: Identity) -> Result<Sandbox, Error> {
        self.open_on(Directory::lasting(&lasting.directory)?, Some(lasting), identity)
    }

    fn open_on(&self, directory: Directory, lasting: Option<&Lasting>, identity: Identity) -> Result<Sandbox, Error> {
        let host = self.host()?;
        let path = directory.path().to_owned();
        let opening = Opening { lower: self.lower.clone(), directory: path, lasting: lasting.is_some(), identity };
        let locks: Vec<_> = lasting.iter().flat_map(|lasting| [directory.lock(), lasting.lock.as_fd()]).collect();
        let (helper, fallbacks) = Helper::start(host, opening, &locks)?;
        let mut sandbox = Sandbox { rootfs: self.clone(), helper, directory, fallbacks: BTreeSet::new() };
        sandbox.announce(fallbacks);
        Ok(sandbox)
    }
}

/// Where a sandbox writes what stays, and an earlier one wrote.
#[derive(Debug)]
pub struct Lasting {
    /// The directory.
    pub directory: PathBuf,
    /// A lock that is held until nothing of the sandbox is left, even if this process is killed.
    pub lock: OwnedFd,
}

/// A root filesystem that can be written to, until it is dropped.
pub struct Sandbox {
    rootfs: Rootfs,
    // before the directory: the helper must have let go of it
    helper: Helper,
    directory: Directory,
    fallbacks: BTreeSet<Fallback>,
}

impl Sandbox {
    /// Whether what steps are given is copied, and what they make of it copied back: nothing
    /// can be mounted.
    pub fn copies_mounts(&self) -> bool {
        self.fallbacks.contains(&Fallback::Chroot)
    }

    /// Whether a step without network has a loopback of its own, and not this machine's.
    ///
    /// # Errors
    /// If the sandbox is gone.
    pub fn has_own_network(&self) -> Result<bool, Error> {
        Ok(!self.helper.network()?.contains(&Fallback::HostNetwork))
    }

    /// Runs `step` to its end. `output` takes what it prints, as it comes.
    ///
    /// # Errors
    /// If it can't be started, or fails; what it changed stays, for a look at it.
    pub fn run(&mut self, step: &Step, output: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let failed = |source| Error::Io { doing: "open", path: "/dev/null".into(), source };
        let input = File::open("/dev/null").map_err(failed)?;
        let (ending, fallbacks) =
            self.helper.run(network::task(step, |name| std::env::var(name).ok()), input.into(), output)?;
        self.announce(fallbacks);
        match ending {
            Ending::Exit(0) => Ok(()),
            ending => Err(Error::Step { command: step.command.join(" "), ending }),
        }
    }

    /// Runs `step` to its end as if it were a program of this machine's: with this
    /// process' stdin, stdout and stderr, or at a terminal if a person sits there. Each
    /// byte that comes from `signals`, which `signal` leads to, is the number of a signal for it;
    /// further commands come in by `door`, if there is one. When it is stopped, so is this process.
    ///
    /// # Errors
    /// If it can't be started; however it ends is no error.
    pub fn attach(
        &mut self,
        step: &Step,
        signals: &PipeReader,
        signal: &PipeWriter,
        door: Option<OwnedFd>,
    ) -> Result<Ending, Error> {
        let beside = Beside { signals: signals.as_fd(), signal, door };
        let task = network::task(step, |name| std::env::var(name).ok());
        let at_terminal = terminal::of_person().filter(|_| io::stdout().is_terminal());
        let (ending, fallbacks) = match at_terminal {
            Some(person) => self.helper.interact(Task { interactive: true, ..task }, person, beside)?,
            None => self.helper.attach(task, beside)?,
        };
        self.announce(fallbacks);
        Ok(ending)
    }

    /// Runs `task`, which a person at `terminal` is to have in their hands.
    pub(super) fn interact(&mut self, task: Task, terminal: File) -> Result<(), Error> {
        let failed = |source| Error::Io { doing: "make", path: "a pipe".into(), source };
        let (signals, signal) = io::pipe().map_err(failed)?;
        let beside = Beside { signals: signals.as_fd(), signal: &signal, door: None };
        let (_, fallbacks) = self.helper.interact(task, terminal, beside)?;
        self.announce(fallbacks);
        Ok(())
    }

    /// What this machine gives.
    pub(super) fn host(&self) -> Result<&Host, Error> {
        self.rootfs.host()
    }

    fn announce(&mut self, fallbacks: Vec<Fallback>) {
        for fallback in fallbacks {
            if let Ok(host) = self.rootfs.host() {
                host.announce(fallback);
            }
            self.fallbacks.insert(fallback);
        }
        locked(&self.rootfs.fallbacks).extend(&self.fallbacks);
    }

    /// What it does without, so far.
    pub fn fallbacks(&self) -> &BTreeSet<Fallback> {
        &self.fallbacks
    }

    /// The sandbox's own directory on this machine.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the steps changed, sorted by path; `each` is given every path with a file's
    /// content, and says whether the layer has that under this path. Other names of a file
    /// are hard links to the first that the layer has.
    ///
    /// # Errors
    /// If it can't be read, or the first error of `each`.
    pub fn changes<E: From<Error>>(
        self,
        each: &mut dyn FnMut(Change, &mut dyn Read) -> Result<bool, E>,
    ) -> Result<(), E> {
        let received = receive(&self.helper.changes()?, each);
        let written = self.helper.written();
        match received {
            Ok(()) => Ok(written?),
            Err(Broken::Refused(error)) => Err(error),
            // the helper knows better why it broke off
            Err(Broken::Lost(source)) => Err(written.err().unwrap_or(Error::Helper { source }).into()),
        }
    }
}
