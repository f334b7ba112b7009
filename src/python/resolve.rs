//! Resolution: from requirements to one wheel a package, for a Python and a
//! platform that need not be this machine's.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;
use url::Url;

use super::asking::Asking;
use super::index::Indexes;
use super::pylock::{self, Origin, Resolved};
use super::source::Metadata;
use super::tags::{Tags, Target};
use super::uv::{self, Uv};
use super::wheel::{FileName, normalize};
use crate::oci::Platform;

/// Why requirements don't resolve to wheels.
#[derive(Debug, Error)]
pub enum Error {
    /// uv is missing or says no.
    #[error(transparent)]
    Uv(#[from] uv::Error),
    /// Its answer has something in it that is not a wheel from an index or disk.
    #[error(transparent)]
    Pylock(#[from] pylock::Error),
    /// A platform that wheels for Linux are not made for here.
    #[error("there are no Python wheels for {platform}")]
    Platform {
        /// The platform.
        platform: Platform,
    },
    /// A Python version that is not `3.X`.
    #[error("`{version}` is not a version of Python 3")]
    Python {
        /// What the recipe says.
        version: String,
    },
    /// A requirement that is an option or more than one line.
    #[error("`{requirement}` is not one requirement")]
    Requirement {
        /// What the recipe says.
        requirement: String,
    },
    /// A requirement by URL, which no index has.
    #[error("{name} is required by URL ({url}), and a lock has wheels of indexes and of disk alone")]
    DirectUrl {
        /// The package.
        name: String,
        /// Its URL.
        url: String,
    },
    /// A wheel on disk that is not there, or whose name is none.
    #[error("{} is not a wheel", path.display())]
    LocalWheel {
        /// The path.
        path: PathBuf,
    },
    /// A package from an index that is none of those that uv says it asks.
    #[error("uv has {name} from {index}, which is none of the indexes that it lists")]
    UnknownIndex {
        /// The package.
        name: String,
        /// The index, without credentials.
        index: String,
    },
}

impl Error {
    /// The packages that have no wheel for the target, where that is why.
    pub fn without_wheels(&self) -> &[String] {
        match self {
            Self::Uv(uv::Error::Refused { source, .. }) => source.without_wheels(),
            _ => &[],
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Uv(error) => error.hint(),
            Self::Pylock(error) => error.hint(),
            Self::Platform { .. } => Some("choose linux/amd64 or linux/arm64".into()),
            Self::Python { .. } => Some("write the minor version, such as `python = \"3.12\"`".into()),
            Self::Requirement { .. } => {
                Some("options have fields of their own: `index-url`, `extra-index-url`, `constraints`".into())
            }
            Self::DirectUrl { .. } => {
                Some("download it, and name a wheel in `wheels`, an sdist or a checkout in `projects`".into())
            }
            Self::LocalWheel { .. } => Some("name a `.whl` file, relative to the recipe".into()),
            Self::UnknownIndex { .. } => Some("name the index in `extra-index-url`".into()),
        }
    }
}

/// What is to be resolved, and for what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The recipe's directory: paths are relative to it.
    pub directory: &'a Path,
    /// The layer, as an error names it.
    pub layer: &'a str,
    /// `3.12`, or `3.12.7` where the patch is known.
    pub python: &'a str,
    /// Whose wheels.
    pub platform: &'a Platform,
    /// The minor version of the image's glibc: 35 for 2.35.
    pub glibc: u32,
    /// Dependency specifiers.
    pub requirements: &'a [String],
    /// requirements.txt files.
    pub requirements_files: &'a [String],
    /// Constraints, one a string.
    pub constraints: &'a [String],
    /// Wheels on disk that are installed.
    pub wheels: &'a [String],
    /// Projects that are installed, built from source.
    pub projects: &'a [Metadata],
    /// Packages of an index that are built from source if something requires them.
    pub sdists: &'a [Metadata],
    /// What is there already: nothing of it is installed, and none of it in another version.
    pub present: &'a [Metadata],
    /// Whether pip is one of the requirements.
    pub pip: bool,
}

/// What requirements come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The wheels, by name.
    pub wheels: Vec<Chosen>,
    /// The normalised names of those of [`Request::projects`], [`Request::sdists`] and
    /// [`Request::present`] that are part of it.
    pub sources: Vec<String>,
}

