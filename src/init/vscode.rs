//! `.vscode/`: the interpreter, the formatter and the linter, and what extensions they need,
//! merged into the settings that are there. A person's keys win, and so do the comments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstObject, CstRootNode};

use super::error::Error;
use super::pyproject::Pyproject;
use super::write;

/// Where `dlpack export venv` puts an image's packages.
const INTERPRETER: &str = "${workspaceFolder}/.venv/bin/python";

/// JSON with comments as VS Code reads it: comments and trailing commas, nothing else.
const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// A settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Where it is.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has what it lacked.
    Written,
    /// It had all of it.
    Unchanged,
    /// It is as it was, because it can't be read.
    LeftAlone {
        /// What is wrong with it.
        why: String,
    },
}

/// A value of the settings, and what it is merged into.
enum Setting {
    Text(&'static str),
    Flag(bool),
    Table(Vec<(&'static str, Setting)>),
}

/// Merges the settings for a project in `directory` into its `.vscode`.
///
/// # Errors
/// If a file can't be read or written, or `pyproject.toml` is not TOML.
pub fn merge(directory: &Path) -> Result<Vec<Merged>, Error> {
    let tools = Tools::of(directory)?;
    let vscode = directory.join(".vscode");
    let settings = vscode.join("settings.json");
    let extensions = vscode.join("extensions.json");
    let outcome = file(&settings, |root| {
        let object = root.object_value_or_create().ok_or("it holds no object")?;
        tools.settings().iter().for_each(|(name, value)| set(&object, name, value));
        Ok(())
    })?;
    let settings = Merged { path: settings, outcome };
    let outcome = file(&extensions, |root| recommend(root, &tools.extensions))?;
    Ok(vec![settings, Merged { path: extensions, outcome }])
}

/// Merges into the file at `path`, which may be missing.
fn file(path: &Path, merge: impl Fn(&CstRootNode) -> Result<(), &'static str>) -> Result<Outcome, Error> {
    let known = match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::Unreadable { path: path.to_owned(), source }),
    };
    let left = |why: String| Ok(Outcome::LeftAlone { why });
    let is_new = known.is_none();
    let Ok(text) = String::from_utf8(known.unwrap_or_else(|| b"{\n}\n".to_vec())) else {
        return left("it is not UTF-8".into());
    };
    // VS Code takes a byte order mark, and keeps it.
    let (mark, text) = text.strip_prefix('\u{feff}').map_or(("", text.as_str()), |text| ("\u{feff}", text));
    let root = match CstRootNode::parse(text, &JSONC) {
        Ok(root) => root,
        Err(error) => return left(format!("line {}: {}", error.line_display(), error.kind())),
    };
    if let Err(why) = merge(&root) {
        return left(why.into());
    }
    let merged = root.to_string();
    if merged == text && !is_new {
        return Ok(Outcome::Unchanged);
    }
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(|source| Error::Write { path: above.to_owned(), source })?;
    }
    write::replace(path, &format!("{mark}{merged}"))?;
    Ok(Outcome::Written)
}

/// Sets a key that is not there; of a table that is, those of its keys that are not.
fn set(object: &CstObject, name: &str, setting: &Setting) {
    match (object.get(name), setting) {
        (None, setting) => {
            object.append(name, setting.input());
        }
        (Some(_), Setting::Table(entries)) => {
            if let Some(inside) = object.object_value(name) {
                entries.iter().for_each(|(name, setting)| set(&inside, name, setting));
            }
        }
        (Some(_), _) => {}
    }
}

/// Adds to `recommendations` what is neither there nor unwanted.
fn recommend(root: &CstRootNode, extensions: &[&'static str]) -> Result<(), &'static str> {
    let object = root.object_value_or_create().ok_or("it holds no object")?;
    let unwanted = object.array_value("unwantedRecommendations").map(|list| texts(&list)).unwrap_or_default();
    let list = object.array_value_or_create("recommendations").ok_or("its `recommendations` are no list")?;
    let known = texts(&list);
    let is_in = |names: &[String], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    for extension in extensions.iter().filter(|name| !is_in(&known, name) && !is_in(&unwanted, name)) {
        list.append(CstInputValue::String((*extension).to_owned()));
    }
    Ok(())
}

fn texts(list: &CstArray) -> Vec<String> {
    list.elements().iter().filter_map(|node| node.as_string_lit()?.decoded_value().ok()).collect()
}

impl Setting {
    fn input(&self) -> CstInputValue {
        match self {
            Self::Text(text) => CstInputValue::String((*text).to_owned()),
            Self::Flag(flag) => CstInputValue::Bool(*flag),
            Self::Table(entries) => {
                CstInputValue::Object(entries.iter().map(|(name, value)| ((*name).to_owned(), value.input())).collect())
            }
        }
    }
}

/// What a project is formatted and checked with.
struct Tools {
    formatter: &'static str,
    organizes_imports: bool,
    extensions: Vec<&'static str>,
}

impl Tools {
    /// What `pyproject.toml` and the tools' own files say; Ruff if they say nothing.
    fn of(directory: &Path) -> Result<Self, Error> {
        let there = directory.join("pyproject.toml").is_file();
        let pyproject = there.then(|| Pyproject::read(directory, "pyproject.toml")).transpose()?;
        let has = |tool: &str| pyproject.as_ref().is_some_and(|file| file.get(&["tool", tool]).is_some());
        let is_file = |names: &[&str]| names.iter().any(|name| directory.join(name).is_file());
        let ruff = has("ruff") || is_file(&["ruff.toml", ".ruff.toml"]);
        let formatter = match () {
            () if has("black") => "ms-python.black-formatter",
            () if has("yapf") || is_file(&[".style.yapf"]) => "eeyore.yapf",
            () => "charliermarsh.ruff",
        };
        let mut extensions = vec!["ms-python.python", formatter];
        let linters = [
            (has("pylint") || is_file(&[".pylintrc", "pylintrc"]), "ms-python.pylint"),
            (has("flake8") || is_file(&[".flake8"]), "ms-python.flake8"),
        ];
        let named: Vec<&str> =
            linters.iter().filter(|(is_used, _)| *is_used).map(|(_, extension)| *extension).collect();
        if ruff || named.is_empty() {
            extensions.push("charliermarsh.ruff");
        }
        extensions.extend(named);
        if has("mypy") || is_file(&["mypy.ini", ".mypy.ini"]) {
            extensions.push("ms-python.mypy-type-checker");
        }
        extensions.dedup();
        Ok(Self { formatter, organizes_imports: extensions.contains(&"charliermarsh.ruff"), extensions })
    }

    fn settings(&self) -> Vec<(&'static str, Setting)> {
        let mut python = vec![
            ("editor.defaultFormatter", Setting::Text(self.formatter)),
            ("editor.formatOnSave", Setting::Flag(true)),
        ];
        if self.organizes_imports {
            let actions = vec![("source.organizeImports", Setting::Text("explicit"))];
            python.push(("editor.codeActionsOnSave", Setting::Table(actions)));
        }
        vec![("python.defaultInterpreterPath", Setting::Text(INTERPRETER)), ("[python]", Setting::Table(python))]
    }
}
