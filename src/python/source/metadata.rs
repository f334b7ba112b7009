//! What a project says of itself without being run (PyPA, "Core metadata" and
//! "pyproject.toml specification"): as much as resolving and building it needs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::requires::{Requires, of_fields, of_requires_txt};

/// Where a project's files are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An sdist, which holds what its build tool found out when it was made.
    Sdist,
    /// A source tree, where such files are of some build or other.
    Tree,
}

/// A project's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Its name as it writes it.
    pub name: String,
    /// Its version; none where only a build tells.
    pub version: Option<String>,
    /// Which Pythons it takes.
    pub requires_python: Option<String>,
    /// What it requires.
    pub dependencies: Vec<String>,
    /// What it requires besides, by extra.
    pub extras: BTreeMap<String, Vec<String>>,
}

/// What builds a project (PEP 517, PEP 518).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSystem {
    /// What must be there to build it.
    pub requires: Vec<String>,
    /// The backend, `module:object`.
    pub backend: String,
    /// Directories of the project that the backend lies in.
    pub backend_path: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pyproject {
    build_system: Option<BuildTable>,
    project: Option<ProjectTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildTable {
    requires: Vec<String>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ProjectTable {
    name: String,
    version: Option<String>,
    requires_python: Option<String>,
    dependencies: Option<Vec<String>>,
    optional_dependencies: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    dynamic: Vec<String>,
}

impl BuildSystem {
    /// What builds the project in `directory`.
    ///
    /// # Errors
    /// [`Error::NotAProject`], [`Error::Pyproject`], [`Error::Io`].
    pub fn of(directory: &Path) -> Result<Self, Error> {
        let pyproject = pyproject(directory)?;
        if pyproject.is_none() && !directory.join("setup.py").is_file() {
            return Err(Error::NotAProject { path: directory.to_owned() });
        }
        let table = pyproject.and_then(|pyproject| pyproject.build_system);
        // PEP 517: "If the pyproject.toml file is absent, or the build-backend key is
        // missing, the source tree is not using this specification, and tools should
        // revert to the legacy behaviour of running setup.py". PEP 518's default
        // requirements are setuptools and wheel.
        let legacy = "setuptools.build_meta:__legacy__";
        let mut system = match table {
            Some(table) => Self {
                requires: table.requires,
                backend: table.build_backend.unwrap_or_else(|| legacy.to_owned()),
                backend_path: table.backend_path,
            },
            None => {
                Self { requires: vec!["setuptools>=40.8.0".into()], backend: legacy.into(), backend_path: Vec::new() }
            }
        };
        // setuptools before 70.1 asks for wheel in get_requires_for_build_wheel.
        let wheel = |requirement: &String| super::required_name(requirement) == "wheel";
        if system.backend.starts_with("setuptools.") && !system.requires.iter().any(wheel) {
            system.requires.push("wheel".into());
        }
        Ok(system)
    }
}

impl Metadata {
    /// What the project in `directory` says.
    ///
    /// # Errors
    /// [`Error::Dynamic`] for what a source tree does not say; [`Error::Pyproject`],
    /// [`Error::Io`], [`Error::NotAProject`].
    pub fn of(directory: &Path, origin: Origin) -> Result<Self, Error> {
        let table = pyproject(directory)?.and_then(|pyproject| pyproject.project);
        if origin == Origin::Sdist {
            return of_sdist(directory, table);
        }
        let field = if table.is_some() { "dependencies" } else { "name" };
        table.as_ref().and_then(of_table).ok_or_else(|| match directory.join("setup.py").is_file() || table.is_some() {
            true => Error::Dynamic { path: directory.to_owned(), field },
            false => Error::NotAProject { path: directory.to_owned() },
        })
    }
}

/// What `[project]` says, if it says what the project depends on.
fn of_table(table: &ProjectTable) -> Option<Metadata> {
    let dynamic = |field: &str| table.dynamic.iter().any(|named| named == field);
    if dynamic("dependencies") || dynamic("optional-dependencies") {
        return None;
    }
    Some(Metadata {
        name: table.name.clone(),
        version: table.version.clone(),
        requires_python: table.requires_python.clone(),
        dependencies: table.dependencies.clone().unwrap_or_default(),
        extras: table.optional_dependencies.clone().unwrap_or_default(),
    })
}

/// PKG-INFO from 2.2 on is what a wheel will say; before, `[project]` and what
/// setuptools found when the sdist was made tell more. The build checks it.
fn of_sdist(directory: &Path, table: Option<ProjectTable>) -> Result<Metadata, Error> {
    let path = directory.join("PKG-INFO");
    let text = read(&path)?.ok_or_else(|| Error::Io { doing: "read", path, source: io::ErrorKind::NotFound.into() })?;
    let fields = Fields::of(&text);
    let found = Metadata {
        name: fields.first("Name").unwrap_or_default().to_owned(),
        version: fields.first("Version").map(str::to_owned),
        requires_python: fields.first("Requires-Python").map(str::to_owned),
        dependencies: Vec::new(),
        extras: BTreeMap::new(),
    };
    let version = fields.first("Metadata-Version").and_then(|version| version.split_once('.'));
    let version = version.and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    // Core metadata: "If a field is not marked as Dynamic, then the value of the field
    // in any wheel built from the sdist MUST match the value in the sdist."
    let dynamic = fields.all("Dynamic").any(|field| field.eq_ignore_ascii_case("requires-dist"));
    if version >= Some((2, 2)) && !dynamic {
        return Ok(found.requiring(of_fields(fields.all("Requires-Dist"))));
    }
    if let Some(Metadata { dependencies, extras, .. }) = table.as_ref().and_then(of_table) {
        return Ok(Metadata { dependencies, extras, ..found });
    }
    match egg_info_requires(directory)? {
        Some(text) => Ok(found.requiring(of_requires_txt(&text))),
        None => Ok(found.requiring(of_fields(fields.all("Requires-Dist")))),
    }
}

impl Metadata {
    fn requiring(self, mut requires: Requires) -> Self {
        let dependencies = requires.remove("").unwrap_or_default();
        Self { dependencies, extras: requires, ..self }
    }
}

/// The header fields of PKG-INFO, one a line.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        // An empty line ends the fields; a line that begins with space goes on the one before.
        let lines = text.lines().take_while(|line| !line.trim().is_empty());
        let fields = lines.filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.trim(), value.trim())).collect())
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn first(&self, name: &'static str) -> Option<&'a str> {
        self.all(name).next()
    }
}

