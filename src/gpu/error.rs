//! Why a container gets no GPU.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a container gets no GPU.
#[derive(Debug, Error)]
pub enum Error {
    /// What is to name GPUs names none.
    #[error("`{text}` names no GPUs: {why}")]
    Selection {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no driver.
    #[error("this machine has no NVIDIA driver: there is no {}", path.display())]
    NoDriver {
        /// What the driver's kernel module would have made.
        path: PathBuf,
        /// Whether there is a card for one.
        card: bool,
    },
    /// The driver knows no GPU.
    #[error("the NVIDIA driver {version} knows no GPU")]
    NoGpu {
        /// The driver's version.
        version: String,
    },
    /// No GPU is named so.
    #[error("this machine has no GPU `{name}`")]
    Unknown {
        /// As it was given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The beginning of a UUID that several have.
    #[error("several GPUs begin with `{name}`")]
    Ambiguous {
        /// As it was given.
        name: String,
    },
    /// A device node is missing.
    #[error("{} is not there", path.display())]
    NoNode {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The caller may not use a device node.
    #[error("can't open {} to read and write", path.display())]
    Forbidden {
        /// The node.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The driver's libraries are not where the loader looks.
    #[error("the loader finds no `{library}` of the driver's version {version}")]
    NoLibrary {
        /// `libcuda` …
        library: String,
        /// The version of the driver that is loaded.
        version: String,
    },
    /// The driver, or a GPU, is not what the image needs.
    #[error("the image needs `{requirement}`, and {has}")]
    Requirement {
        /// As the image says it, of `NVIDIA_REQUIRE_…`.
        requirement: String,
        /// What this machine has.
        has: String,
        /// The newer driver that would do, or its branch, and `or newer` where those after it would as well; none
        /// where no such is known.
        driver: Option<String>,
    },
    /// What an image requires can't be read.
    #[error("the image's {variable} has a condition that is none: `{condition}`")]
    Condition {
        /// `NVIDIA_REQUIRE_CUDA` …
        variable: String,
        /// The condition.
        condition: String,
    },
    /// A CDI specification can't be read.
    #[error("can't read the CDI specification {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no CDI specification.
    #[error("{} is no CDI specification: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Two specifications name the same device.
    #[error("{} and {} both have the device `{device}`", one.display(), other.display())]
    Conflict {
        /// The device, with its kind.
        device: String,
        /// A file that has it.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// What a specification gives to a container is not there.
    #[error("the CDI specification {} has {}, which is not there", path.display(), missing.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The device node, library or program that it names.
        missing: PathBuf,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        const GENERATE: &str = "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, as root, writes one that fits the driver; \
                                without any, dlpack looks for the driver itself";
        match self {
            Self::Selection { .. } => Some("write all, none, an index or UUID, or several with commas".to_owned()),
            Self::NoDriver { card: true, .. } => {
                Some("there is a card: install its driver, or load it with `modprobe nvidia` as root".to_owned())
            }
            Self::NoDriver { card: false, .. } => {
                Some("`--gpus none` runs without; on a cluster, ask the scheduler for a GPU".to_owned())
            }
            Self::NoGpu { .. } => Some("`dmesg | grep NVRM` says why".to_owned()),
            Self::Unknown { known, .. } => Some(match known[..] {
                [] => "there is none".to_owned(),
                _ => format!("there are {}; a number is an index, and not how many", known.join(", ")),
            }),
            Self::Ambiguous { .. } => Some("write more of the UUID".to_owned()),
            Self::NoNode { .. } => Some(
                "`nvidia-smi`, or `nvidia-modprobe -c 0 -u`, makes it; if not, the driver is not loaded".to_owned(),
            ),
            Self::Forbidden { .. } => {
                Some("its group must be one of yours: `ls -l` shows it, and `id` yours".to_owned())
            }
            Self::NoLibrary { .. } => Some(
                "the driver's user-space half is missing or of another version: after an update, restart the machine; \
                 `ldconfig -p | grep libcuda` shows what there is"
                    .to_owned(),
            ),
            Self::Requirement { driver, .. } => Some(format!(
                "{}; `-e NVIDIA_DISABLE_REQUIRE=1` runs it all the same",
                match driver {
                    Some(driver) => format!(
                        "install the NVIDIA driver {driver}, for which `dlpack doctor` has the commands, or take an older base"
                    ),
                    None =>
                        "no newer driver is known to change that: take a base that is made for this GPU and its driver"
                            .to_owned(),
                }
            )),
            Self::Condition { .. } => Some("`-e NVIDIA_DISABLE_REQUIRE=1` runs it all the same".to_owned()),
            Self::Unreadable { .. } => Some("it is to be a text that everyone can read".to_owned()),
            Self::Malformed { .. } | Self::Missing { .. } => Some(GENERATE.to_owned()),
            Self::Conflict { .. } => Some("remove one of them".to_owned()),
        }
    }
}
