//! The rules that a specification must keep: SPEC.md of CDI 1.1.0.

use std::fmt;

use super::specification::{Edits, Specification};

impl Specification {
    /// Whether it keeps them, and if not, which it breaks.
    pub(super) fn check(&self) -> Result<(), String> {
        let version = version(&self.cdi_version)?;
        let (vendor, class) = self.kind.split_once('/').unwrap_or_default();
        if !(is_subdomain(vendor) && class.len() <= LABEL && is_name(class, "-_.")) {
            return Err(format!("kind `{}` is no vendor and class, as `nvidia.com/gpu`", self.kind));
        }
        // "at least one entry must be specified in this array"
        if self.devices.is_empty() {
            return Err("it has no devices".to_owned());
        }
        for (n, device) in self.devices.iter().enumerate() {
            let name = &device.name;
            // the specification says dashes, underscores and dots; its own reader takes colons, too: `0:1` is a part of a GPU
            if !is_name(name, "-_.:") {
                return Err(format!("`{name}` is no name of a device"));
            }
            if self.devices[..n].iter().any(|before| before.name == *name) {
                return Err(format!("it has two devices `{name}`"));
            }
        }
        self.all_edits().try_for_each(Edits::check)?;
        // "spec loading fails … when the minimum required version is higher than the version specified"
        if let Some((first, what)) = self.needs().find(|(first, _)| *first > version) {
            return Err(format!("{what} came with CDI {first}, and its cdiVersion is {}", self.cdi_version));
        }
        match self.unknown() {
            // "spec loading fails on unknown fields"; a version of later may have them
            Some(field) if version <= LAST => Err(format!("CDI {} has no field `{field}`", self.cdi_version)),
            _ => Ok(()),
        }
    }

    /// The edits of the specification and of its devices.
    fn all_edits(&self) -> impl Iterator<Item = &Edits> {
        std::iter::once(&self.container_edits).chain(self.devices.iter().map(|device| &device.container_edits))
    }

    /// What it has that came with a later version than the first: "Released versions".
    fn needs(&self) -> impl Iterator<Item = (Release, &'static str)> {
        let any = |has: fn(&Edits) -> bool| self.all_edits().any(has);
        let digit = self.devices.iter().any(|device| !device.name.starts_with(|c: char| c.is_ascii_alphabetic()));
        let annotated =
            !self.annotations.is_empty() || self.devices.iter().any(|device| !device.annotations.is_empty());
        let dotted = self.kind.split_once('/').is_some_and(|(_, class)| class.contains('.'));
        [
            (any(|edits| edits.mounts.iter().any(|mount| mount.kind.is_some())), (0, 4, 0), "a mount's type"),
            (
                any(|edits| edits.device_nodes.iter().any(|node| node.host_path.is_some())),
                (0, 5, 0),
                "hostPath of a device node",
            ),
            (digit, (0, 5, 0), "a device's name that begins with a digit"),
            (annotated, (0, 6, 0), "annotations"),
            (dotted, (0, 6, 0), "a dot in the class of a kind"),
            (any(|edits| edits.intel_rdt.is_some()), (0, 7, 0), "intelRdt"),
            (any(|edits| !edits.additional_gids.is_empty()), (0, 7, 0), "additionalGids"),
            (any(|edits| !edits.net_devices.is_empty()), (1, 1, 0), "netDevices"),
        ]
        .into_iter()
        .filter_map(|(has, (major, minor, patch), what)| has.then_some((Release(major, minor, patch), what)))
    }

