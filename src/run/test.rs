//! A recipe's test: a command in a container of its own, of which nothing stays but what it
//! printed.

use thiserror::Error;

use super::{Container, Devices, Settings, Wanted};
use crate::oci::ContainerConfig;
use crate::recipe::{Net, Test};
use crate::sandbox::{self, Ending, Rootfs, Tail};

/// Why an image did not pass.
#[derive(Debug, Error)]
pub enum Error {
    /// The command failed.
    #[error("test `{name}` failed: it ended with {ending}")]
    Failed {
        /// The test.
        name: String,
        /// How it ended.
        ending: Ending,
        /// What it said.
        #[source]
        tail: Tail,
    },
    /// There is no container for it.
    #[error("test `{name}` can't be run")]
    Container {
        /// The test.
        name: String,
        /// Why.
        #[source]
        source: super::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { .. } => Some(
                "`dlpack shell` looks around in the image, with what `[run]` adds to it and a test has not; `--no-test` \
                 builds and pushes without testing"
                    .into(),
            ),
            Self::Container { source: super::Error::User { .. }, .. } => {
                Some("make the user in a layer, or name a number".into())
            }
            Self::Container { source, .. } => source.hint(),
        }
    }
}

/// Runs `test` on `rootfs`, for an image of this `config`, in what it says its environment is;
/// with the `network` of this machine, or with its own loopback. What it prints is told to
/// whoever `rootfs` has for that, and kept in its log.
///
/// # Errors
/// [`Error`].
pub fn test(
    test: &Test,
    rootfs: &Rootfs,
    config: &ContainerConfig,
    network: bool,
    devices: &Devices,
) -> Result<(), Error> {
    let name = test.title();
    let refused = |source| Error::Container { name: name.clone(), source };
    let net = Some(if network { Net::Host } else { Net::Private });
    let settings = Settings { net, user: test.user.clone(), ..Settings::default() };
    let shell = Wanted::Entrypoint("/bin/sh".into(), vec!["-ec".into(), test.command.clone()]);
    let mut log = rootfs.log().map_err(super::Error::from).map_err(refused)?;
    let mut container = Container::open(rootfs, config, &settings, devices, &shell, None).map_err(refused)?;
    match container.run_logged(&mut log) {
        Err(super::Error::Sandbox(sandbox::Error::Step { ending, .. })) => {
            Err(Error::Failed { name: name.clone(), ending, tail: log.tail() })
        }
        ran => ran.map_err(refused),
    }
}