/// `requires.txt` of the `.egg-info` that setuptools puts into an sdist, at its top or
/// in `src`.
fn egg_info_requires(directory: &Path) -> Result<Option<String>, Error> {
    for place in [directory.to_owned(), directory.join("src")] {
        let Ok(entries) = fs::read_dir(&place) else { continue };
        let egg_info = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "egg-info");
        let found = entries.filter_map(|entry| Some(entry.ok()?.path())).find(egg_info);
        if let Some(text) = found.map(|found| read(&found.join("requires.txt"))).transpose()?.flatten() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn pyproject(directory: &Path) -> Result<Option<Pyproject>, Error> {
    let path = directory.join("pyproject.toml");
    let Some(text) = read(&path)? else { return Ok(None) };
    toml::from_str(&text).map(Some).map_err(|source| Error::Pyproject { path, source: Box::new(source) })
}

/// The text of a file that is no link; nothing if there is none.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        _ => return Ok(None),
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn dependencies(files: &[(&str, &str)], origin: Origin) -> Result<Vec<String>, Error> {
        Metadata::of(project(files).path(), origin).map(|metadata| metadata.dependencies)
    }

    #[test]
    fn an_sdist_of_metadata_2_2_says_what_its_wheel_will_require() {
        let info = "Metadata-Version: 2.2\nName: a\nVersion: 1\nRequires-Dist: six\n\nRequires-Dist: not-a-field\n";
        assert_eq!(dependencies(&[("PKG-INFO", info)], Origin::Sdist).unwrap(), ["six"]);
    }

    #[test]
    fn an_older_sdist_says_it_in_its_project_table_or_in_what_setuptools_left() {
        let info = ("PKG-INFO", "Metadata-Version: 2.1\nName: a\nVersion: 1\n");
        let table = ("pyproject.toml", "[project]\nname = 'a'\nversion = '1'\ndependencies = ['tqdm']\n");
        let egg = ("src/a.egg-info/requires.txt", "six\n");
        assert_eq!(dependencies(&[info, table, egg], Origin::Sdist).unwrap(), ["tqdm"]);
        assert_eq!(dependencies(&[info, egg], Origin::Sdist).unwrap(), ["six"]);
        assert!(dependencies(&[info], Origin::Sdist).unwrap().is_empty());
    }

    #[test]
    fn a_source_tree_says_it_in_its_project_table_alone() {
        let table = "[project]\nname = 'a'\ndynamic = ['version', 'dependencies']\n";
        let error = dependencies(&[("pyproject.toml", table)], Origin::Tree).unwrap_err();
        assert!(error.to_string().contains("does not say its dependencies"), "{error}");
        let error = dependencies(&[("setup.py", ""), ("a.egg-info/requires.txt", "six")], Origin::Tree).unwrap_err();
        assert!(error.to_string().contains("does not say its name"), "{error}");
        let error = dependencies(&[("main.py", "")], Origin::Tree).unwrap_err();
        assert!(matches!(error, Error::NotAProject { .. }), "{error}");
    }

    #[test]
    fn what_builds_a_project_is_setuptools_unless_it_says_so() {
        let system = BuildSystem::of(project(&[("setup.py", "")]).path()).unwrap();
        assert_eq!(system.backend, "setuptools.build_meta:__legacy__");
        assert_eq!(system.requires, ["setuptools>=40.8.0", "wheel"]);
        let text = "[build-system]\nrequires = ['flit_core']\nbuild-backend = 'flit_core.buildapi'\n";
        let system = BuildSystem::of(project(&[("pyproject.toml", text)]).path()).unwrap();
        assert_eq!((system.requires, system.backend.as_str()), (vec!["flit_core".into()], "flit_core.buildapi"));
    }
}
