//! The image config (image-spec `config.md`). Fields that dlpack has no use for
//! are carried through unchanged, so that a base's healthcheck or shell survives.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::DiffId;

/// What programs are found by where the image says nothing, as runtimes have it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The config blob of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Go's name of the architecture.
    pub architecture: String,
    /// Go's name of the operating system.
    pub os: String,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container starts.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ContainerConfig,
    /// The layers' DiffIDs.
    pub rootfs: RootFs,
    /// One entry a layer, and those of steps that made none.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The execution parameters of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// User and group that the process runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `port/protocol`, each with an empty object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Value>>,
    /// `NAME=VALUE`, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// The command that is always run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Its default arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Everything else that the base has.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl ContainerConfig {
    /// Sets `name`, in its place if it is there already, else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        let env = self.env.get_or_insert_default();
        match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = line,
            None => env.push(line),
        }
    }

    /// The value of `name`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().flatten().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Exposes a port such as `8888/tcp`.
    pub fn expose(&mut self, port: &str) {
        self.exposed_ports.get_or_insert_default().insert(port.to_owned(), Value::Object(Default::default()));
    }
}

/// The layers of an image by DiffID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// First layer first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// What made a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A free remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether this step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Tools in Go write what is empty as `null`, or, as Docker does with the layers of an
/// image that has none, not at all.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::ImageConfig;

    #[test]
    fn an_image_without_layers_is_read_as_docker_and_go_write_it() {
        let parts = r#""architecture":"amd64","os":"linux""#;
        for rest in [
            r#""rootfs":{"type":"layers"}"#,
            r#""config":null,"history":null,"rootfs":{"type":"layers","diff_ids":null}"#,
        ] {
            let config: ImageConfig = serde_json::from_str(&format!("{{{parts},{rest}}}")).unwrap();
            let written = serde_json::to_string(&config).unwrap();
            assert_eq!(written, format!(r#"{{{parts},"config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#));
        }
    }
}
