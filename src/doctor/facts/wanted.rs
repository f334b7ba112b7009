//! Which CUDA and cuDNN a recipe's image has: its base says so in its environment, its wheels by
//! their names.

use std::path::PathBuf;

use serde::Serialize;

use crate::gpu::Version;

/// A version, and who says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// `12.4.1`.
    pub version: Version,
    /// `CUDA_VERSION of the base`, `nvidia-cudnn-cu12 9.1.0.70`.
    pub by: String,
}

/// What a recipe wants of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The recipe.
    pub recipe: PathBuf,
    /// Why nothing is known of it.
    pub unreadable: Option<String>,
    /// Which CUDA its image has: the newest, where there are several.
    pub cuda: Option<Stated>,
    /// Which cuDNN: the same.
    pub cudnn: Option<Stated>,
    /// `NVIDIA_REQUIRE_CUDA`, as the base has it.
    pub constraint: Option<String>,
}

impl Wanted {
    /// What the environment and the labels of a base's config say.
    pub fn of_base<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, value) in variables {
            let by = format!("{name} of the base");
            match name {
                "CUDA_VERSION" => self.needs_cuda(value, by),
                // those of NVIDIA's CUDA images, of NGC's, and the label of the older ones
                "NV_CUDNN_VERSION" | "CUDNN_VERSION" | "com.nvidia.cudnn.version" => self.needs_cudnn(value, by),
                "NVIDIA_REQUIRE_CUDA" => {
                    // nvidia-container-toolkit: terms joined by "," all hold, one of those that spaces separate does
                    let least = value.split([' ', ',']).find_map(|term| term.strip_prefix("cuda>="));
                    least.into_iter().for_each(|version| self.needs_cuda(version, by.clone()));
                    self.constraint = Some(value.to_owned());
                }
                _ => {}
            }
        }
        self
    }

    /// What the tag of a base says, where it is one of NVIDIA's: `nvidia/cuda:12.4.1-devel-…`.
    pub fn of_tag(mut self, repository: &str, tag: Option<&str>) -> Self {
        if let (true, Some(tag)) = (repository.ends_with("nvidia/cuda"), tag) {
            self.needs_cuda(tag.split('-').next().unwrap_or_default(), format!("the base's tag {tag}"));
        }
        self
    }

    /// What wheels say, by their normalised names and versions.
    pub fn of_wheels<'a>(mut self, wheels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, version) in wheels {
            let by = format!("{name} {version}");
            // nvidia-cuda-runtime-cu12 12.4.127; since CUDA 13 without the suffix
            if name == "nvidia-cuda-runtime" || name.starts_with("nvidia-cuda-runtime-cu") {
                self.needs_cuda(version, by);
            } else if name.starts_with("nvidia-cudnn-cu") {
                self.needs_cudnn(version, by);
            } else if let Some(digits) = version.split_once("+cu").map(|(_, digits)| digits) {
                // torch 2.5.1+cu124: the last digit is the minor version
                if let Some((major, minor)) = digits.split_at_checked(2) {
                    self.needs_cuda(&format!("{major}.{minor}"), by);
                }
            }
        }
        self
    }

    fn needs_cuda(&mut self, version: &str, by: String) {
        raise(&mut self.cuda, version, by);
    }

    fn needs_cudnn(&mut self, version: &str, by: String) {
        raise(&mut self.cudnn, version, by);
    }
}

/// Takes what is newer; of two that say the same the first.
fn raise(known: &mut Option<Stated>, version: &str, by: String) {
    let Some(version) = leading(version) else { return };
    if known.as_ref().is_none_or(|known| known.version < version) {
        *known = Some(Stated { version, by });
    }
}

/// The version that a text begins with: `8.6.0.163` of `8.6.0.163-1+cuda11.8`.
fn leading(text: &str) -> Option<Version> {
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].trim_end_matches('.').parse().ok()
}
