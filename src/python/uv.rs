//! The `uv` binary: finding it, asking it, and passing on what it says. It resolves;
//! dlpack locks what it comes to.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::wheel::normalize;

/// The oldest uv whose `pylock.toml` and index annotations dlpack was tested with.
const OLDEST: (u32, u32) = (0, 13);

/// Why uv has no answer.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no uv.
    #[error("there is no `{}` to resolve Python requirements", looked_for.display())]
    Missing {
        /// The name or path that was tried.
        looked_for: PathBuf,
    },
    /// It is too old, or no uv.
    #[error("`{}` says that it is `{said}`; dlpack needs uv {}.{} or later", path.display(), OLDEST.0, OLDEST.1)]
    Version {
        /// The executable.
        path: PathBuf,
        /// What `--version` printed.
        said: String,
    },
    /// It can't be started or written to.
    #[error("can't run `{}`", path.display())]
    Run {
        /// The executable.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ran and said no.
    #[error("uv can't {doing}")]
    Refused {
        /// `resolve …`.
        doing: String,
        /// What it printed.
        #[source]
        source: Said,
    },
    /// The stand-in for an interpreter can't be written.
    #[error("can't write {}", path.display())]
    Scratch {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Version { .. } => {
                Some("install uv (`pip install uv`, `pipx install uv`), or name its executable in DLPACK_UV".into())
            }
            Self::Refused { source, .. } if source.hint.is_some() => source.hint.clone(),
            Self::Refused { .. } => Some("check the requirements, the constraints and the index".into()),
            Self::Run { .. } | Self::Scratch { .. } => None,
        }
    }
}

/// What uv printed on standard error: its causes, without its own labels.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Said {
    message: String,
    hint: Option<String>,
    without_wheels: Vec<String>,
}

impl Said {
    fn new(stderr: &str) -> Self {
        let (mut message, mut hint) = (Vec::new(), Vec::new());
        let mut in_hint = false;
        for line in stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("warning:")) {
            if let Some(text) = line.strip_prefix("hint:") {
                in_hint = true;
                hint.push(text.trim());
            } else if in_hint {
                hint.push(line);
            } else {
                let text = ["error:", "cause:", "Caused by:", "×", "╰─▶", "│"].iter();
                message.push(text.fold(line, |line, label| line.strip_prefix(label).unwrap_or(line).trim()));
            }
        }
        let hint = hint.join(" ");
        // uv's own hint names an option that dlpack set.
        let refused = hint.contains("building from source is disabled");
        let without_wheels = if refused { quoted(&hint) } else { Vec::new() };
        let hint = match refused {
            true => "pin a version that has a wheel or an sdist, or name a wheel of it in `wheels`".into(),
            false => hint,
        };
        Self { message: message.join("\n"), hint: Some(hint).filter(|hint| !hint.is_empty()), without_wheels }
    }

    /// The packages of which uv says that they would have to be built.
    pub(super) fn without_wheels(&self) -> &[String] {
        &self.without_wheels
    }
}

/// The names in "Wheels are required for `a` because building from source is disabled".
fn quoted(hint: &str) -> Vec<String> {
    let after = hint.split("Wheels are required for ").skip(1);
    after.filter_map(|rest| Some(normalize(rest.strip_prefix('`')?.split('`').next()?))).collect()
}

/// A uv that was found and is new enough.
#[derive(Clone, Debug)]
pub struct Uv {
    path: PathBuf,
    said: String,
}

impl Uv {
    /// The uv that `DLPACK_UV` names, else the one on `PATH`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Version`].
    pub fn find() -> Result<Self, Error> {
        let path = env::var_os("DLPACK_UV").filter(|path| !path.is_empty()).map_or("uv".into(), PathBuf::from);
        Self::at(&path)
    }

    /// The uv at `path`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Version`].
    pub fn at(path: &Path) -> Result<Self, Error> {
        let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
        let output = output.map_err(|_| Error::Missing { looked_for: path.to_owned() })?;
        let said = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
        match version(&said) {
            Some(version) if version >= OLDEST => Ok(Self { path: path.to_owned(), said }),
            _ => Err(Error::Version { path: path.to_owned(), said }),
        }
    }

    /// What it says that it is: `uv 0.13.9 (…)`.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Runs `uv pip compile` in `directory` with `input` as its requirements, and
    /// returns what it prints. The caller's own settings (`UV_*`, `uv.toml`) hold,
    /// but for `environment`.
    pub(super) fn compile(
        &self,
        directory: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        input: &str,
        doing: &str,
    ) -> Result<String, Error> {
        let mut command = self.command(directory, arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        self.run(command, input, doing)
    }

    /// The default index and the extra ones that uv would ask in `directory`: those
    /// of its settings, or those that it is built with.
    pub(super) fn indexes(
        &self,
        directory: &Path,
        mut arguments: Vec<String>,
        built_in: bool,
    ) -> Result<(Option<String>, Vec<String>), Error> {
        arguments.push("--emit-index-url".into());
        if built_in {
            arguments.push("--no-config".into());
        }
        let mut command = self.command(directory, &arguments);
        if built_in {
            for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX"] {
                command.env_remove(name);
            }
        }
        let answer = self.run(command, "", "say which package index it is set to")?;
        let all = |option: &str| -> Vec<String> {
            answer.lines().filter_map(|line| Some(line.strip_prefix(option)?.trim().to_owned())).collect()
        };
        Ok((all("--index-url ").pop(), all("--extra-index-url ")))
    }

    fn command(&self, directory: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["pip", "compile", "--quiet", "--no-header", "--no-progress", "--color", "never"]);
        command.args(arguments).arg("-").current_dir(directory);
        // Neither the host nor the base needs a Python to lock; the machine's trust in
        // certificates is the one that dlpack's own downloads have. A torch backend would
        // bring in indexes that no alias stands for.
        command.env("UV_PYTHON_DOWNLOADS", "never").env_remove("UV_TORCH_BACKEND");
        if env::var_os("UV_SYSTEM_CERTS").is_none() {
            command.env("UV_SYSTEM_CERTS", "true");
        }
        command
    }

    fn run(&self, mut command: Command, input: &str, doing: &str) -> Result<String, Error> {
        let failed = |source| Error::Run { path: self.path.clone(), source };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A uv that fails early does not read its input; its own words say why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            let source = Said::new(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::Refused { doing: doing.to_owned(), source });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `uv 0.13.9 (…)`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("uv ")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_uv_says() {
        assert_eq!(version("uv 0.13.9 (x86_64-unknown-linux-gnu)"), Some((0, 13)));
        assert_eq!(version("pip 24.0"), None);
    }

    #[test]
    fn what_would_have_to_be_built_is_known_by_name() {
        let hint = "hint: Wheels are required for `Doc.opt` because building from source is disabled for all packages";
        assert_eq!(Said::new(hint).without_wheels(), ["doc-opt"]);
        assert!(Said::new("error: no\nhint: try `c`").without_wheels().is_empty());
    }

    #[test]
    fn what_uv_says_loses_its_labels_and_its_hint_becomes_ours() {
        let said = Said::new("error: No solution found\n  cause: Because a needs b,\n    no.\n\nhint: try c\n");
        assert_eq!(said.to_string(), "No solution found\nBecause a needs b,\nno.");
        assert_eq!(said.hint.as_deref(), Some("try c"));
    }
}
