//! The base images that a recipe is written on, and which Python they have.

use super::error::Error;
use super::python::{self, Wanted};
use crate::oci::DEFAULT_PATH;
use crate::recipe::Word;

/// Images with CUDA, cuDNN and its compiler, newest first: version, Ubuntu, tag. Other
/// tags work as well: they are written into the recipe by hand.
const CUDA: [(&str, &str, &str); 12] = [
    ("13.0", "24.04", "13.0.1-cudnn-devel-ubuntu24.04"),
    ("12.9", "24.04", "12.9.1-cudnn-devel-ubuntu24.04"),
    ("12.8", "24.04", "12.8.1-cudnn-devel-ubuntu24.04"),
    ("12.8", "22.04", "12.8.1-cudnn-devel-ubuntu22.04"),
    ("12.6", "24.04", "12.6.3-cudnn-devel-ubuntu24.04"),
    ("12.6", "22.04", "12.6.3-cudnn-devel-ubuntu22.04"),
    ("12.4", "22.04", "12.4.1-cudnn-devel-ubuntu22.04"),
    ("12.3", "22.04", "12.3.2-cudnn9-devel-ubuntu22.04"),
    ("12.2", "22.04", "12.2.2-cudnn8-devel-ubuntu22.04"),
    ("12.1", "22.04", "12.1.1-cudnn8-devel-ubuntu22.04"),
    ("11.8", "22.04", "11.8.0-cudnn8-devel-ubuntu22.04"),
    ("11.7", "20.04", "11.7.1-cudnn8-devel-ubuntu20.04"),
];

/// What is taken where nothing says which.
pub(super) const DEFAULT_CUDA: &str = "12.4";

/// The Pythons of images that have any, the one that most wheels are for first.
const MINORS: [u8; 6] = [12, 11, 13, 10, 9, 8];

/// A base and the Python that a venv on it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) image: String,
    /// `3.12`.
    pub(super) python: String,
    /// Where an interpreter lies in the image; where an apt layer brings it, that is the
    /// distribution's.
    pub(super) interpreter: String,
    /// Whether an apt layer has to bring Python.
    pub(super) needs_apt: bool,
    /// A uid that the base has not given to anybody.
    pub(super) uid: u32,
}

/// The base for a version of CUDA, or without it, with a Python that all of `wanted` take.
pub(super) fn choose(cuda: Option<&str>, python: Option<&str>, wanted: &[Wanted]) -> Result<Chosen, Error> {
    let asked = python.map(minor).transpose()?;
    let Some(cuda) = cuda else {
        let minor = asked.map_or_else(|| fitting(wanted, &MINORS), Ok)?;
        let image = format!("python:3.{minor}-slim");
        let interpreter = format!("/usr/local/bin/python3.{minor}");
        return Ok(Chosen { image, python: format!("3.{minor}"), interpreter, needs_apt: false, uid: 1000 });
    };
    let short: String = cuda.split('.').take(2).collect::<Vec<_>>().join(".");
    let bases: Vec<_> = CUDA.iter().filter(|(version, ..)| *version == short).collect();
    let minors: Vec<u8> = bases.iter().filter_map(|(_, ubuntu, _)| of_ubuntu(ubuntu)).collect();
    if bases.is_empty() {
        return Err(Error::Cuda { version: cuda.to_owned(), known: known_cuda() });
    }
    let minor = match asked {
        Some(minor) if minors.contains(&minor) => minor,
        Some(minor) => {
            let known = minors.iter().map(|minor| format!("3.{minor}")).collect();
            return Err(Error::PythonOfCuda { python: format!("3.{minor}"), cuda: short, known });
        }
        None => fitting(wanted, &minors)?,
    };
    let base = bases.iter().find(|(_, ubuntu, _)| of_ubuntu(ubuntu) == Some(minor));
    let Some((_, ubuntu, tag)) = base else { return Err(Error::Cuda { version: short, known: known_cuda() }) };
    Ok(Chosen {
        image: format!("nvidia/cuda:{tag}"),
        python: format!("3.{minor}"),
        interpreter: format!("/usr/bin/python3.{minor}"),
        needs_apt: true,
        // Ubuntu's images have an account `ubuntu` of uid 1000 from 24.04 on.
        uid: if *ubuntu == "24.04" { 1001 } else { 1000 },
    })
}

/// The version of CUDA that is taken where nothing says which: one whose base has a Python
/// that all of `wanted` take.
pub(super) fn default_cuda(wanted: &[Wanted]) -> &'static str {
    let newer = CUDA.iter().rev().map(|(version, ..)| *version);
    let mut candidates = std::iter::once(DEFAULT_CUDA).chain(newer.skip_while(|version| *version != DEFAULT_CUDA));
    candidates.find(|version| choose(Some(version), None, wanted).is_ok()).unwrap_or(DEFAULT_CUDA)
}

