//! Docker, for those who run images with it; dlpack needs none of it.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access};
use serde::Serialize;

/// What there is of Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Docker {
    /// Whether there is a client.
    pub client: bool,
    /// Whether a daemon listens: its socket is there.
    pub socket: bool,
    /// Whether this user may talk to it.
    pub permitted: bool,
    /// Whether `daemon.json` knows the container toolkit's runtime.
    pub nvidia_runtime: bool,
}

impl Docker {
    /// What is under `root`.
    pub fn read(root: &Path) -> Self {
        let programs = ["usr/bin/docker", "usr/local/bin/docker", "bin/docker"];
        let socket = root.join("run/docker.sock");
        let config = fs::read_to_string(root.join("etc/docker/daemon.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        Self {
            client: programs.iter().any(|program| root.join(program).exists()),
            socket: socket.exists(),
            // unix(7): "connecting … requires write permission on the socket"
            permitted: access(&socket, Access::WRITE_OK).is_ok(),
            nvidia_runtime: config["runtimes"].get("nvidia").is_some(),
        }
    }
}
