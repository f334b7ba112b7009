//! What `apt-get install` and `pip install` are given in a RUN: the packages of an apt
//! layer and of the venv.

use std::path::Path;

use super::super::draft::{Apt, Draft, Kind, Layer, Part};
use super::super::error::Error;
use super::super::note::{Item, Note, Place};
use super::super::packages::Packages;
use super::super::pyproject::Pyproject;
use super::super::{project, requirements};
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::words::Variables as _;
use crate::recipe::Word;

/// A command, as it is typed and as it is meant.
pub(super) struct Command<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [String],
    /// What was exported or assigned before it.
    pub(super) environment: &'a [(String, String)],
}

/// Whether a command installs packages in a way that a recipe may have a word for.
pub(super) fn is_known(words: &[String]) -> bool {
    let program = words.first().map_or("", String::as_str);
    matches!(program, "apt" | "apt-get") && is_apt(&words[1..])
        || pip(words).is_some()
        || venv(words).is_some()
        || is_sync(words)
}

/// Takes a command for layers; false if it has to be run after all.
pub(super) fn install(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    command: &Command<'_>,
) -> Result<bool, Error> {
    let words = command.words;
    if let Some(arguments) = pip(words) {
        return pip_install(translator, instruction, command, arguments);
    }
    if let Some(path) = venv(words) {
        let path = absolute(&translator.workdir, path);
        translator.packages();
        if let Some(venv) = &mut translator.venv {
            venv.path.get_or_insert(path);
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
    Ok(apt(translator, instruction, &words[1..]))
}

/// Whether a variable has no say in what is installed.
fn is_passing(name: &str) -> bool {
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

/// Whether apt-get(8) is given what an apt layer says.
fn is_apt(words: &[String]) -> bool {
    const SAID: [&str; 8] =
        ["update", "clean", "autoclean", "autoremove", "upgrade", "dist-upgrade", "full-upgrade", "install"];
    let is_option = |word: &String| word == "-t" || word.starts_with("--target-release");
    let mut rest = words.iter();
    let mut first = None;
    while let (None, Some(word)) = (first, rest.next()) {
        match word.as_str() {
            "-o" | "--option" | "-c" => drop(rest.next()),
            option if option.starts_with('-') => {}
            operand => first = Some(operand),
        }
    }
    first.is_some_and(|operand| SAID.contains(&operand)) && !words.iter().any(is_option)
}

/// apt-get(8).
fn apt(translator: &mut Translator<'_>, instruction: &Instruction, words: &[String]) -> bool {
    let (mut recommends, mut operands) = (true, Vec::new());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--no-install-recommends" => recommends = false,
            "-o" | "--option" | "-c" => match rest.next().map(|option| option.to_lowercase()) {
                Some(option) if option.contains("install-recommends=") => recommends = !option.ends_with(['0', 'e']),
                _ => {}
            },
            option if option.starts_with('-') => {}
            operand => operands.push(operand),
        }
    }
    match operands.split_first() {
        // A lock reads the archives when it is made, and no layer has lists or archives.
        Some((&"update", _)) => {
            translator.has_lists = true;
            true
        }
        Some((&("clean" | "autoclean" | "autoremove"), _)) => true,
        Some((&("upgrade" | "dist-upgrade" | "full-upgrade"), _)) => {
            translator.unsaid(instruction, "a base is what its digest says: take a newer tag of it");
            true
        }
        Some((&"install", packages)) => {
            let (place, original) = (&instruction.place, &instruction.original);
            let item = |package: &&&str| match Word::Package.accepts(package) {
                Ok(()) => Item::Said((**package).to_owned()),
                Err(why) if original.contains('\n') => Item::Note(Note::unsaid(place, package, &why)),
                Err(why) => Item::Note(Note::unsaid(place, original, &why)),
            };
            add_debian_packages(&mut translator.draft, place, recommends, packages.iter().map(|p| item(&p)).collect());
            true
        }
        _ => false,
    }
}

/// Adds Debian packages to the apt layer that stands last, or as a new one.
fn add_debian_packages(draft: &mut Draft, place: &Place, recommends: bool, items: Vec<Item>) {
    if let Some(Part::Layer(Layer { kind: Kind::Apt(last), .. })) = draft.parts.last_mut()
        && last.recommends == recommends
    {
        let new: Vec<Item> = items.into_iter().filter(|item| !last.packages.contains(item)).collect();
        return last.packages.extend(new);
    }
    draft.push(vec![Note::new(place.to_string())], Kind::Apt(Apt { packages: items, recommends, amends: false }));
}

/// The arguments of `pip install`, however pip is called.
fn pip(words: &[String]) -> Option<&[String]> {
    let name =
        |word: &str| Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_pip = |word: &String| name(word).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') == "pip";
    let is_python = |word: &String| name(word).starts_with("python");
    let rest = match words {
        [pip, rest @ ..] if is_pip(pip) => rest,
        [python, flag, pip, rest @ ..] if is_python(python) && flag == "-m" && is_pip(pip) => rest,
        [uv, pip, rest @ ..] if name(uv) == "uv" && is_pip(pip) => rest,
        _ => return None,
    };
    let at = rest.iter().position(|word| !word.starts_with('-'))?;
    (rest[at] == "install").then(|| &rest[at + 1..])
}

/// Where `python -m venv`, `virtualenv` or `uv venv` makes a venv.
fn venv(words: &[String]) -> Option<&str> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match texts[..] {
        [python, "-m", "venv" | "virtualenv", ..] if python.contains("python") => &words[3..],
        ["virtualenv", ..] => &words[1..],
        ["uv", "venv", ..] => &words[2..],
        _ => return None,
    };
    let mut operands = rest.iter().filter(|word| !word.starts_with('-'));
    let path = operands.next()?;
    operands.next().is_none().then_some(path)
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
    let packages = Pyproject::read(translator.directory, &file)?.packages(translator.directory)?;
    translator.packages().add(packages);
    if words.iter().any(|word| matches!(word.as_str(), "--frozen" | "--locked")) {
        let why = "dlpack.lock has the versions: `uv export` writes a requirements file with those of uv.lock";
        translator.packages().unsaid(&instruction.place, &words.join(" "), why);
    }
    Ok(true)
}

