//! Reads conda's `environment.yml`: packages that the package index has under the same
//! name are said, the rest are comments.

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::recipe::Word;

use super::error::Error;
use super::note::{Item, Note, Place};
use super::packages::Packages;
use super::python::Wanted;
use super::{file, project, requirements};

/// What conda-env(1) reads of an environment's file.
#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    channels: Vec<Spanned<String>>,
    #[serde(default)]
    dependencies: Vec<Spanned<Dependency>>,
    #[serde(default)]
    variables: std::collections::BTreeMap<String, Scalar>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Dependency {
    Package(String),
    Pip { pip: Vec<String> },
}

/// A value of an environment variable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

/// What an environment's file says.
#[derive(Debug, Default)]
pub(super) struct Conda {
    pub(super) packages: Packages,
    pub(super) variables: Vec<(String, String)>,
    /// The version of CUDA that its packages are for.
    pub(super) cuda: Option<String>,
}

/// What the file `name` in `directory` says.
///
/// # Errors
/// If it can't be read or is not such a file.
pub(super) fn read(directory: &Path, name: &str) -> Result<Conda, Error> {
    let text = file::read(directory, name)?;
    let environment: Environment = serde_saphyr::from_str(&text).map_err(|error| Error::Syntax {
        place: Place::new(name, error.location().map_or(1, |location| location.line() as usize)).to_string(),
        message: format!("this is no conda environment: {}", error.without_snippet()),
        hint: Some("it has `dependencies`: a list of NAME=VERSION, and of `pip:` with a list of requirements".into()),
    })?;
    let mut conda = Conda::default();
    let place = |line: u64| Place::new(name, line as usize);
    for channel in &environment.channels {
        let note = Note::unsaid(
            &place(channel.referenced.line()),
            &format!("channel {}", channel.value),
            "packages come from the Python package index",
        );
        conda.packages.notes.push(note);
    }
    for dependency in &environment.dependencies {
        let line = dependency.referenced.line();
        match &dependency.value {
            Dependency::Package(spec) => conda.package(&place(line), spec),
            Dependency::Pip { pip } => {
                let mut from = line as usize;
                for requirement in pip {
                    from = line_of(&text, requirement, from);
                    conda.pip(directory, &Place::new(name, from), requirement)?;
                }
            }
        }
    }
    conda.variables = environment.variables.into_iter().map(|(name, value)| (name, value.text())).collect();
    Ok(conda)
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
        }
    }
}

/// The first line from `from` on that has `needle` in it.
fn line_of(text: &str, needle: &str, from: usize) -> usize {
    let found = text.lines().enumerate().skip(from.saturating_sub(1)).find(|(_, line)| line.contains(needle));
    found.map_or(from, |(number, _)| number + 1)
}

impl Conda {
    /// conda's "package match specification": `[CHANNEL::]NAME[=VERSION[=BUILD]]`.
    fn package(&mut self, place: &Place, spec: &str) {
        let bare = spec.split_once("::").map_or(spec, |(_, bare)| bare).trim();
        let end = bare.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'));
        let (name, versions) = bare.split_at(end.unwrap_or(bare.len()));
        let name = name.to_ascii_lowercase();
        let versions = versions_of(versions.trim());
        match name.as_str() {
            "python" => {
                match versions {
                    Some(versions) => self.packages.python.push(Wanted::new(place.clone(), versions)),
                    None => {
                        let note = Note::unsaid(place, spec, "--python says which of them");
                        self.packages.notes.push(note);
                    }
                }
                return;
            }
            "pip" => {
                self.packages.pip = true;
                return;
            }
            "cudatoolkit" | "pytorch-cuda" | "cuda-version" | "cuda-toolkit" | "cuda" => {
                self.cuda = versions.as_deref().map(digits).filter(|cuda| !cuda.is_empty()).or(self.cuda.take());
                let why = "CUDA comes with the base; wheels for it may be on an index of their own: `extra-index-url`";
                self.packages.notes.push(Note::unsaid(place, spec, why));
                return;
            }
            "cpuonly" => {
                self.cuda = Some("none".into());
                let why = "wheels without CUDA are on an index of their own: name it in `index-url`";
                self.packages.notes.push(Note::unsaid(place, spec, why));
                return;
            }
            _ => {}
        }
        let Some(versions) = versions else {
            return self.packages.unsaid(place, spec, "its version has no form in PyPA's specifiers");
        };
        match named(&name) {
            Some(package) => {
                let requirement = format!("{package}{versions}");
                match Word::Requirement.accepts(&requirement) {
                    Ok(()) => self.packages.require(Item::Said(requirement)),
                    Err(why) => self.packages.unsaid(place, spec, &why),
                }
            }
            None => self.packages.unsaid(
                place,
                spec,
                "it is not known to be a package of the same name on the package index: an apt layer may bring it",
            ),
        }
    }

