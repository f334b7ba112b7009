//! `pip install` in a RUN: what it installs is in the venv's layer.

use std::path::Path;

use super::super::draft::{Kind, Layer, Part};
use super::super::error::Error;
use super::super::note::{Item, Note, Place};
use super::super::packages::Packages;
use super::super::pyproject::{Pyproject, Selection};
use super::super::{project, requirements};
use super::install::{Command, is_passing, name_python};
use super::syntax::Instruction;
use super::translate::Translator;
use crate::recipe::Word;

/// Options of pip and uv that have no say in what is installed: the lock prefers wheels, has
/// hashes and versions of its own, and is made by the machine's own uv.
const PASSING: [&str; 31] = [
    "--break-system-packages",
    "--compile",
    "--disable-pip-version-check",
    "--exact",
    "--force-reinstall",
    "--ignore-installed",
    "--native-tls",
    "--no-cache",
    "--no-cache-dir",
    "--no-color",
    "--no-compile",
    "--no-compile-bytecode",
    "--no-input",
    "--no-progress",
    "--no-python-version-warning",
    "--no-warn-conflicts",
    "--no-warn-script-location",
    "--prefer-binary",
    "--quiet",
    "--refresh",
    "--reinstall",
    "--require-hashes",
    "--require-virtualenv",
    "--strict",
    "--system",
    "--system-certs",
    "--upgrade",
    "--verbose",
    "-I",
    "-U",
    "-n",
];

/// Those of them that have a value.
const PASSING_VALUES: [&str; 14] = [
    "--cache-dir",
    "--default-timeout",
    "--exists-action",
    "--link-mode",
    "--log",
    "--only-binary",
    "--progress-bar",
    "--refresh-package",
    "--reinstall-package",
    "--retries",
    "--root-user-action",
    "--src",
    "--timeout",
    "--upgrade-strategy",
];

/// Whether an option has no say in what is installed.
fn is_passing_option(name: &str) -> bool {
    PASSING.contains(&name) || PASSING_VALUES.contains(&name)
}

/// Why an option is not said, and whether it has a value.
fn unsaid(name: &str) -> Option<(bool, &'static str)> {
    Some(match name {
        "-f" | "--find-links" => (true, "name wheels on disk in `wheels`, an index in `index-url`"),
        "--no-index" => (false, "name wheels on disk in `wheels`: an index is asked for the rest"),
        "--trusted-host" => (true, "registries.conf and SSL_CERT_FILE say whom this machine trusts"),
        "--cert" | "--client-cert" | "--proxy" | "--keyring-provider" => {
            (true, "that is for this machine's uv to know")
        }
        "--index-strategy" => (true, "of several indexes, the first that has a package is asked for it"),
        "--torch-backend" => (true, "name the index of its wheels in `extra-index-url`"),
        "--pre" => (false, "name a pre-release of a package by its version: name>=2.0rc1"),
        "--prerelease" => (true, "name a pre-release of a package by its version: name>=2.0rc1"),
        "--resolution" => (true, "the lock has the newest versions that fit"),
        "--user" => (false, "the packages are in a venv, which every account has"),
        "--compile-bytecode" => (false, "`bytecode = true` does that"),
        _ => return None,
    })
}

/// The arguments of `pip install`, however pip is called.
///
/// pip's manual, "General Options", has those that may stand before `install` as well as after it.
pub(super) fn arguments(words: &[String]) -> Option<Vec<String>> {
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
    let mut at = 0;
    while let Some(word) = rest.get(at).filter(|word| word.starts_with('-')) {
        at += if has_value(word) { 2 } else { 1 };
    }
    (rest.get(at)? == "install").then(|| [&rest[..at], &rest[at + 1..]].concat())
}

/// Whether the value of an option is the word after it.
fn has_value(option: &str) -> bool {
    option == "--python" || PASSING_VALUES.contains(&option) || unsaid(option).is_some_and(|(has_value, _)| has_value)
}

/// What is known of an installation while its arguments are read.
struct Installation<'a, 'b> {
    translator: &'a Translator<'b>,
    instruction: &'a Instruction,
    packages: Packages,
    /// pyproject.toml files that `-r` names, and what of them is installed.
    projects: Vec<String>,
    selection: Selection,
    /// The venv that `--python` names.
    home: Option<String>,
    /// The Python that is named otherwise.
    python: Option<String>,
}

