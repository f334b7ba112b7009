//! An apt layer, resolved by the base's own apt: it reads the archives, verifies their
//! signatures, and says what it would install. Nothing is installed for it.

mod answer;
mod error;
mod state;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use url::Url;

use super::model::{LockedApt, LockedDeb, LockedInput};
use crate::apt::auth;
use crate::apt::mirrors::Mirrors;
use crate::apt::proxy::Proxies;
use crate::apt::script::{GIVEN, Scripts};
use crate::apt::sources;
use crate::oci::Digest;
use crate::recipe::{Apt, AptSource};
use crate::sandbox::{Directory, Mount, MountKind, Rootfs, Sandbox};
use answer::Answer;
pub use error::Error;
use state::State;

/// Where scripts leave what apt said.
const ANSWERS: &str = "/run/dlpack-answers";

/// What of this machine's apt.conf(5) the base's apt is given.
const SETTINGS: &str = "apt.conf";

/// What of this machine's apt_auth.conf(5) it is given.
const CREDENTIALS: &str = "auth.conf";

/// How much of an answer is read, in bytes: a whole distribution's records are less.
const LARGEST_ANSWER: u64 = 256 << 20;

/// The base's apt, asked for one layer after the other.
pub(super) struct Asking<'a> {
    rootfs: &'a Rootfs,
    /// The recipe's directory.
    directory: &'a Path,
    mirrors: Mirrors,
    proxies: Proxies,
    /// Those that the base's apt knows.
    archives: Vec<Url>,
    sandbox: Sandbox,
    given: Scripts,
    /// The archives that the recipe and this machine name, as they are asked: what this machine's
    /// apt logs in to these with, the base's may know.
    named: Vec<Url>,
    /// Where scripts leave what apt said. Only they write here, and only files are read.
    answers: Directory,
    /// What is installed as far as the layers up to now are.
    state: State,
    /// The archives have been read.
    updated: bool,
}

/// The archives in the lists of the base.
fn archives(rootfs: &Rootfs) -> Result<Vec<Url>, Error> {
    let parts = rootfs.names("etc/apt/sources.list.d")?;
    let lists = parts.into_iter().map(|part| format!("etc/apt/sources.list.d/{part}"));
    let mut archives = Vec::new();
    for list in lists.chain(["etc/apt/sources.list".to_owned()]) {
        let text = rootfs.read(&list)?.unwrap_or_default();
        let entries = sources::in_list(Path::new(&list), &String::from_utf8_lossy(&text));
        archives.extend(entries.into_iter().map(|entry| entry.url));
    }
    Ok(archives)
}

impl<'a> Asking<'a> {
    /// Opens a sandbox on the base, for the recipe in `directory`. `layer` is the first
    /// that asks.
    ///
    /// # Errors
    /// [`Error::NoApt`] if the base has none; [`Error::Sandbox`], [`Error::Io`],
    /// [`Error::Mirrors`].
    pub(super) fn on(rootfs: &'a Rootfs, directory: &'a Path, layer: &str) -> Result<Self, Error> {
        let no_apt = || Error::NoApt { layer: layer.to_owned() };
        rootfs.read("usr/bin/apt-get")?.ok_or_else(no_apt)?;
        let status = rootfs.read("var/lib/dpkg/status")?.ok_or_else(no_apt)?;
        let host = rootfs.host()?;
        let given = Scripts::new(host)?;
        let mirrors = Mirrors::of_this_machine()?;
        let named = mirrors.iter().filter_map(|(_, mirror)| Url::parse(mirror).ok()).collect();
        Ok(Self {
            rootfs,
            directory,
            mirrors,
            proxies: Proxies::of_this_machine(),
            archives: archives(rootfs)?,
            sandbox: rootfs.open()?,
            given,
            named,
            answers: Directory::create(&host.scratch)?,
            state: State::new(&String::from_utf8_lossy(&status)),
            updated: false,
        })
    }