/// The versions of CUDA that there are bases for.
pub(super) fn known_cuda() -> Vec<&'static str> {
    let mut known: Vec<&str> = CUDA.iter().map(|(version, ..)| *version).collect();
    known.dedup();
    known
}

/// The minor version in `3.12`.
pub(super) fn minor(version: &str) -> Result<u8, Error> {
    let minor = version.strip_prefix("3.").and_then(|minor| minor.split('.').next()?.parse().ok());
    let minor: u8 = minor.ok_or_else(|| Error::Python { version: version.to_owned() })?;
    Word::Python.accepts(&format!("3.{minor}")).map_err(|_| Error::Python { version: version.to_owned() })?;
    Ok(minor)
}

fn fitting(wanted: &[Wanted], minors: &[u8]) -> Result<u8, Error> {
    python::choose(wanted, minors).map_err(|wanted| match wanted {
        Some(wanted) => Error::NoPython { place: wanted.place.to_string(), wanted: wanted.specifier.clone() },
        None => Error::NoPython { place: "the base".into(), wanted: "3".into() },
    })
}

/// The Python of a release of Ubuntu.
fn of_ubuntu(release: &str) -> Option<u8> {
    match release {
        "20.04" | "focal" => Some(8),
        "22.04" | "jammy" => Some(10),
        "24.04" | "noble" => Some(12),
        _ => None,
    }
}

/// The Python of a release of Debian, by its code name or its number.
fn of_debian(release: &str) -> Option<u8> {
    match release.split(['.', '-']).next().unwrap_or_default() {
        "11" | "bullseye" => Some(9),
        "12" | "bookworm" => Some(11),
        "13" | "trixie" => Some(13),
        _ => None,
    }
}

/// The Python of an NGC PyTorch image, as far as it is known: in /opt/conda, until release 22.11
/// removed miniforge.
fn of_ngc(tag: &str) -> Option<(u8, String)> {
    let (year, month) = tag.split('-').next()?.split_once('.')?;
    let release: (u8, u8) = (year.parse().ok()?, month.parse().ok()?);
    ((21, 1)..=(22, 10)).contains(&release).then(|| (8, "/opt/conda/bin/python3.8".to_owned()))
}

/// The Python that an image has or that its own apt brings, and where: by its name and tag.
pub(super) fn python_of(image: &str) -> Option<(u8, String)> {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let tag = tag.split('@').next().unwrap_or_default();
    let own = |minor: u8| (minor, format!("/usr/bin/python3.{minor}"));
    match name.rsplit('/').next().unwrap_or_default() {
        _ if name == "nvcr.io/nvidia/pytorch" => of_ngc(tag),
        "python" => {
            let minor = minor(tag.split('-').next().unwrap_or_default()).ok()?;
            Some((minor, format!("/usr/local/bin/python3.{minor}")))
        }
        "debian" => of_debian(tag).map(own),
        "ubuntu" => of_ubuntu(tag.split('-').next().unwrap_or_default()).map(own),
        _ => {
            let ubuntu = tag.rsplit_once("ubuntu").and_then(|(_, release)| of_ubuntu(release));
            ubuntu.or_else(|| tag.rsplit('-').find_map(of_name)).map(own)
        }
    }
}

/// The Python of a release that is named in another image's tag, where a number alone is
/// that image's own.
fn of_name(part: &str) -> Option<u8> {
    match part.strip_prefix("debian") {
        Some(number) => of_debian(number),
        None if part.chars().all(|c| c.is_ascii_lowercase()) => of_debian(part).or_else(|| of_ubuntu(part)),
        None => None,
    }
}

/// Whether an image is one whose own Python has the packages that it is taken for.
pub(super) fn brings_packages(image: &str) -> bool {
    let name = image.split([':', '@']).next().unwrap_or_default();
    let frameworks = ["pytorch/pytorch", "tensorflow/tensorflow", "huggingface/", "rapidsai/"];
    let is_framework = frameworks.iter().any(|start| name.trim_start_matches("docker.io/").starts_with(start));
    name.starts_with("nvcr.io/nvidia/") && name != "nvcr.io/nvidia/cuda" || is_framework
}

/// Whether an image already has that Python.
pub(super) fn has_python(image: &str) -> bool {
    python_of(image).is_some_and(|(_, interpreter)| !interpreter.starts_with("/usr/bin/"))
}