    /// A field that dlpack does not know.
    fn unknown(&self) -> Option<&str> {
        let devices = self.devices.iter().flat_map(|device| device.others.keys());
        self.others
            .keys()
            .chain(devices)
            .chain(self.all_edits().flat_map(|edits| edits.others.keys()))
            .map(String::as_str)
            .next()
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

/// A version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release(u32, u32, u32);

/// The first release of the specification, and the last that dlpack knows.
const FIRST: Release = Release(0, 3, 0);
const LAST: Release = Release(1, 1, u32::MAX);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// "cdiVersion MUST be in Semantic Version 2.0": of those that came out none has more than numbers.
fn version(text: &str) -> Result<Release, String> {
    let unknown = || format!("cdiVersion `{text}` is none that dlpack knows, 0.3.0 to 1.x");
    let numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
    match numbers.as_deref() {
        Ok(&[major, minor, patch]) if Release(major, minor, patch) >= FIRST && major <= LAST.0 => {
            Ok(Release(major, minor, patch))
        }
        _ => Err(unknown()),
    }
}

/// "63 characters or less".
const LABEL: usize = 63;

/// "beginning and ending with an alphanumeric character", with these and alphanumerics between.
fn is_name(text: &str, between: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || between.contains(c))
}

/// "a DNS subdomain: a series of DNS labels separated by dots (.), not longer than 253 characters
/// in total".
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| label.len() <= LABEL && is_name(label, "-"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(name: &str, text: &str) -> Result<Specification, String> {
        Specification::read(Path::new(name), text).map_err(|error| error.to_string())
    }

    /// A specification of this version with this kind, device and edits.
    fn with(version: &str, kind: &str, name: &str, edits: &str) -> Result<Specification, String> {
        let text = format!(
            r#"{{"cdiVersion": "{version}", "kind": "{kind}", "devices": [{{"name": "{name}", "containerEdits": {{{edits}}}}}]}}"#
        );
        read("spec.json", &text)
    }

    #[test]
    fn a_kind_is_a_subdomain_and_a_name() {
        let long = |length| "a".repeat(length);
        let kinds = [
            ("vendor.com/foo".to_owned(), true),
            ("foo.bar.baz/foo-bar123.B_az".to_owned(), true),
            (format!("{}.com/{}", long(63), long(63)), true),
            ("foo".to_owned(), false),
            ("vendor.com/foo/".to_owned(), false),
            ("vendor.com/foo/bar".to_owned(), false),
            ("/gpu".to_owned(), false),
            ("vendor..com/gpu".to_owned(), false),
            ("-vendor.com/gpu".to_owned(), false),
            ("ven_dor.com/gpu".to_owned(), false),
            ("vendor.com/gpu-".to_owned(), false),
            (format!("vendor.com/{}", long(64)), false),
            (format!("{}.com/gpu", long(64)), false),
            (format!("{}a/gpu", "a.".repeat(127)), false),
        ];
        for (kind, valid) in kinds {
            assert_eq!(with("0.6.0", &kind, "a", "").is_ok(), valid, "{kind}");
        }
    }

    #[test]
    fn what_came_with_a_version_is_refused_in_one_before() {
        let cases = [
            ("0.3.0", "0.4.0", "gpu", "a", r#""mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "none"}]"#),
            ("0.4.0", "0.5.0", "gpu", "a", r#""deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}]"#),
            ("0.4.0", "0.5.0", "gpu", "0", ""),
            ("0.5.0", "0.6.0", "g.pu", "a", ""),
            ("0.6.0", "v0.7.0", "gpu", "a", r#""intelRdt": {"closID": "a"}"#),
            ("0.6.0", "0.7.0", "gpu", "a", r#""additionalGids": [44]"#),
            ("0.6.0", "0.8.0", "gpu", "a", r#""additionalGIDs": [44]"#),
            ("1.0.0", "1.1.0", "gpu", "a", r#""netDevices": [{"hostInterfaceName": "ib0"}]"#),
            ("1.1.1", "1.2.0", "gpu", "a", r#""coffee": true"#),
        ];
        for (before, since, class, name, edits) in cases {
            let kind = format!("vendor.com/{class}");
            let why = with(before, &kind, name, edits).map(|_| ()).unwrap_err();
            assert!(why.contains(before), "{why}");
            assert!(with(since, &kind, name, edits).is_ok(), "{since}: {edits}");
        }
        let annotated = |version: &str| {
            let text = r#"{"cdiVersion": "VERSION", "kind": "a.com/b", "annotations": {"a": "b"}, "devices": [{"name": "a"}]}"#;
            read("spec.json", &text.replace("VERSION", version)).is_ok()
        };
        assert_eq!((annotated("0.5.0"), annotated("0.6.0")), (false, true));
        for version in ["0.3", "0.3.0.0", "1.0.0-rc.1", "2.0.0", "0.2.0", ""] {
            assert!(with(version, "a.com/b", "a", "").unwrap_err().contains("0.3.0 to 1.x"), "{version}");
        }
    }

    #[test]
    fn one_that_breaks_a_rule_is_none() {
        let changed = |from: &str, to: &str| {
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
            let why = changed(from, to);
            assert!(why.contains("spec.json"), "{to}: {why}");
        }
    }
}