    /// What `recipe`'s layer installs on top of the layers that were asked for before.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn resolve(&mut self, layer: &str, recipe: &Apt) -> Result<LockedApt, Error> {
        let inputs = self.give_sources(layer, &recipe.sources)?;
        let of_layer: Vec<&str> = recipe.sources.iter().map(|source| source.url.as_str()).collect();
        let reached = |archive: &str| Url::parse(&self.mirrors.there(archive)).ok();
        self.named.extend(of_layer.iter().filter_map(|archive| reached(archive)));
        if !self.updated || !recipe.sources.is_empty() {
            let mirrors = self.mirrors.iter().map(|(from, to)| format!("{from} {to}\n"));
            self.given.write("mirrors", mirrors.collect::<String>())?;
            let read = self.archives.iter().map(Url::as_str).chain(of_layer).filter_map(reached);
            // Read before the base's own apt.conf, which has the last word.
            self.given.write(SETTINGS, self.proxies.configuration(read))?;
            self.run(layer, "read the archives", "update.sh", include_str!("update.sh"), &[])?;
            self.updated = true;
        }
        self.given
            .write("packages", recipe.packages.iter().map(|package| format!("{package}\n")).collect::<String>())?;
        self.given.write("status", self.state.to_string())?;
        let recommends = if recipe.recommends { "--install-recommends" } else { "--no-install-recommends" };
        self.run(layer, "choose the packages", "choose.sh", include_str!("choose.sh"), &[recommends])?;
        let (simulation, uris, records) = (self.take("simulation")?, self.take("uris")?, self.take("records")?);
        let answer = Answer { simulation: &simulation, uris: &uris, records: &records };
        let chosen = answer.chosen(layer)?;
        self.state.install(&records, &chosen);
        answer.removed().for_each(|name| self.state.remove(name));
        let mut sources: Vec<String> = Vec::new();
        let mut debs = Vec::new();
        for found in chosen {
            let uri = self.mirrors.back(&found.archive);
            let known = sources.iter().position(|source| *source == uri);
            let source = known.unwrap_or_else(|| {
                sources.push(uri);
                sources.len() - 1
            });
            debs.push(LockedDeb { source: source as u32, ..found.deb });
        }
        Ok(LockedApt { manual: answer.manual(&recipe.packages), sources, inputs, debs })
    }

    /// Puts the recipe's sources where `update.sh` finds them, in the form of
    /// sources.list(5), each with its key beside it.
    fn give_sources(&self, layer: &str, sources: &[AptSource]) -> Result<Vec<LockedInput>, Error> {
        self.given.make("sources")?;
        let mut inputs = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let name = format!("dlpack-{layer}-{number}");
            let mut stanza = format!("Types: deb\nURIs: {}\nSuites: {}\n", source.url, source.suites.join(" "));
            if !source.components.is_empty() {
                stanza += &format!("Components: {}\n", source.components.join(" "));
            }
            if !source.architectures.is_empty() {
                stanza += &format!("Architectures: {}\n", source.architectures.join(" "));
            }
            if let Some(key) = &source.key {
                let path = self.directory.join(key);
                let bytes = fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
                // apt-key(8): "an extension of .gpg for binary and .asc for ASCII armored files"
                let extension = if bytes.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
                self.given.write(&format!("sources/{name}.{extension}"), &bytes)?;
                stanza += &format!("Signed-By: {GIVEN}/sources/{name}.{extension}\n");
                inputs.push(LockedInput { path: key.clone(), sha256: Digest::of(&bytes) });
            }
            self.given.write(&format!("sources/{name}.sources"), stanza)?;
        }
        inputs.sort_by(|a, b| a.path.cmp(&b.path));
        inputs.dedup();
        Ok(inputs)
    }

    /// Runs a script; if it fails, the end of what it printed is the cause.
    fn run(
        &mut self,
        layer: &str,
        doing: &'static str,
        name: &str,
        script: &str,
        options: &[&str],
    ) -> Result<(), Error> {
        self.given.write(name, script)?;
        let arguments = [&[ANSWERS], options].concat();
        let answers = Mount::new(self.answers.path(), ANSWERS, MountKind::Writable);
        let mut step = self.given.step(name, &arguments).on_network().mount(answers);
        let credentials = auth::configuration(&self.named);
        if !credentials.is_empty() {
            self.given.write(CREDENTIALS, credentials)?;
            // apt_auth.conf(5), beside what the base has; no layer is made of this sandbox
            let to = format!("/etc/apt/auth.conf.d/dlpack-{CREDENTIALS}");
            step.mounts.push(Mount::new(self.given.path(CREDENTIALS), to, MountKind::Secret));
        }
        // apt.conf(5): "the file specified by the APT_CONFIG environment variable (if any)"
        let step = step.env("APT_CONFIG", format!("{GIVEN}/{SETTINGS}"));
        let mut log = self.rootfs.log()?;
        match self.sandbox.run_logged(&step, &mut log) {
            Err(crate::sandbox::Error::Step { .. }) => {
                Err(Error::Apt { layer: layer.to_owned(), doing, said: log.tail() })
            }
            other => Ok(other?),
        }
    }

    /// What a script left as `name`. The base's programs wrote it, whoever they are: a link
    /// is not followed, and nothing is waited for.
    fn take(&self, name: &str) -> Result<String, Error> {
        let path = self.answers.join(name);
        let failed = |source| Error::io("read", &path, source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::File::from(rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_ANSWER).read_to_end(&mut bytes).map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
