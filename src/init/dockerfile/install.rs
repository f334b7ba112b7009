//! What installs packages in a RUN: apt-get, pip, and what makes a venv or fills one from
//! pyproject.toml.

use super::super::error::Error;
use super::super::note::Place;
use super::super::poetry;
use super::super::pyproject::{Pyproject, Selection, is_in};
use super::super::python::Wanted;
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::words::Variables as _;
use super::{apt, pip};

/// A command, as it is typed and as it is meant.
pub(super) struct Command<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [String],
    /// What was exported or assigned before it.
    pub(super) environment: &'a [(String, String)],
}

impl Command<'_> {
    /// The value of a variable of its environment.
    fn value(&self, translator: &Translator<'_>, name: &str) -> Option<String> {
        let own = self.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        own.or_else(|| translator.value(name)).filter(|value| !value.is_empty())
    }
}

/// Whether a command installs packages in a way that a recipe may have a word for.
pub(super) fn is_known(words: &[String]) -> bool {
    apt::is_known(words) || pip::arguments(words).is_some() || venv(words).is_some() || is_sync(words)
}

/// Takes a command for layers; false if it has to be run after all.
pub(super) fn install(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    command: &Command<'_>,
) -> Result<bool, Error> {
    let words = command.words;
    if let Some(arguments) = pip::arguments(words) {
        return pip::install(translator, instruction, command, &arguments);
    }
    if let Some(Venv { path, python, unsaid }) = venv(words) {
        let path = absolute(&translator.workdir, path);
        let place = &instruction.place;
        let of_uv = if words[0] == "uv" { command.value(translator, "UV_PYTHON") } else { None };
        if let Some(python) = python.map(str::to_owned).or(of_uv) {
            name_python(translator, place, &words.join(" "), &python);
        }
        let packages = translator.packages();
        for option in unsaid {
            packages.unsaid(place, &words.join(" "), &format!("the layer's venv has no `{option}`"));
        }
        if let Some(venv) = &mut translator.venv {
            match &venv.path {
                Some(first) if *first != path => {
                    let why = format!("all packages are in one venv, {first}");
                    venv.packages.unsaid(&instruction.place, &words.join(" "), &why);
                }
                _ => venv.path = Some(path),
            }
        }
        return Ok(true);
    }
    if is_sync(words) {
        return sync(translator, instruction, words);
    }
    if !matches!(words[0].as_str(), "apt" | "apt-get") {
        return Ok(false);
    }
    if command.environment.iter().any(|(name, _)| command.text.starts_with(&format!("{name}=")) && !is_passing(name)) {
        translator.note(&instruction.place, command.text, "an apt layer has no variables but debconf's front end");
    }
    Ok(apt::apt(translator, instruction, words))
}

/// Whether a variable has no say in what is installed.
pub(super) fn is_passing(name: &str) -> bool {
    // PIP_VERSION and UV_VERSION are what a Dockerfile calls the version that it installs
    const PASSING: [&str; 6] =
        ["DEBIAN_FRONTEND", "PATH", "PIP_VERSION", "UV_HTTP_TIMEOUT", "UV_SYSTEM_PYTHON", "UV_VERSION"];
    PASSING.contains(&name)
}

/// A command that makes a venv.
struct Venv<'a> {
    path: &'a str,
    /// What it says of its Python.
    python: Option<&'a str>,
    /// Options that the layer has no word for.
    unsaid: Vec<&'a str>,
}

/// Where `python -m venv`, `virtualenv` or `uv venv` makes a venv.
fn venv(words: &[String]) -> Option<Venv<'_>> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match texts[..] {
        [python, "-m", "venv" | "virtualenv", ..] if python.contains("python") => &words[3..],
        ["virtualenv", ..] => &words[1..],
        ["uv", "venv", ..] => &words[2..],
        _ => return None,
    };
    let (mut paths, mut python, mut unsaid) = (Vec::new(), None, Vec::new());
    let mut rest = rest.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match name {
            "-p" | "--python" => python = value.or_else(|| rest.next()),
            "--clear" | "--copies" | "--symlinks" | "--upgrade-deps" | "--without-pip" | "--seed" | "-q"
            | "--quiet" | "--no-cache" | "--relocatable" => {}
            "--prompt" => drop(value.or_else(|| rest.next())),
            _ if name.starts_with('-') => unsaid.push(word),
            _ => paths.push(word),
        }
    }
    // uv's manual: a venv without a path is `.venv`
    let path = match (&paths[..], texts[0]) {
        ([path], _) => path,
        ([], "uv") => ".venv",
        _ => return None,
    };
    let python = python.or((texts[1..].first() == Some(&"-m")).then_some(texts[0]));
    Some(Venv { path, python, unsaid })
}

/// Which Python a command asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The one that there is.
    Any,
    /// A minor version of Python 3.
    Minor(u8),
    /// One that a recipe has no word for.
    Other,
}

/// uv's manual, "Requesting a version": a version, an implementation with one, an executable's name or path.
fn asked(python: &str) -> Asked {
    let (home, name) = python.rsplit_once('/').unwrap_or(("", python));
    let version = name.strip_prefix("cpython").or(name.strip_prefix("python")).unwrap_or(name);
    let version = version.trim_start_matches(['@', '-']);
    // cpython-3.12.3-linux-x86_64-gnu
    let version = version.split('-').next().unwrap_or(version);
    let mut numbers = version.split('.').map(str::parse::<u8>);
    match (numbers.next(), numbers.next()) {
        (_, None) if matches!(version, "" | "3") && (home.is_empty() || pip::is_of_base(home)) => Asked::Any,
        (Some(Ok(3)), Some(Ok(minor))) if numbers.all(|number| number.is_ok()) => Asked::Minor(minor),
        _ => Asked::Other,
    }
}

