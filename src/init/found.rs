//! What lies in a directory: which of its files a recipe is written from, and what they
//! suggest where nobody says otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use crate::recipe::shipped_names;

use super::bases;
use super::compose::Answers;
use super::conda::{self, Conda};
use super::dockerfile::{self, Dockerfile};
use super::error::Error;
use super::note::Place;
use super::packages::Packages;
use super::pyproject::{Pyproject, Selection, is_in};
use super::python::Wanted;
use super::{file, requirements};

/// The flavour that has nothing but what the project's files say.
pub(super) const PLAIN: &str = "plain";

/// The flavour on an image that has CUDA, Python and packages of its own.
pub(super) const NGC: &str = "ngc-pytorch";

/// The Python of that image.
pub(super) const NGC_PYTHON: &str = "3.8";

/// The flavours: one of nothing but the project's packages, and the shipped recipes.
pub fn flavours() -> Vec<&'static str> {
    std::iter::once(PLAIN).chain(shipped_names()).collect()
}

/// The files that say what an image has.
#[derive(Debug)]
pub struct Found {
    /// The directory.
    pub(super) directory: PathBuf,
    /// Those that were read, by name.
    pub(super) read: Vec<String>,
    /// Those that say it as well, and were not read.
    pub(super) left: Vec<String>,
    pub(super) packages: Packages,
    pub(super) dockerfile: Option<Dockerfile>,
    pub(super) variables: Vec<(String, String)>,
    cuda: Option<String>,
    /// What is installed of extras and groups.
    selection: Selection,
    /// Those that there are.
    optional: Selection,
}

/// What the files suggest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// One of [`flavours`].
    pub flavour: &'static str,
    /// A version of CUDA, or `none`.
    pub cuda: String,
    /// A version of Python; none where the base does not tell.
    pub python: Option<String>,
    /// The account's name.
    pub user: String,
}

/// The kinds of files that a recipe is written from, by how they are called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Dockerfile,
    Pyproject,
    Requirements,
    Conda,
}

impl Format {
    fn of(name: &str) -> Option<Self> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let lower = base.to_ascii_lowercase();
        match lower.as_str() {
            "pyproject.toml" => Some(Self::Pyproject),
            _ if ["dockerfile", "containerfile"]
                .iter()
                .any(|kind| lower.starts_with(kind) || lower.ends_with(&format!(".{kind}"))) =>
            {
                Some(Self::Dockerfile)
            }
            _ if lower.ends_with(".txt") || lower.ends_with(".in") => Some(Self::Requirements),
            _ if lower.ends_with(".yml") || lower.ends_with(".yaml") => Some(Self::Conda),
            _ => None,
        }
    }
}

/// The names that are looked for, the one that says most first.
const NAMES: [&str; 6] =
    ["Dockerfile", "Containerfile", "pyproject.toml", "requirements.txt", "environment.yml", "environment.yaml"];

