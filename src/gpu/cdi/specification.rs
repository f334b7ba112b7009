//! A specification's form, and whether it holds to it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::Error;

/// A specification.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Specification {
    pub cdi_version: String,
    pub kind: String,
    pub devices: Vec<Device>,
    #[serde(default)]
    pub container_edits: Edits,
    /// "may be used to provide additional information to a consumer": none to dlpack.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) others: Others,
}

/// A device that can be asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub name: String,
    #[serde(default)]
    pub container_edits: Edits,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) others: Others,
}

/// What a container is given with a device, or with any of a specification.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub mounts: Vec<Mount>,
    pub hooks: Vec<Hook>,
    /// Groups that the process is to have; the specification writes it in both ways.
    #[serde(alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
    /// Network interfaces that are to be moved into the container.
    pub net_devices: Vec<IgnoredAny>,
    /// Its share of the processor's caches and memory bandwidth.
    pub intel_rdt: Option<IgnoredAny>,
    #[serde(flatten)]
    pub(super) others: Others,
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
    /// "For bind mounts … the type is a dummy".
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
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

/// Fields that no version has that dlpack knows.
type Others = BTreeMap<String, IgnoredAny>;

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
}

impl Edits {
    /// What of it a container without privileges can't be given, or dlpack does not know how to:
    /// `groups` are the caller's.
    pub fn left_out(&self, groups: &[u32]) -> Vec<String> {
        let mut left = Vec::new();
        // "Values of 0 are ignored"
        let wanted = self.additional_gids.iter().filter(|gid| **gid != 0 && !groups.contains(gid));
        let wanted: Vec<String> = wanted.map(u32::to_string).collect();
        if !wanted.is_empty() {
            // user_namespaces(7): nobody gives himself a group that he has not
            left.push(format!(
                "wants the groups {} for the container, and only who has them outside has them inside",
                wanted.join(", ")
            ));
        }
        if !self.net_devices.is_empty() {
            left.push("moves network interfaces into the container, which takes this machine's root".to_owned());
        }
        if self.intel_rdt.is_some() {
            left.push("sets the processor's resources (intelRdt), which takes this machine's root".to_owned());
        }
        let odd = self.mounts.iter().filter(|mount| !mount.is_bind());
        left.extend(odd.map(|mount| {
            format!(
                "mounts a `{}` at {}, which dlpack does not",
                mount.kind.as_deref().unwrap_or_default(),
                mount.container_path
            )
        }));
        left.extend(self.others.keys().map(|field| format!("has `{field}`, which dlpack does not know")));
        left
    }
}

impl Mount {
    /// Whether it is a file or directory of the machine.
    pub fn is_bind(&self) -> bool {
        matches!(self.kind.as_deref(), None | Some("" | "none" | "bind" | "rbind"))
    }
}

/// What went wrong and where, without the lines around it.
fn first_line(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
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
            "devices": [{"name": "all", "annotations": {"c": "d"}, "containerEdits": {"additionalGids": [44], "netDevices": []}}]}"#;
        assert_eq!(read("amd.json", json).unwrap().devices[0].name, "all");
    }

    #[test]
    fn what_a_container_does_not_get_is_said() {
        let edits = r#""additionalGids": [0, 44, 1000, 110], "netDevices": [{"hostInterfaceName": "ib0"}], "intelRdt": {},
            "mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}], "coffee": 1"#;
        let of = |version: &str, edits: &str| {
            let device = format!(r#"{{"name": "a", "containerEdits": {{{edits}}}}}"#);
            let text = format!(r#"{{"cdiVersion": "{version}", "kind": "a.com/b", "devices": [{device}]}}"#);
            read("spec.json", &text).unwrap()
        };
        let specification = of("1.2.0", edits);
        let left = specification.devices[0].container_edits.left_out(&[1000]);
        let expected =
            ["wants the groups 44, 110 ", "moves network interfaces", "intelRdt", "a `tmpfs` at /b", "has `coffee`"];
        assert_eq!(left.len(), expected.len(), "{left:?}");
        assert!(left.iter().zip(expected).all(|(left, expected)| left.contains(expected)), "{left:?}");
        let quiet = of("1.1.0", r#""additionalGids": [0], "env": ["A=1"]"#);
        assert!(quiet.devices[0].container_edits.left_out(&[]).is_empty());
    }
}