/// Says which Python the venv has: what the first command that names one asks for.
pub(super) fn name_python(translator: &mut Translator<'_>, place: &Place, command: &str, python: &str) {
    translator.packages();
    let Some(venv) = &mut translator.venv else { return };
    let why = match (asked(python), venv.python) {
        (Asked::Any, _) => return,
        (Asked::Minor(minor), Some(first)) if minor == first => return,
        (Asked::Minor(minor), None) => {
            venv.python = Some(minor);
            venv.packages.python.push(Wanted::new(place.clone(), format!("==3.{minor}.*")));
            return;
        }
        (Asked::Minor(_), Some(first)) => format!("all packages are in one venv, of Python 3.{first}"),
        (Asked::Other, _) => format!("`python` names a version, such as 3.12, and not `{python}`"),
    };
    venv.packages.unsaid(place, command, &why);
}

/// `uv sync`, `poetry install`: what pyproject.toml says.
fn is_sync(words: &[String]) -> bool {
    matches!(words.iter().map(String::as_str).collect::<Vec<_>>()[..], ["uv", "sync", ..] | ["poetry", "install", ..])
}

fn sync(translator: &mut Translator<'_>, instruction: &Instruction, words: &[String]) -> Result<bool, Error> {
    let file = translator.on_disk("pyproject.toml").unwrap_or_else(|| "pyproject.toml".into());
    if !translator.directory.join(&file).is_file() {
        return Ok(false);
    }
    let pyproject = Pyproject::read(translator.directory, &file)?;
    let Sync { selection, builds, unsaid } = Sync::read(words, &pyproject);
    let packages = pyproject.packages(translator.directory, &selection)?;
    let (place, all) = (&instruction.place, words.join(" "));
    let into = translator.packages();
    into.add(packages);
    for (option, why) in unsaid {
        into.unsaid(place, &format!("{} {} {option}", words[0], words[1]), why);
    }
    if builds {
        into.unsaid(place, &all, "it builds the project itself, too: `projects` does that from a directory of its own");
    }
    Ok(true)
}

/// What `uv sync` or `poetry install` is told.
struct Sync<'a> {
    selection: Selection,
    /// Whether the project itself is installed, too.
    builds: bool,
    /// Options that a recipe has no word for, and why.
    unsaid: Vec<(&'a str, &'static str)>,
}

impl<'a> Sync<'a> {
    /// Reads the command for this project.
    fn read(words: &'a [String], project: &Pyproject) -> Self {
        let names = project.names();
        let defaults = match words[0].as_str() {
            "uv" => project.default_groups(),
            _ => poetry::default_groups(project),
        };
        let mut read =
            Self { selection: Selection { extras: Vec::new(), groups: defaults }, builds: true, unsaid: Vec::new() };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        let mut rest = words[2..].iter().map(String::as_str);
        while let Some(word) = rest.next() {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let mut list = || {
                let value = value.or_else(|| rest.next()).unwrap_or_default();
                value.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            let selection = &mut read.selection;
            match name {
                "--extra" | "--extras" | "-E" => selection.extras.extend(list()),
                "--all-extras" => selection.extras.clone_from(&names.extras),
                "--group" | "--with" => with.extend(list()),
                "--all-groups" => with.extend(names.groups.iter().cloned()),
                "--no-dev" => without.push("dev".to_owned()),
                "--no-group" | "--without" => without.extend(list()),
                "--no-default-groups" => selection.groups.clear(),
                // `--only main`: no group at all
                "--only" if list() == ["main"] => selection.groups.clear(),
                "--no-install-project" | "--no-install-workspace" | "--no-root" => read.builds = false,
                "--frozen" | "--locked" => read.unsaid.push((
                    word,
                    "dlpack.lock has the versions: `uv export` writes a requirements file with those of uv.lock",
                )),
                "--compile-bytecode" | "--compile" => read.unsaid.push((word, "`bytecode = true` does that")),
                "--no-editable" | "--no-cache" | "--no-progress" | "--quiet" | "-q" | "--no-interaction" | "-n"
                | "--no-ansi" | "--sync" | "--exact" | "--active" => {}
                _ => read.unsaid.push((word, "a recipe has no word for it")),
            }
        }
        // uv's manual: a group that is excluded is so "even if" it is included by another option
        read.selection.groups.extend(with);
        read.selection.groups.retain(|name| !is_in(&without, name));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked};

    #[test]
    fn the_python_of_a_venv_is_asked_for_in_many_forms() {
        for python in
            ["3.11", "3.11.9", "python3.11", "cpython@3.11", "cpython-3.11.9-linux-x86_64-gnu", "/x/python3.11"]
        {
            assert_eq!(asked(python), Asked::Minor(11), "{python}");
        }
        for python in ["python", "python3", "3", "/usr/bin/python3"] {
            assert_eq!(asked(python), Asked::Any, "{python}");
        }
        for python in [">=3.11", "3.13t", "pypy3.10", "2.7", "312", "/opt/x/bin/python3"] {
            assert_eq!(asked(python), Asked::Other, "{python}");
        }
    }
}
