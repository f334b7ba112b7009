//! What installs packages in a RUN: apt-get, pip, and what makes a venv or fills one from
//! pyproject.toml.

use super::super::error::Error;
use super::super::pyproject::{Pyproject, Selection};
use super::super::python::Wanted;
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::{apt, pip};

/// A command, as it is typed and as it is meant.
pub(super) struct Command<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [String],
    /// What was exported or assigned before it.
    pub(super) environment: &'a [(String, String)],
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
        return pip::install(translator, instruction, command, arguments);
    }
    if let Some(Venv { path, python, unsaid }) = venv(words) {
        let path = absolute(&translator.workdir, path);
        let place = &instruction.place;
        let packages = translator.packages();
        packages.python.extend(python.map(|python| Wanted::new(place.clone(), format!("=={python}.*"))));
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
    const PASSING: [&str; 10] = [
        "DEBIAN_FRONTEND",
        "PATH",
        "PIP_BREAK_SYSTEM_PACKAGES",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_DISABLE_PIP_VERSION_CHECK",
        "PIP_NO_CACHE_DIR",
        "PIP_ROOT_USER_ACTION",
        "UV_HTTP_TIMEOUT",
        "UV_LINK_MODE",
        "UV_SYSTEM_PYTHON",
    ];
    PASSING.contains(&name)
}

/// A command that makes a venv.
struct Venv<'a> {
    path: &'a str,
    /// Major and minor version, where it says so.
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
    let python = python.map(|python| python.rsplit('/').next().unwrap_or(python).trim_start_matches("python"));
    let python = python.filter(|version| version.starts_with("3.") && version.matches('.').count() == 1);
    Some(Venv { path, python, unsaid })
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
    let Sync { selection, builds, unsaid } = Sync::read(words, pyproject.names());
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
    /// Reads the command for a project with these extras and groups.
    fn read(words: &'a [String], names: Selection) -> Self {
        // uv's manual: "the `dev` group is included by default"; Poetry's: all that are not optional
        let groups = match words[0].as_str() {
            "uv" => names.groups.iter().filter(|name| *name == "dev").cloned().collect(),
            _ => names.groups.clone(),
        };
        let mut read = Self { selection: Selection { extras: Vec::new(), groups }, builds: true, unsaid: Vec::new() };
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
                "--group" | "--with" => selection.groups.extend(list()),
                "--all-groups" => selection.groups.clone_from(&names.groups),
                "--no-dev" => selection.groups.retain(|name| name != "dev"),
                "--no-group" | "--without" => {
                    let without = list();
                    selection.groups.retain(|name| !without.contains(name));
                }
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
        read
    }
}