/// Takes a command for the venv's layer; false if it has to be run after all.
pub(super) fn install(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    command: &Command<'_>,
    arguments: &[String],
) -> Result<bool, Error> {
    let packages = Packages::default();
    let (projects, selection) = (Vec::new(), Selection::default());
    let mut read = Installation { translator, instruction, packages, projects, selection, home: None, python: None };
    read.variables(command)?;
    if !read.arguments(arguments)? {
        return Ok(false);
    }
    let Installation { mut packages, projects, selection, home, python, .. } = read;
    for file in projects {
        packages.add(Pyproject::read(translator.directory, &file)?.packages(translator.directory, &selection)?);
    }
    let home = home.or_else(|| home_of(&command.words[0]));
    translator.packages().add(packages);
    if let Some(python) = python.as_deref().or(version_of(&command.words[0])) {
        name_python(translator, &instruction.place, &command.words.join(" "), python);
    }
    if let Some(venv) = &mut translator.venv {
        venv.path = venv.path.take().or(home);
        comment(&mut translator.draft.parts[venv.part], instruction);
    }
    Ok(true)
}

/// The venv whose `bin` has this program.
fn home_of(program: &str) -> Option<String> {
    let (home, name) = program.rsplit_once("/bin/")?;
    let is_of_venv = ["pip", "python"].iter().any(|own| name.starts_with(own));
    (is_of_venv && home.starts_with('/') && !is_of_base(&format!("{home}/bin"))).then(|| home.to_owned())
}

/// Whether a base has its own Python in this directory.
pub(super) fn is_of_base(directory: &str) -> bool {
    matches!(directory, "/bin" | "/usr/bin" | "/usr/local/bin" | "/opt/conda/bin")
}

/// The version that `pip3.11` and `python3.11` are called by.
fn version_of(program: &str) -> Option<&str> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let version = name.strip_prefix("pip").or(name.strip_prefix("python"))?;
    version.starts_with("3.").then_some(version)
}

impl Installation<'_, '_> {
    /// Reads what the environment says to pip or uv, of `ENV`, `ARG`, `export` and the command itself.
    fn variables(&mut self, command: &Command<'_>) -> Result<(), Error> {
        let name = command.words[0].rsplit('/').next();
        let prefix = if name == Some("uv") { "UV_" } else { "PIP_" };
        let place = &self.instruction.place;
        let (own, others): (Vec<_>, Vec<_>) =
            command.environment.iter().partition(|(name, _)| name.starts_with(prefix));
        let is_of_program = |name: &str| name.starts_with("PIP_") || name.starts_with("UV_");
        let is_own = |name: &String| own.iter().any(|(known, _)| known == name);
        let mut settings = self.translator.variables(prefix);
        settings.retain(|(name, ..)| !is_own(name));
        settings.extend(own.iter().map(|(name, value)| (name.clone(), value.clone(), place.clone())));
        for (name, value) in others.into_iter().filter(|(name, _)| !is_passing(name) && !is_of_program(name)) {
            let why = "an installation has no variables: one that is built from source is built without it";
            self.packages.unsaid(place, &format!("{name}={value} {}", command.words.join(" ")), why);
        }
        settings.into_iter().try_for_each(|(name, value, place)| self.setting(&name, &value, &place))
    }

    /// One variable that pip or uv reads.
    fn setting(&mut self, name: &str, value: &str, place: &Place) -> Result<(), Error> {
        // pip's manual, "Environment Variables": PIP_<UPPER_LONG_NAME>, and values are separated by spaces
        let option = name.split_once('_').map_or("", |(_, option)| option).to_lowercase().replace('_', "-");
        let option = format!("--{option}");
        let is_off = matches!(value.to_lowercase().as_str(), "" | "0" | "false" | "no" | "off");
        match option.as_str() {
            _ if value.is_empty() || is_passing(name) || is_passing_option(&option) => {}
            "--python" => self.python(value.to_owned()),
            "--index-url" | "--default-index" | "--extra-index-url" | "--index" => {
                for url in value.split_whitespace() {
                    further_index(&mut self.packages, place, &format!("{name}={url}"), url.to_owned());
                }
            }
            "--constraint" => {
                return value
                    .split_whitespace()
                    .try_for_each(|file| self.file(file, true, place, &format!("{name}={file}")));
            }
            option => match unsaid(option) {
                Some((false, _)) if is_off => {}
                known => {
                    let why = known.map_or("a recipe has no word for it", |(_, why)| why);
                    self.packages.unsaid(place, &format!("{name}={value}"), why);
                }
            },
        }
        Ok(())
    }