/// The entries of a directory, of which the empty path is this one.
pub(super) fn listed(directory: &Path) -> std::io::Result<fs::ReadDir> {
    fs::read_dir(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
}

/// Looks into `directory`, or this one if it is empty: the files `from` are read, or the first of those that are there
/// and that say what is installed. Of `pyproject.toml`, the extras and groups of `selection` are, too.
///
/// # Errors
/// If the directory or a file can't be read, if a file is not of its format, or if there is no such extra or group.
pub fn look(directory: &Path, from: &[String], selection: &Selection) -> Result<Found, Error> {
    listed(directory).map_err(|source| Error::Directory { path: directory.to_owned(), source })?;
    let mut found = Found {
        directory: directory.to_owned(),
        read: Vec::new(),
        left: Vec::new(),
        packages: Packages::default(),
        dockerfile: None,
        variables: Vec::new(),
        cuda: None,
        selection: selection.clone(),
        optional: Selection::default(),
    };
    if from.is_empty() {
        let there = NAMES.into_iter().filter(|name| directory.join(name).exists());
        let mut there: Vec<String> = there.map(str::to_owned).collect();
        if let Some(at) = there.iter().position(|name| name == "pyproject.toml") {
            let pyproject = Pyproject::read(directory, "pyproject.toml")?;
            if !pyproject.has_packages() {
                there.remove(at);
                found.packages.python.extend(pyproject.python());
            }
        }
        let mut there = there.into_iter();
        let taken = there.next();
        taken.iter().try_for_each(|name| found.read(name))?;
        // What a Dockerfile copies or installs from is not left out.
        let dockerfile = taken.filter(|_| found.dockerfile.is_some());
        let text = dockerfile.map(|name| file::read(directory, &name)).transpose()?.unwrap_or_default();
        found.left = there.filter(|name| !text.contains(name.as_str())).collect();
    }
    from.iter().try_for_each(|name| found.read(name))?;
    found.has_selected()?;
    found.packages.python.extend(pinned(directory)?);
    Ok(found)
}

/// What `.python-version` of `directory` says, where there is one.
fn pinned(directory: &Path) -> Result<Option<Wanted>, Error> {
    const NAME: &str = ".python-version";
    if !directory.join(NAME).exists() {
        return Ok(None);
    }
    let text = file::read(directory, NAME)?;
    let version = text.lines().map(str::trim).find(|line| line.starts_with("3."));
    Ok(version.map(|version| {
        let minor = version.split('.').take(2).collect::<Vec<_>>().join(".");
        Wanted::new(Place::new(NAME, 1), format!("=={minor}.*"))
    }))
}

impl Found {
    /// Adds what the file `name` says.
    fn read(&mut self, name: &str) -> Result<(), Error> {
        let path = || self.directory.join(name);
        match Format::of(name).ok_or_else(|| Error::UnknownKind { path: path() })? {
            Format::Dockerfile => self.dockerfile = Some(dockerfile::read(&self.directory, name)?),
            Format::Pyproject => {
                let pyproject = Pyproject::read(&self.directory, name)?;
                self.packages.add(pyproject.packages(&self.directory, &self.selection)?);
                let Selection { extras, groups } = pyproject.names();
                self.optional.extras.extend(extras);
                self.optional.groups.extend(groups);
            }
            Format::Requirements => self.packages.add(requirements::read(&self.directory, name)?),
            Format::Conda => {
                let Conda { packages, variables, cuda } = conda::read(&self.directory, name)?;
                self.packages.add(packages);
                self.variables.extend(variables);
                self.cuda = cuda.or(self.cuda.take());
            }
        }
        self.read.push(name.to_owned());
        Ok(())
    }

    /// Whether there is what is selected.
    fn has_selected(&self) -> Result<(), Error> {
        let Selection { extras, groups } = &self.selection;
        let of_extras = extras.iter().map(|name| ("extra", name, &self.optional.extras));
        let of_groups = groups.iter().map(|name| ("group", name, &self.optional.groups));
        match of_extras.chain(of_groups).find(|(_, name, known)| !is_in(known, name)) {
            None => Ok(()),
            Some((what, name, known)) => Err(Error::Selected { what, name: name.clone(), known: known.clone() }),
        }
    }

    /// The files that were read.
    pub fn files(&self) -> &[String] {
        &self.read
    }

    /// The files that say what an image has as well, and that were not read.
    pub fn others(&self) -> &[String] {
        &self.left
    }

    /// Whether a Dockerfile or the flavour says which CUDA there is.
    pub fn has_base(&self, flavour: &str) -> bool {
        flavour == PLAIN && self.dockerfile.is_some() || flavour == NGC
    }

    /// Whether the files say that Python packages are installed.
    pub fn installs(&self) -> bool {
        !self.packages.is_empty() || self.dockerfile.as_ref().is_some_and(|dockerfile| dockerfile.venv.is_some())
    }

    /// The Python that goes with what is chosen so far.
    ///
    /// # Errors
    /// If no base has it.
    pub fn python(&self, answers: &Answers) -> Result<Option<String>, Error> {
        let defaults = self.defaults(answers.flavour.as_deref())?;
        if self.has_base(defaults.flavour) {
            return Ok(defaults.python);
        }
        let cuda = answers.cuda.as_deref().unwrap_or(&defaults.cuda);
        let chosen = bases::choose((cuda != "none").then_some(cuda), None, &self.packages.python)?;
        Ok(Some(chosen.python))
    }

    /// Whether there is a base for what is chosen so far.
    ///
    /// # Errors
    /// If there is no such flavour, base, Python or account.
    pub fn check(&self, answers: &Answers) -> Result<(), Error> {
        answers.has_user()?;
        let defaults = self.defaults(answers.flavour.as_deref())?;
        let python = answers.python.as_deref();
        if self.has_base(defaults.flavour) {
            return python.map_or(Ok(()), |python| bases::minor(python).map(drop));
        }
        let cuda = answers.cuda.as_deref().unwrap_or(&defaults.cuda);
        bases::choose((cuda != "none").then_some(cuda), python, &self.packages.python).map(drop)
    }

    /// What the files suggest, for a flavour if one is chosen.
    ///
    /// # Errors
    /// If there is no such flavour.
    pub fn defaults(&self, flavour: Option<&str>) -> Result<Defaults, Error> {
        let chosen = match flavour {
            None if self.read.is_empty() => "base",
            None => PLAIN,
            Some(name) => {
                let known = flavours().into_iter().find(|known| *known == name);
                known.ok_or_else(|| Error::Flavour { name: name.to_owned(), known: flavours() })?
            }
        };
        let (cuda, python) = match &self.dockerfile {
            _ if chosen == NGC => (None, Some(NGC_PYTHON.to_owned())),
            Some(dockerfile) if chosen == PLAIN => {
                let python = bases::python_of(&dockerfile.image).map(|(minor, _)| format!("3.{minor}"));
                (None, python)
            }
            _ => {
                let cuda = self.cuda_for(chosen);
                let chosen = bases::choose(cuda.as_deref(), None, &self.packages.python);
                (cuda, chosen.ok().map(|chosen| chosen.python))
            }
        };
        Ok(Defaults { flavour: chosen, cuda: cuda.unwrap_or_else(|| "none".into()), python, user: "dev".into() })
    }

    /// The version of CUDA that the packages are for, if they want a GPU.
    fn cuda_for(&self, flavour: &str) -> Option<String> {
        let version = self.cuda.clone().or_else(|| bases::cuda_in(self.packages.words()));
        if version.as_deref() == Some("none") {
            return None;
        }
        // A major version alone is its newest minor one.
        let newest = |version: String| match bases::known_cuda()
            .into_iter()
            .find(|known| known.split('.').next() == Some(&version))
        {
            Some(known) => known.to_owned(),
            None => version,
        };
        let version = version.map(newest);
        let known = version.filter(|version| bases::known_cuda().contains(&version.as_str()) || version.is_empty());
        match (flavour, known) {
            ("quickstart", _) | (PLAIN, None) => None,
            (_, Some(version)) if !version.is_empty() => Some(version),
            _ => Some(bases::default_cuda(&self.packages.python).to_owned()),
        }
    }
}