    fn pip(&mut self, directory: &Path, place: &Place, requirement: &str) -> Result<(), Error> {
        let line = requirement.trim();
        let file = ["-r", "--requirement"].iter().find_map(|option| line.strip_prefix(option));
        if let Some(file) = file {
            self.packages.add(requirements::read(directory, file.trim_start_matches([' ', '=']).trim())?);
            return Ok(());
        }
        if let Some(path) = ["-e", "--editable"].iter().find_map(|option| line.strip_prefix(option)) {
            project::add(directory, &mut self.packages, place, line, path.trim());
            return Ok(());
        }
        let url = |option: &str| line.strip_prefix(option).map(|url| url.trim_start_matches([' ', '=']).trim());
        if let Some(url) = url("--extra-index-url").filter(|url| Word::Index.accepts(url).is_ok()) {
            self.packages.extra_index_url.push(url.to_owned());
        } else if let Some(url) = url("--index-url").filter(|url| Word::Index.accepts(url).is_ok()) {
            self.packages.index(url.to_owned());
        } else if project::is_direct(line) {
            project::add(directory, &mut self.packages, place, line, line);
        } else {
            match Word::Requirement.accepts(line) {
                Ok(()) => self.packages.require(Item::Said(line.to_owned())),
                Err(why) => self.packages.unsaid(place, line, &why),
            }
        }
        Ok(())
    }
}

/// conda's versions as PyPA's specifier; none where they have alternatives (`|`).
fn versions_of(text: &str) -> Option<String> {
    if text.contains(['|', '[', '(']) {
        return None;
    }
    // "fuzzy": `numpy=1.26` is 1.26.*; "exact": `numpy==1.26.4`; the build comes after a second `=`
    if let Some(fuzzy) = text.strip_prefix('=').filter(|rest| !rest.starts_with('=')) {
        let (version, build) = fuzzy.split_once('=').map_or((fuzzy, None), |(version, build)| (version, Some(build)));
        let version = version.trim();
        let exact = build.is_some() || version.ends_with('*') || version.is_empty();
        return Some(match version {
            "" | "*" => String::new(),
            _ if exact => format!("=={version}"),
            _ => format!("=={version}.*"),
        });
    }
    let text = text.replace(' ', "");
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("=={text}"));
    }
    Some(text)
}