    /// Reads the arguments of `pip install`; false if one of them is about somewhere else than a
    /// venv, or not known.
    fn arguments(&mut self, arguments: &[String]) -> Result<bool, Error> {
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            let (name, mut value) = divided(word);
            if !name.starts_with('-') {
                self.require(word);
                continue;
            }
            let mut next = || value.take().or_else(|| rest.next().cloned()).unwrap_or_default();
            match name {
                "-r" | "--requirement" | "--requirements" => {
                    let file = next();
                    self.file(&file, false, &self.instruction.place, &format!("pip install -r {file}"))?;
                }
                "-c" | "--constraint" | "--constraints" => {
                    let file = next();
                    self.file(&file, true, &self.instruction.place, &format!("pip install -c {file}"))?;
                }
                "-i" | "--index-url" | "--default-index" => {
                    let url = next();
                    let (place, original) = (&self.instruction.place, format!("{name} {url}"));
                    self.packages.notes.push(Note::unsaid(
                        place,
                        &original,
                        "an index of a recipe is asked for every package",
                    ));
                    further_index(&mut self.packages, place, &original, url);
                }
                "--extra-index-url" | "--index" => {
                    let url = next();
                    further_index(&mut self.packages, &self.instruction.place, &format!("{name} {url}"), url);
                }
                "-e" | "--editable" => {
                    let target = next();
                    self.project(&target);
                }
                "--no-binary" => {
                    let names = next();
                    self.no_binary(word, &names);
                }
                "--extra" => self.selection.extras.push(next()),
                "--group" => self.selection.groups.push(next()),
                "-p" | "--python" => {
                    let python = next();
                    self.python(python);
                }
                _ if PASSING_VALUES.contains(&name) => drop(next()),
                _ if is_passing_option(name) || is_loudness(name) => {}
                _ => match unsaid(name) {
                    None => return Ok(false),
                    Some((has_value, why)) => {
                        let original = if has_value { format!("{name} {}", next()) } else { word.clone() };
                        self.packages.unsaid(&self.instruction.place, &format!("pip install {original}"), why);
                    }
                },
            }
        }
        let selects = !self.selection.extras.is_empty() || !self.selection.groups.is_empty();
        // uv's `--group` is that of the pyproject.toml here
        if selects && self.projects.is_empty() {
            match self.translator.on_disk("pyproject.toml") {
                Some(file) => self.projects.push(file),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The Python that is installed for, or that of a venv.
    fn python(&mut self, python: String) {
        match home_of(&python) {
            Some(home) => self.home = Some(home),
            None => self.python = Some(python),
        }
    }

    /// `-r FILE`, or `-c FILE`, which `original` at `place` says.
    fn file(&mut self, file: &str, constrains: bool, place: &Place, original: &str) -> Result<(), Error> {
        let directory = self.translator.directory;
        let Some(on_disk) = self.translator.on_disk(file).filter(|path| directory.join(path).is_file()) else {
            self.packages.unsaid(place, original, "no COPY brings it");
            return Ok(());
        };
        if on_disk.rsplit('/').next() == Some("pyproject.toml") {
            self.projects.push(on_disk);
            return Ok(());
        }
        self.packages.add(match constrains {
            true => requirements::constraints(directory, &on_disk)?,
            false => requirements::read(directory, &on_disk)?,
        });
        Ok(())
    }

    fn no_binary(&mut self, word: &str, names: &str) {
        match names.split(',').map(|name| Word::ProjectName.accepts(name)).collect::<Result<Vec<_>, _>>() {
            Ok(_) => self.packages.no_binary.extend(names.split(',').map(str::to_owned)),
            Err(_) => self.packages.unsaid(&self.instruction.place, word, "`no-binary` takes names of packages"),
        }
    }

    fn require(&mut self, requirement: &str) {
        let name = requirement.split(['=', '<', '>', '~', '!', '[']).next().unwrap_or_default();
        if name == "pip" {
            self.packages.pip = true;
        } else if project::is_direct(requirement) {
            self.project(requirement);
        } else {
            match Word::Requirement.accepts(requirement) {
                Ok(()) => self.packages.require(Item::Said(requirement.to_owned())),
                Err(why) => self.packages.unsaid(&self.instruction.place, requirement, &why),
            }
        }
    }

    /// A project of the image, by where COPY has it from.
    fn project(&mut self, target: &str) {
        let (place, directory) = (&self.instruction.place, self.translator.directory);
        if target.contains("://") {
            return project::add(directory, &mut self.packages, place, target, target);
        }
        let (path, extras) = target.split_once('[').map_or((target, ""), |(path, extras)| (path, extras));
        match self.translator.on_disk(path) {
            Some(on_disk) if extras.is_empty() => project::add(directory, &mut self.packages, place, target, &on_disk),
            Some(on_disk) => {
                project::add(directory, &mut self.packages, place, target, &format!("{on_disk}[{extras}"));
            }
            None => self.packages.unsaid(place, target, "no COPY brings it"),
        }
    }
}

/// An option with the value that is attached to it: `--name=VALUE`, `-nVALUE`.
fn divided(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.to_owned())));
    }
    let has_value = ["-r", "-c", "-i", "-f", "-e", "-p"].iter().any(|name| word.starts_with(name));
    if has_value && word.len() > 2 { (&word[..2], Some(word[2..].to_owned())) } else { (word, None) }
}

/// `-q`, `-v`, and such of several letters: `-qqU`.
fn is_loudness(word: &str) -> bool {
    !word.starts_with("--") && word.len() > 1 && word[1..].chars().all(|letter| matches!(letter, 'q' | 'v' | 'U' | 'I'))
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
        let note = Note::from(&instruction.place);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}
