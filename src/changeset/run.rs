//! A command or a script on the root filesystem under it: what it changed becomes the
//! layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::given::{self, Given};
use super::{Changeset, Inputs};
use crate::layer::LayerWriter;
use crate::lock::{LockedFile, SCRIPT};
use crate::recipe;
use crate::sandbox::{self, Ending, Machine, Network, Rootfs, Step, Tail};

/// Directories whose content is of the moment, or of the sandbox, and in no layer.
const PASSING: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// How much of a command an error shows, in characters.
const SHOWN: usize = 80;

/// Why a `run` layer can't be made.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no sandbox, or none for this step.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The command failed.
    #[error("`{command}` ended with {ending}")]
    Failed {
        /// What stands in the recipe, shortened.
        command: String,
        /// How it ended.
        ending: Ending,
        /// What it said.
        #[source]
        tail: Tail,
    },
    /// What the step is to be given can't be had.
    #[error(transparent)]
    Given(#[from] given::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Failed { .. } => Some("`--shell-on-failure` opens a shell where it failed".into()),
            Self::Given(error) => error.hint(),
        }
    }
}

/// Runs a command or a script.
#[derive(Debug)]
pub struct Run {
    recipe: recipe::Run,
    /// The script and what is mounted, as the lock has them.
    files: Vec<LockedFile>,
    /// The recipe's directory.
    directory: PathBuf,
}

/// The changeset of a `run` layer. `directory` is the recipe's.
pub fn changeset(recipe: &recipe::Run, files: &[LockedFile], directory: &Path) -> Run {
    Run { recipe: recipe.clone(), files: files.to_vec(), directory: directory.to_owned() }
}

impl Changeset for Run {
    fn inputs(&self) -> Inputs {
        let recipe::Run { command, script, shell, env, workdir, user, network, secrets, caches, mounts, sees } =
            &self.recipe;
        let what = command.as_deref().or(script.as_deref()).unwrap_or_default();
        let file = |file: &LockedFile| json!([file.to, file.kind, file.mode, file.sha256, file.size]);
        // Of a secret its name and place alone, and of a cache directory no content: the
        // layer is not to depend on either.
        let secrets_told: Vec<_> =
            secrets.iter().map(|secret| json!([secret.name, secret.to, secret.optional])).collect();
        let caches: Vec<_> = caches.iter().map(|cache| json!([cache.to, cache.id])).collect();
        let mounts: Vec<_> = mounts.iter().map(|mount| mount.to.as_str()).collect();
        let inputs = Inputs::new("run", 2, format!("dlpack run {what}"))
            .with("command", command.as_deref())
            .with("shell", shell.clone())
            .with("env", json!(env))
            .with("workdir", workdir.as_str())
            .with("user", user.as_deref())
            .with("network", *network)
            .with("secrets", secrets_told)
            .with("caches", caches)
            .with("mounts", mounts)
            .with("files", self.files.iter().map(file).collect::<Vec<_>>())
            .with_secrets(secrets.iter().filter(|secret| !secret.optional).map(|secret| secret.name.clone()))
            .seeing(sees.iter().cloned());
        // What is in the environment may be nobody else's business: digests alone are told.
        let inputs =
            env.iter().fold(inputs, |inputs, (name, value)| inputs.part("env", name.as_str(), "", &json!(value)));
        self.files.iter().fold(inputs, |inputs, one| inputs.part("files", format!("/{}", one.to), "", &file(one)))
    }

    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let mut log = under.log().map_err(Error::from)?;
        let mut sandbox = under.open().map_err(Error::from)?;
        let given = self.given(under, sandbox.directory())?;
        let step = Step {
            command: self.command(&given),
            env: self.env(under)?,
            workdir: self.recipe.workdir.clone(),
            user: self.recipe.user.clone(),
            network: if self.recipe.network { Network::Host } else { Network::None },
            mounts: given.mounts.clone(),
            links: Vec::new(),
            binds: Vec::new(),
            machine: Machine::default(),
        };
        match sandbox.run_logged(&step, &mut log) {
            Err(sandbox::Error::Step { ending, .. }) => {
                return Err(Error::Failed { command: self.short(), ending, tail: log.tail() }.into());
            }
            ran => ran?,
        }
        drop(given);
        let passing = |path: &str| PASSING.iter().any(|top| path == *top || path.starts_with(&format!("{top}/")));
        sandbox.changes(&mut |change, content| match passing(&change.path) {
            true => Ok(false),
            false => Ok(change.write_to(out, content)?),
        })
    }
}