fn pip_install(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    command: &Command<'_>,
    arguments: &[String],
) -> Result<bool, Error> {
    let words = command.words;
    // Somewhere else than a venv, or not what the index has.
    let elsewhere = ["--target", "-t", "--prefix", "--root", "--no-deps", "--no-build-isolation", "--config-settings"];
    if arguments.iter().any(|word| elsewhere.contains(&word.split('=').next().unwrap_or_default())) {
        return Ok(false);
    }
    let (place, directory) = (instruction.place.clone(), translator.directory);
    let mut packages = Packages::default();
    variables(translator, instruction, command, &mut packages);
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let (name, mut value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut next = || value.take().or_else(|| rest.next().cloned()).unwrap_or_default();
        match name {
            "-r" | "--requirement" | "-c" | "--constraint" => {
                let file = next();
                let Some(on_disk) = translator.on_disk(&file).filter(|path| directory.join(path).is_file()) else {
                    packages.unsaid(&place, &words.join(" "), &format!("no COPY brings {file}"));
                    continue;
                };
                packages.add(match name {
                    "-c" | "--constraint" => requirements::constraints(directory, &on_disk)?,
                    _ => requirements::read(directory, &on_disk)?,
                });
            }
            "-i" | "--index-url" | "--extra-index-url" => {
                let url = next();
                further_index(&mut packages, &place, &words.join(" "), url);
            }
            "-e" | "--editable" => {
                let target = next();
                project_of(translator, &mut packages, instruction, &target);
            }
            "--no-binary" => {
                let names = next();
                match names.split(',').map(|name| Word::ProjectName.accepts(name)).collect::<Result<Vec<_>, _>>() {
                    Ok(_) => packages.no_binary.extend(names.split(',').map(str::to_owned)),
                    Err(_) => packages.unsaid(&place, &words.join(" "), "`no-binary` takes names of packages"),
                }
            }
            "-f" | "--find-links" | "--trusted-host" | "--timeout" | "--retries" | "--python" | "--progress-bar"
            | "--cache-dir" | "--root-user-action" | "--only-binary" | "--default-timeout" | "--index-strategy"
            | "--link-mode" | "--torch-backend" => {
                let value = next();
                if matches!(name, "-f" | "--find-links") {
                    let why = "name wheels on disk in `wheels`, an index in `index-url`";
                    packages.unsaid(&place, &format!("{name} {value}"), why);
                }
            }
            "--pre" => {
                let why = "name a pre-release of a package by its version: name>=2.0rc1";
                packages.unsaid(&place, &words.join(" "), why);
            }
            option if option.starts_with('-') => {}
            requirement => require(translator, &mut packages, instruction, requirement),
        }
    }
    let home = words[0]
        .strip_suffix("/bin/pip")
        .or(words[0].strip_suffix("/bin/pip3"))
        .or(words[0].strip_suffix("/bin/python"));
    let home = home.filter(|home| !matches!(*home, "/usr" | "/usr/local" | "/opt/conda" | "")).map(str::to_owned);
    translator.packages().add(packages);
    if let Some(venv) = &mut translator.venv {
        venv.path = venv.path.take().or(home);
        comment(&mut translator.draft.parts[venv.part], instruction);
    }
    Ok(true)
}