/// A wheel or an sdist and the alias of where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The file.
    pub resolved: Resolved,
    /// `default`, `extra-0`, … or `local:PATH`.
    pub index: String,
}

impl Request<'_> {
    /// Asks `uv`, with the packages of `indexes`.
    ///
    /// Blocks while uv runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn resolve(&self, uv: &Uv, indexes: &Indexes) -> Result<Resolution, Error> {
        let target = self.target()?;
        let asking = Asking::new(&target, self.python)?;
        let answer = self.ask(uv, indexes, &asking, &[], &[])?;
        let sources = self.projects.iter().chain(self.sdists).chain(self.present);
        let sources: Vec<String> = sources.map(|project| normalize(&project.name)).collect();
        let shown = format!("{}, Python {}", self.platform, self.python);
        let (wheels, sources) = pylock::read(&answer, &Tags::of(&target), &sources, &shown)?;
        let wheels = self.with_aliases(uv, indexes, asking.arguments(), wheels)?;
        Ok(Resolution { wheels, sources })
    }

    /// The sdists of `names`: of each the newest that the requirements themselves and
    /// the constraints take, whatever else is required.
    ///
    /// Blocks while uv runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn find_sdists(&self, uv: &Uv, indexes: &Indexes, names: &[String]) -> Result<Vec<Chosen>, Error> {
        let asking = Asking::new(&self.target()?, self.python)?;
        let mut options = asking.arguments();
        options.extend(names.iter().flat_map(|name| ["--no-binary".to_owned(), name.clone()]));
        let no_deps = [&options[asking.arguments().len()..], &["--no-deps".to_owned()]].concat();
        let answer = self.ask(uv, indexes, &asking, &no_deps, names)?;
        let sdists = pylock::sdists(&answer, names)?;
        self.with_aliases(uv, indexes, options, sdists)
    }

    /// uv's answer, with further `options` and the packages of `names` required.
    fn ask(
        &self,
        uv: &Uv,
        indexes: &Indexes,
        asking: &Asking,
        options: &[String],
        names: &[String],
    ) -> Result<String, Error> {
        let mut input = self.input()?;
        names.iter().for_each(|name| input.push_str(&format!("{name}\n")));
        for project in self.projects {
            input.push_str(&format!("{} @ {}\n", project.name, asking.describe(project)?));
        }
        let mut constraints = lines(self.constraints)?;
        for sdist in self.sdists.iter().chain(self.present) {
            constraints.push_str(&format!("{} @ {}\n", sdist.name, asking.describe(sdist)?));
        }
        let constraints = asking.write("constraints.txt", &constraints)?;
        let mut arguments = asking.arguments();
        arguments.extend(options.iter().cloned());
        arguments.extend(["--format", "pylock.toml", "--generate-hashes"].map(str::to_owned));
        arguments.extend(["--constraints".to_owned(), constraints.display().to_string()]);
        arguments.extend(self.requirements_files.iter().cloned());
        Ok(uv.compile(self.directory, &arguments, &indexes.environment(), &input, &self.doing())?)
    }

    fn doing(&self) -> String {
        format!("resolve `{}` for {}, Python {}", self.layer, self.platform, self.python)
    }

    fn with_aliases(
        &self,
        uv: &Uv,
        indexes: &Indexes,
        arguments: Vec<String>,
        files: Vec<Resolved>,
    ) -> Result<Vec<Chosen>, Error> {
        let origins = Origins::ask(uv, self.directory, arguments, &files, indexes, &self.doing())?;
        let chosen = |resolved| Ok(Chosen { index: self.alias(&resolved, &origins, indexes)?, resolved });
        files.into_iter().map(chosen).collect()
    }

    /// The tags' target.
    fn target(&self) -> Result<Target, Error> {
        let machine = match (self.platform.os.as_str(), self.platform.architecture.as_str()) {
            ("linux", "amd64") => "x86_64",
            ("linux", "arm64") => "aarch64",
            _ => return Err(Error::Platform { platform: self.platform.clone() }),
        };
        let minor = self.python.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse().ok());
        let minor = minor.ok_or_else(|| Error::Python { version: self.python.to_owned() })?;
        Ok(Target { minor, machine, glibc: self.glibc })
    }

    /// The requirements as uv reads them from its standard input.
    fn input(&self) -> Result<String, Error> {
        let mut input = lines(self.requirements)?;
        if self.pip {
            input.push_str("pip\n");
        }
        for wheel in self.wheels {
            let path = self.directory.join(wheel);
            let not_a_wheel = || Error::LocalWheel { path: path.clone() };
            let path = fs::canonicalize(&path).map_err(|_| not_a_wheel())?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let name = FileName::parse(&file).map_err(|_| not_a_wheel())?.name;
            let url = Url::from_file_path(&path).map_err(|()| not_a_wheel())?;
            input.push_str(&format!("{name} @ {url}\n"));
        }
        Ok(input)
    }

    fn alias(&self, wheel: &Resolved, origins: &Origins, indexes: &Indexes) -> Result<String, Error> {
        let path = match &wheel.origin {
            Origin::Path(path) => path,
            Origin::Index(_) => return origins.alias(&wheel.name, indexes),
            Origin::Direct(url) => {
                return Err(Error::DirectUrl { name: wheel.name.clone(), url: url.clone() });
            }
        };
        let absolute = self.directory.join(path);
        let same = |wheel: &&String| match (fs::canonicalize(self.directory.join(wheel)), fs::canonicalize(&absolute)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        let written = self.wheels.iter().find(same).cloned().unwrap_or_else(|| path.display().to_string());
        Ok(format!("local:{written}"))
    }
}

