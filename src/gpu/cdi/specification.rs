//! A specification's form, and whether it holds to it.

use std::path::Path;

use serde::Deserialize;

use super::super::Error;

/// A specification. Fields that say nothing of devices, mounts, variables and hooks (`intelRdt`,
/// `netDevices`, annotations) are for others.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Specification {
    pub cdi_version: String,
    pub kind: String,
    pub devices: Vec<Device>,
    #[serde(default)]
    pub container_edits: Edits,
}

/// A device that can be asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub name: String,
    #[serde(default)]
    pub container_edits: Edits,
}

/// What a container is given with a device, or with any of a specification.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub mounts: Vec<Mount>,
    pub hooks: Vec<Hook>,
}

/// A device node. Its numbers, mode and owner are those of the node that is mounted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub path: String,
    pub host_path: Option<String>,
}

/// A file or directory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub host_path: String,
    pub container_path: String,
    #[serde(default)]
    pub options: Vec<String>,
}

/// A program that a runtime is to run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub path: String,
    #[serde(default)]
    pub args: Vec<String>,
}

impl Specification {
    /// Reads `text`, the content of the file at `path`.
    pub fn read(path: &Path, text: &str) -> Result<Self, Error> {
        let malformed = |why: String| Error::Malformed { path: path.to_owned(), why };
        let specification: Self = match path.extension().is_some_and(|extension| extension == "json") {
            true => serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?,
            false => serde_saphyr::from_str(text).map_err(|error| malformed(first_line(&error.to_string())))?,
        };
        specification.check().map_err(malformed)?;
        Ok(specification)
    }

    fn check(&self) -> Result<(), String> {
        // "MUST be in Semantic Version 2.0"; 0.3.0 is the first release
        let version = self.cdi_version.trim_start_matches('v').parse::<super::super::Version>().ok();
        let first = super::super::Version::new(0, 3);
        if !version.is_some_and(|version| version >= first && version.major() <= 1) {
            return Err(format!("cdiVersion `{}` is none that dlpack knows, 0.3.0 to 1.x", self.cdi_version));
        }
        // "a prefix and a name, separated by a slash"
        let (vendor, class) = self.kind.split_once('/').unwrap_or_default();
        if !(is_name(vendor) && is_name(class)) {
            return Err(format!("kind `{}` is no vendor and class, as `nvidia.com/gpu`", self.kind));
        }
        // "at least one entry must be specified in this array"
        if self.devices.is_empty() {
            return Err("it has no devices".to_owned());
        }
        for (n, device) in self.devices.iter().enumerate() {
            let name = &device.name;
            if !device_name(name) {
                return Err(format!("`{name}` is no name of a device"));
            }
            if self.devices[..n].iter().any(|before| before.name == *name) {
                return Err(format!("it has two devices `{name}`"));
            }
            device.container_edits.check()?;
        }
        self.container_edits.check()
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        let relative = |path: &&String| !path.starts_with('/');
        let paths = self.device_nodes.iter().flat_map(|node| [Some(&node.path), node.host_path.as_ref()]).flatten();
        let paths = paths.chain(self.mounts.iter().flat_map(|mount| [&mount.host_path, &mount.container_path]));
        // "path MUST be absolute"
        let mut paths = paths.chain(self.hooks.iter().map(|hook| &hook.path));
        if let Some(path) = paths.find(relative) {
            return Err(format!("`{path}` is no absolute path"));
        }
        match self.env.iter().find(|line| line.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
            Some(line) => Err(format!("`{line}` in env is no NAME=VALUE")),
            None => Ok(()),
        }
    }
}

/// What went wrong and where, without the lines around it.
fn first_line(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// "beginning and ending with an alphanumeric character with dashes, underscores, dots, and
/// alphanumerics between".
fn is_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || "-_.".contains(c))
}

/// Of a device there may be colons, too: `0:1` is a part of a GPU.
fn device_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || "-_.:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(name: &str, text: &str) -> Result<Specification, String> {
        Specification::read(Path::new(name), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_specification_is_json_or_yaml() {
        let yaml = "---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia0\n      type: c\n      major: 195\ncontainerEdits:\n  env:\n  - NVIDIA_VISIBLE_DEVICES=void\n  hooks:\n  - hookName: createContainer\n    path: /usr/bin/nvidia-cdi-hook\n    args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib64]\n";
        let of_yaml = read("nvidia.yaml", yaml).unwrap();
        assert_eq!(of_yaml.devices[0].container_edits.device_nodes[0].path, "/dev/nvidia0");
        assert_eq!(of_yaml.container_edits.hooks[0].args.len(), 4);
        let json = r#"{"cdiVersion": "1.1.0", "kind": "amd.com/gpu", "annotations": {"a": "b"},
            "devices": [{"name": "all", "containerEdits": {"additionalGids": [44], "netDevices": []}}]}"#;
        assert_eq!(read("amd.json", json).unwrap().devices[0].name, "all");
    }

    #[test]
    fn one_that_breaks_a_rule_is_none() {
        let with = |from: &str, to: &str| {
            let good = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
                "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}], "env": ["A=1"]}}]}"#;
            assert!(good.contains(from), "{from}");
            read("spec.json", &good.replace(from, to)).map(|_| ()).unwrap_err()
        };
        for (from, to) in [
            ("0.6.0", "0.2.0"),
            ("0.6.0", "2.0.0"),
            ("0.6.0", "new"),
            ("nvidia.com/gpu", "gpu"),
            ("nvidia.com/gpu", "nvidia.com/a/b"),
            ("\"name\": \"0\"", "\"name\": \"-0\""),
            ("\"name\": \"0\"", "\"name\": 0"),
            ("\"/dev/nvidia0\"", "\"dev/nvidia0\""),
            ("A=1", "A"),
            ("\"kind\"", "\"sort\""),
            ("}]}", "}, {\"name\": \"0\"}]}"),
        ] {
            let why = with(from, to);
            assert!(why.contains("spec.json"), "{to}: {why}");
        }
    }
}
