//! An ssh server's settings and how it is started. The server itself is the base's
//! openssh-server; host keys are made at a container's first start.

use serde_json::json;

use super::entries::Entries;
use super::{Changeset, Inputs, SERVICES, own_services};
use crate::layer::{Attributes, LayerWriter};
use crate::oci::{Amendment, Digest};
use crate::recipe;
use crate::sandbox::Rootfs;

const SETTINGS: &str = include_str!("../../layers/sshd/etc/ssh/sshd_config.d/00-dlpack.conf");
const HOST_KEY: &str = include_str!("../../layers/sshd/etc/ssh/sshd_config.d/00-dlpack-hostkey.conf");
const SERVICE: &str = include_str!("../../layers/sshd/usr/local/lib/dlpack/services.d/sshd");
/// The port where one below 1024 can't be bound.
const UNPRIVILEGED_PORT: u16 = 2222;

/// Writes a drop-in for sshd_config(5) and the service that starts sshd.
#[derive(Debug)]
pub struct Sshd {
    port: u16,
    passwords: bool,
    unprivileged: bool,
}

/// The changeset of an `sshd` layer. `config` says which user the image runs as.
pub fn changeset(recipe: &recipe::Sshd, config: &recipe::Config) -> Sshd {
    let user = config.user.as_deref().unwrap_or("root");
    let unprivileged = !matches!(user.split(':').next(), Some("root" | "0" | ""));
    Sshd { port: recipe.port.unwrap_or(22), passwords: recipe.passwords, unprivileged }
}

impl Sshd {
    fn settings(&self) -> String {
        let passwords = if self.passwords { "yes" } else { "no" };
        SETTINGS
            .replace("\nPort 22\n", &format!("\nPort {}\n", self.port))
            .replace("\nPasswordAuthentication no\n", &format!("\nPasswordAuthentication {passwords}\n"))
    }
}

impl Changeset for Sshd {
    fn inputs(&self) -> Inputs {
        let payload = [HOST_KEY, SERVICE].map(|file| Digest::of(file.as_bytes()).to_string());
        Inputs::new("sshd", 1, format!("dlpack sshd on port {}", self.port))
            .with("settings", self.settings())
            .with("payload", json!(payload))
            .telling("port", self.port)
            .telling("passwords", self.passwords)
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let mut entries = Entries::default();
        own_services(&mut entries);
        let file = Attributes::root(0o644);
        entries.file("etc/ssh/sshd_config.d/00-dlpack.conf", file, self.settings());
        entries.file("etc/ssh/sshd_config.d/00-dlpack-hostkey.conf", file, HOST_KEY);
        entries.file(format!("{SERVICES}/sshd"), Attributes::root(0o755), SERVICE);
        Ok(entries.write(out)?)
    }

    fn amendments(&self) -> Vec<Amendment> {
        // Whether it may bind a port below 1024 is the container runtime's choice.
        let second = (self.unprivileged && self.port < 1024).then_some(UNPRIVILEGED_PORT);
        let ports = [self.port].into_iter().chain(second);
        ports.map(|port| Amendment::Expose(format!("{port}/tcp"))).collect()
    }
}