fn lines(requirements: &[String]) -> Result<String, Error> {
    let mut text = String::new();
    for requirement in requirements {
        if requirement.contains(['\n', '\r']) || requirement.trim_start().starts_with('-') {
            return Err(Error::Requirement { requirement: requirement.clone() });
        }
        text.push_str(requirement);
        text.push('\n');
    }
    Ok(text)
}

/// Which index each package came from: uv says so in the annotations of its other
/// output format.
enum Origins {
    /// There is but one index.
    Default,
    /// Normalised name and index.
    Annotated(Vec<(String, String)>),
}

impl Origins {
    fn ask(
        uv: &Uv,
        directory: &Path,
        mut arguments: Vec<String>,
        wheels: &[Resolved],
        indexes: &Indexes,
        doing: &str,
    ) -> Result<Self, Error> {
        let pins: Vec<&Resolved> = wheels.iter().filter(|wheel| matches!(wheel.origin, Origin::Index(_))).collect();
        if indexes.is_single() || pins.is_empty() {
            return Ok(Self::Default);
        }
        let input: String = pins.iter().map(|wheel| format!("{}=={}\n", wheel.name, wheel.version)).collect();
        arguments.extend(["--no-deps", "--no-annotate", "--emit-index-annotation"].map(str::to_owned));
        let answer = uv.compile(directory, &arguments, &indexes.environment(), &input, doing)?;
        let mut found = Vec::new();
        let mut name = None;
        for line in answer.lines() {
            if let Some((pinned, _)) = line.split_once("==") {
                name = Some(normalize(pinned.trim()));
            } else if let (Some(index), Some(name)) = (line.trim().strip_prefix("# from "), name.take()) {
                found.push((name, index.to_owned()));
            }
        }
        Ok(Self::Annotated(found))
    }

    fn alias(&self, name: &str, indexes: &Indexes) -> Result<String, Error> {
        let Self::Annotated(found) = self else { return Ok("default".into()) };
        let index = found.iter().find(|(package, _)| package == name).map_or("an index it doesn't name", |(_, i)| i);
        indexes.alias(index).ok_or_else(|| Error::UnknownIndex { name: name.to_owned(), index: index.to_owned() })
    }
}