/// The search path that an image's config has, where its name tells.
pub(super) fn path_of(image: &str) -> Option<&'static str> {
    let name = image.split([':', '@']).next().unwrap_or_default();
    match name.trim_start_matches("docker.io/").trim_start_matches("library/") {
        "nvidia/cuda" | "nvcr.io/nvidia/cuda" => Some(
            "/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        // Its Dockerfile has `ENV PATH /usr/local/bin:$PATH`.
        "python" => Some("/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "debian" | "ubuntu" | "buildpack-deps" | "node" | "scratch" => Some(DEFAULT_PATH),
        _ => None,
    }
}

/// The version of CUDA that names of packages and indexes speak of: `cu124`, `cuda12x`,
/// `-cu12`. `Some("")` where they want a GPU and don't say which.
pub(super) fn cuda_in<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    const WANT_A_GPU: [&str; 14] = [
        "torch",
        "torchvision",
        "torchaudio",
        "tensorflow",
        "jax",
        "cupy",
        "vllm",
        "deepspeed",
        "flash-attn",
        "xformers",
        "bitsandbytes",
        "lightning",
        "pytorch-lightning",
        "triton",
    ];
    let mut found: Option<String> = None;
    for word in words {
        for (at, _) in word.match_indices("cu") {
            let digits: String = word[at + 2..].chars().take_while(char::is_ascii_digit).collect();
            let begins = at == 0 || !word.as_bytes()[at - 1].is_ascii_alphanumeric();
            if begins && digits.len() == 3 {
                let version = format!("{}.{}", &digits[..2], &digits[2..]);
                return Some(version);
            }
        }
        let name = crate::python::source::required_name(word);
        let wants = WANT_A_GPU.contains(&name.as_str())
            || ["-cu12", "-cu11", "-cuda12x", "-cuda120"].iter().any(|end| name.ends_with(end));
        if wants && !word.contains("+cpu") {
            found.get_or_insert_default();
        }
        if word.contains("whl/cpu") {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{choose, cuda_in, python_of};

    #[test]
    fn the_python_of_a_base_is_told_by_its_name() {
        let cases = [
            ("python:3.11-slim", Some((11, "/usr/local/bin/python3.11"))),
            ("python:3.12.4-bookworm", Some((12, "/usr/local/bin/python3.12"))),
            ("debian:bookworm-slim", Some((11, "/usr/bin/python3.11"))),
            ("ubuntu:22.04", Some((10, "/usr/bin/python3.10"))),
            ("nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04", Some((10, "/usr/bin/python3.10"))),
            ("pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel", None),
            ("nvcr.io/nvidia/pytorch:22.10-py3", Some((8, "/opt/conda/bin/python3.8"))),
            ("nvcr.io/nvidia/pytorch:22.11-py3", None),
            ("nvcr.io/nvidia/pytorch:24.10-py3", None),
            ("nvcr.io/nvidia/cuda:12.4.1-devel-ubuntu22.04", Some((10, "/usr/bin/python3.10"))),
            ("nvidia/cuda:12.4.1-devel-rockylinux9", None),
            ("nvidia/cuda:12.4.1-devel-ubi8", None),
            ("node:12", None),
            ("node:20-bookworm-slim", Some((11, "/usr/bin/python3.11"))),
            ("a/b:1-debian12", Some((11, "/usr/bin/python3.11"))),
            ("alpine", None),
        ];
        assert!(super::brings_packages("nvcr.io/nvidia/pytorch:22.10-py3") && !super::brings_packages("debian:12"));
        for (image, expected) in cases {
            let expected = expected.map(|(minor, path): (u8, &str)| (minor, path.to_owned()));
            assert_eq!(python_of(image), expected, "{image}");
        }
    }

    #[test]
    fn the_search_path_is_said_only_of_bases_that_have_it() {
        let cuda = super::path_of("nvidia/cuda:12.4.1-devel-ubuntu22.04");
        assert!(cuda.is_some() && cuda == super::path_of("nvcr.io/nvidia/cuda:12.4.1-devel-ubuntu22.04"));
        for unknown in ["pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel", "nvcr.io/nvidia/pytorch:22.10-py3", "miniconda3"]
        {
            assert_eq!(super::path_of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn bases_have_the_cuda_and_the_python_that_are_asked_for() {
        let image = |cuda, python| choose(cuda, python, &[]).map(|chosen| (chosen.image, chosen.python));
        let cuda = image(Some("12.4"), None).unwrap_or_default();
        assert_eq!(cuda, ("nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04".into(), "3.10".into()));
        let both = image(Some("12.6.2"), Some("3.10")).unwrap_or_default();
        assert_eq!(both, ("nvidia/cuda:12.6.3-cudnn-devel-ubuntu22.04".into(), "3.10".into()));
        assert_eq!(image(None, None).unwrap_or_default(), ("python:3.12-slim".into(), "3.12".into()));
        assert!(image(Some("12.4"), Some("3.12")).is_err() && image(Some("9.0"), None).is_err());
    }

    #[test]
    fn packages_speak_of_the_cuda_that_they_are_for() {
        let cuda = |words: &[&str]| cuda_in(words.iter().copied());
        assert_eq!(cuda(&["torch==2.6.0+cu124"]).as_deref(), Some("12.4"));
        assert_eq!(cuda(&["numpy", "https://example.org/whl/cu118"]).as_deref(), Some("11.8"));
        assert_eq!(cuda(&["torch"]).as_deref(), Some(""));
        assert_eq!(cuda(&["cudf-cu12"]).as_deref(), Some(""));
        assert_eq!((cuda(&["numpy", "customs123"]), cuda(&["torch==2.6.0+cpu"])), (None, None));
    }
}