fn digits(versions: &str) -> String {
    let version = versions.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(".*");
    version.split(',').next().unwrap_or_default().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Packages that have the same name on the Python package index. A name that is not known to be
/// the same may be anybody's there.
const SAME: [&str; 136] = [
    "absl-py",
    "accelerate",
    "aiohttp",
    "albumentations",
    "altair",
    "attrs",
    "beautifulsoup4",
    "bitsandbytes",
    "black",
    "bokeh",
    "boto3",
    "cachetools",
    "catboost",
    "click",
    "cloudpickle",
    "coverage",
    "cupy",
    "cython",
    "dask",
    "datasets",
    "deepspeed",
    "diffusers",
    "distributed",
    "docopt",
    "einops",
    "fastapi",
    "filelock",
    "fire",
    "flake8",
    "flask",
    "fsspec",
    "gensim",
    "geopandas",
    "gpustat",
    "gradio",
    "grpcio",
    "gymnasium",
    "h5py",
    "holoviews",
    "httpx",
    "huggingface_hub",
    "hydra-core",
    "imageio",
    "ipykernel",
    "ipython",
    "ipywidgets",
    "isort",
    "jax",
    "jinja2",
    "joblib",
    "jupyter",
    "jupyterlab",
    "kornia",
    "librosa",
    "lightgbm",
    "lightning",
    "llvmlite",
    "loguru",
    "lxml",
    "markdown",
    "matplotlib",
    "mlflow",
    "mypy",
    "networkx",
    "nltk",
    "notebook",
    "numba",
    "numexpr",
    "numpy",
    "omegaconf",
    "openpyxl",
    "optuna",
    "packaging",
    "pandas",
    "peft",
    "pillow",
    "plotly",
    "polars",
    "pre-commit",
    "prometheus_client",
    "protobuf",
    "psutil",
    "pyarrow",
    "pycocotools",
    "pydantic",
    "pydicom",
    "pylint",
    "pytest",
    "pytest-cov",
    "python-dateutil",
    "pytorch-lightning",
    "pytz",
    "pyyaml",
    "pyzmq",
    "ray",
    "regex",
    "requests",
    "rich",
    "ruff",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "seaborn",
    "sentencepiece",
    "setuptools",
    "shapely",
    "simpleitk",
    "six",
    "spacy",
    "sqlalchemy",
    "statsmodels",
    "streamlit",
    "sympy",
    "tabulate",
    "tensorboard",
    "tensorboardx",
    "tensorflow",
    "tifffile",
    "timm",
    "tokenizers",
    "torchaudio",
    "torchinfo",
    "torchmetrics",
    "torchvision",
    "tqdm",
    "transformers",
    "triton",
    "typer",
    "typing_extensions",
    "umap-learn",
    "wandb",
    "wheel",
    "xarray",
    "xgboost",
    "yapf",
    "zarr",
];

/// The name that a package of conda's has on the Python package index, if it is there.
fn named(name: &str) -> Option<String> {
    let package = match name {
        "pytorch" | "pytorch-gpu" => "torch",
        "tensorflow-gpu" => "tensorflow",
        "opencv" | "py-opencv" => "opencv-python",
        "matplotlib-base" => "matplotlib",
        "dask-core" => "dask",
        same => SAME.into_iter().find(|known| *known == same)?,
    };
    Some(package.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Conda, Item, Place, versions_of};

    #[test]
    fn versions_of_conda_are_said_as_pypa_has_them() {
        let cases = [
            ("", ""),
            ("=1.26", "==1.26.*"),
            ("=1.26.4=py310h1234567_0", "==1.26.4"),
            ("==1.26.4", "==1.26.4"),
            (">=1.20,<2", ">=1.20,<2"),
            (" >= 1.20", ">=1.20"),
            ("=1.26.*", "==1.26.*"),
        ];
        for (text, expected) in cases {
            assert_eq!(versions_of(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(versions_of("=1.8|1.9"), None);
    }

    #[test]
    fn what_a_recipe_can_not_say_of_conda_is_a_comment_with_its_line() {
        let mut conda = Conda::default();
        let specs = ["python=3.9|3.10", "cpuonly", "some-lab-tool=1", "numpy=1.26", "pytorch=2.1"];
        specs.into_iter().for_each(|spec| conda.package(&Place::new("environment.yml", 1), spec));
        let notes = conda.packages.notes.iter().map(|note| note.first_line());
        assert_eq!(notes.collect::<Vec<_>>(), ["environment.yml:1: python=3.9|3.10", "environment.yml:1: cpuonly"]);
        assert_eq!((conda.cuda.as_deref(), conda.packages.python.len()), (Some("none"), 0));
        let [Item::Note(unknown), rest @ ..] = &conda.packages.requirements[..] else { panic!("{:?}", conda.packages) };
        assert_eq!(unknown.first_line(), "environment.yml:1: some-lab-tool=1");
        assert_eq!(rest, ["numpy==1.26.*", "torch==2.1.*"].map(|said| Item::Said(said.into())));
    }
}