impl Run {
    fn given(&self, under: &Rootfs, scratch: &Path) -> Result<Given, Error> {
        Ok(Given::new(&self.recipe, &self.files, &self.directory, under.host()?, scratch)?)
    }

    /// The program and its arguments.
    fn command(&self, given: &Given) -> Vec<String> {
        match (&self.recipe.command, &given.script) {
            (Some(command), _) => [self.recipe.shell.clone(), vec![command.clone()]].concat(),
            (None, script) => {
                let mut words = interpreter(script.as_deref().unwrap_or_default());
                words.push(format!("/{SCRIPT}"));
                words
            }
        }
    }

    /// What is run, as much of it as a line has room for.
    fn short(&self) -> String {
        let what = self.recipe.command.as_deref().or(self.recipe.script.as_deref()).unwrap_or_default().trim();
        let line: String = what.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        if line.len() < what.len() { format!("{line} …") } else { line }
    }

    /// A login's environment, and over it what the recipe says.
    fn env(&self, under: &Rootfs) -> Result<BTreeMap<String, String>, Error> {
        let mut env = Step::new([] as [&str; 0]).env;
        if let Some(home) = self.home(under)? {
            env.insert("HOME".into(), home);
        }
        env.extend(self.recipe.env.clone());
        Ok(env)
    }

    /// The home of the user that it runs as, if that is not root.
    fn home(&self, under: &Rootfs) -> Result<Option<String>, Error> {
        let Some(user) = self.recipe.user.as_deref().and_then(|user| user.split(':').next()) else { return Ok(None) };
        let passwd = under.read("etc/passwd")?.unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        // passwd(5): name, password, uid, gid, comment, directory, shell
        let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = entries.find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
        let home = entry.and_then(|fields| fields.get(5).map(|home| (*home).to_owned()));
        // As Docker has it for a uid that nobody has.
        Ok(Some(home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".into())))
    }
}

// execve(2), Interpreter scripts: "#!interpreter [optional-arg]"; all after the first
// blank is one argument.
fn interpreter(script: &[u8]) -> Vec<String> {
    let first = script.split(|byte| *byte == b'\n').next().and_then(|line| line.strip_prefix(b"#!"));
    let line = first.map(|line| String::from_utf8_lossy(line).trim().to_owned()).unwrap_or_default();
    match line.split_once(char::is_whitespace) {
        Some((program, argument)) => vec![program.to_owned(), argument.trim().to_owned()],
        None if line.is_empty() => vec!["/bin/sh".into(), "-e".into()],
        None => vec![line],
    }
}

#[cfg(test)]
mod tests {
    use super::interpreter;

    #[test]
    fn a_script_is_run_by_the_program_that_its_first_line_names() {
        let cases: [(&str, &[&str]); 4] = [
            ("#!/bin/bash -eu -o pipefail\necho", &["/bin/bash", "-eu -o pipefail"]),
            ("#! /usr/bin/env python3\r\n", &["/usr/bin/env", "python3"]),
            ("#!/bin/bash", &["/bin/bash"]),
            ("echo no first line", &["/bin/sh", "-e"]),
        ];
        for (script, words) in cases {
            assert_eq!(interpreter(script.as_bytes()), words);
        }
    }
}