/// What the environment has for pip and uv: indexes, and what a recipe has no word for.
fn variables(translator: &Translator<'_>, instruction: &Instruction, command: &Command<'_>, packages: &mut Packages) {
    let place = &instruction.place;
    for name in ["PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"] {
        let own = command.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let urls = own.or_else(|| translator.value(name)).unwrap_or_default();
        // pip's manual, "Environment Variables": several values are separated by spaces
        for url in urls.split_whitespace() {
            further_index(packages, place, &format!("{name}={url}"), url.to_owned());
        }
    }
    for (name, value) in command.environment {
        if !is_passing(name) && !name.ends_with("INDEX_URL") && name != "UV_DEFAULT_INDEX" {
            let why = "an installation has no variables: one that is built from source is built without it";
            packages.unsaid(place, &format!("{name}={value} {}", command.words.join(" ")), why);
        }
    }
}

/// An index beside the machine's own: a Dockerfile may name another for each installation.
fn further_index(packages: &mut Packages, place: &Place, original: &str, url: String) {
    match Word::Index.accepts(&url) {
        Ok(()) if !packages.extra_index_url.contains(&url) => packages.extra_index_url.push(url),
        Ok(()) => {}
        Err(why) => packages.unsaid(place, original, &why),
    }
}

/// Notes on the venv's layer which instruction installs into it.
fn comment(part: &mut Part, instruction: &Instruction) {
    if let Part::Layer(Layer { notes, kind: Kind::Venv(_), .. }) = part {
        let note = Note::new(instruction.place.to_string());
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

fn require(translator: &Translator<'_>, packages: &mut Packages, instruction: &Instruction, requirement: &str) {
    let name = requirement.split(['=', '<', '>', '~', '!', '[']).next().unwrap_or_default();
    if name == "pip" {
        packages.pip = true;
    } else if project::is_direct(requirement) {
        project_of(translator, packages, instruction, requirement);
    } else {
        match Word::Requirement.accepts(requirement) {
            Ok(()) => packages.require(Item::Said(requirement.to_owned())),
            Err(why) => packages.unsaid(&instruction.place, requirement, &why),
        }
    }
}

/// A project of the image, by where COPY has it from.
fn project_of(translator: &Translator<'_>, packages: &mut Packages, instruction: &Instruction, target: &str) {
    let place = &instruction.place;
    if target.contains("://") {
        return project::add(translator.directory, packages, place, target, target);
    }
    let (path, extras) = target.split_once('[').map_or((target, ""), |(path, extras)| (path, extras));
    match translator.on_disk(path) {
        Some(on_disk) if extras.is_empty() => project::add(translator.directory, packages, place, target, &on_disk),
        Some(on_disk) => project::add(translator.directory, packages, place, target, &format!("{on_disk}[{extras}")),
        None => packages.unsaid(place, target, "no COPY brings it"),
    }
}
