//! What the base's Python has already: the distributions on its `sys.path`, as their metadata
//! says, which requirements on top of it find there and can't have in another version.

use std::collections::{BTreeMap, BTreeSet};

use super::base::{FileList, NodeKind};
use crate::python::source::Metadata;
use crate::python::wheel::normalize;

/// The distributions of the Python at `interpreter`, absolute, whose version begins with `short`
/// (`3.8`); of two of one name, that which is found first.
pub fn distributions(files: &FileList, interpreter: &str, short: &str) -> Vec<Metadata> {
    let mut seen = BTreeSet::new();
    let directories = directories(files.real(interpreter).as_deref(), interpreter, short);
    let found = directories.into_iter().flat_map(|directory| in_directory(files, &directory));
    found.filter(|metadata| seen.insert(normalize(&metadata.name))).collect()
}

/// Where packages of the Python at `interpreter`, absolute, lie, in the order of its `sys.path`: paths
/// without a leading slash. `real` is where links lead from there.
pub fn directories(real: Option<&str>, interpreter: &str, short: &str) -> Vec<String> {
    let prefix = |path: &str| Some(path.trim_matches('/').rsplit_once("/bin/")?.0.to_owned());
    // CPython's `site`: "sys.prefix and sys.exec_prefix for the head part", which the executable's
    // place decides, links followed
    let prefixes = [real.and_then(prefix), prefix(interpreter)];
    let mut directories: Vec<String> = Vec::new();
    for prefix in prefixes.into_iter().flatten() {
        // Debian Python Policy 2.5: "/usr/local/lib/python3.Y/dist-packages … precede /usr/lib/python3/dist-packages"
        let local = (prefix == "usr").then(|| format!("usr/local/lib/python{short}/dist-packages"));
        let own = ["python3/dist-packages".into(), format!("python{short}/dist-packages")];
        let own = [format!("python{short}/site-packages")].into_iter().chain(own);
        let own = own.map(|directory| format!("{prefix}/lib/{directory}"));
        directories.extend(local.into_iter().chain(own));
    }
    let mut seen = BTreeSet::new();
    directories.retain(|directory| seen.insert(directory.clone()));
    directories
}

fn in_directory(files: &FileList, directory: &str) -> Vec<Metadata> {
    let metadata = |(path, node): (&str, &super::base::Node)| match &node.kind {
        NodeKind::File { content: Some(head), .. } if is_of_distribution(path) => parse(&String::from_utf8_lossy(head)),
        _ => None,
    };
    files.under(directory).filter_map(metadata).collect()
}

/// Whether it is the metadata of what lies right in its directory: PyPA, "Recording installed
/// projects", and the forms of setuptools that came before.
fn is_of_distribution(path: &str) -> bool {
    match path.split_once('/') {
        None => path.ends_with(".egg-info"),
        Some((directory, "METADATA")) => directory.ends_with(".dist-info"),
        Some((directory, "PKG-INFO")) => directory.ends_with(".egg-info"),
        Some(_) => false,
    }
}

/// The head of core metadata. What the distribution itself requires is there, or was not missed;
/// what its extras require may not be.
fn parse(head: &str) -> Option<Metadata> {
    let fields = || head.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
    let all = |name: &'static str| fields().filter(move |(field, _)| *field == name).map(|(_, value)| value.trim());
    let mut extras: BTreeMap<String, Vec<String>> =
        all("Provides-Extra").map(|extra| (extra.to_owned(), Vec::new())).collect();
    for (extra, requirements) in &mut extras {
        let forms = [format!("extra == '{extra}'"), format!("extra == \"{extra}\"")];
        let of_extra = |required: &&str| forms.iter().any(|form| required.contains(form.as_str()));
        requirements.extend(all("Requires-Dist").filter(of_extra).map(str::to_owned));
    }
    Some(Metadata {
        name: all("Name").next()?.to_owned(),
        version: Some(all("Version").next()?.to_owned()),
        requires_python: None,
        dependencies: Vec::new(),
        extras,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Digest};
    use crate::store::{Listed, ListedKind, Listing};

    fn list(files: &[(&str, &str)]) -> FileList {
        let file = |(path, content): &(&str, &str)| {
            let kind = ListedKind::File { size: 1, content: Some(content.as_bytes().to_vec()) };
            Listed { path: (*path).to_owned(), kind, mode: 0o644, uid: 0, gid: 0 }
        };
        let mut list = FileList::default();
        list.apply(Listing::new(DiffId(Digest::of(b"")), files.iter().map(file).collect()));
        list
    }

    fn named(files: &[(&str, &str)], interpreter: &str) -> Vec<String> {
        let found = distributions(&list(files), interpreter, "3.8").into_iter();
        found.map(|one| format!("{} {}", one.name, one.version.unwrap_or_default())).collect()
    }

    #[test]
    fn what_is_found_first_on_the_path_of_debians_python_counts() {
        let files = [
            ("usr/bin/python3.8", ""),
            ("usr/local/lib/python3.8/dist-packages/numpy-1.22.2.dist-info/METADATA", "Name: numpy\nVersion: 1.22.2\n"),
            ("usr/lib/python3/dist-packages/numpy-1.17.4.egg-info/PKG-INFO", "Name: numpy\nVersion: 1.17.4\n"),
            ("usr/lib/python3/dist-packages/dbus_python-1.2.egg-info", "Name: dbus-python\nVersion: 1.2\n"),
            ("usr/lib/python3/dist-packages/a/vendored-1.dist-info/METADATA", "Name: vendored\nVersion: 1\n"),
            ("usr/local/lib/python3.9/dist-packages/other-1.dist-info/METADATA", "Name: other\nVersion: 1\n"),
        ];
        assert_eq!(named(&files, "/usr/bin/python3.8"), ["numpy 1.22.2", "dbus-python 1.2"]);
    }

    #[test]
    fn another_prefix_has_its_own() {
        let files = [
            (
                "opt/conda/lib/python3.8/site-packages/torch-1.13.0a0+d0d6b1f.dist-info/METADATA",
                "Name: torch\nVersion: 1.13.0a0+d0d6b1f\n",
            ),
            ("usr/lib/python3/dist-packages/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n"),
        ];
        assert_eq!(named(&files, "/opt/conda/bin/python"), ["torch 1.13.0a0+d0d6b1f"]);
    }

    #[test]
    fn what_only_an_extra_requires_may_be_missing() {
        let head = "Metadata-Version: 2.1\nName: seaborn\nVersion: 0.12\nRequires-Dist: numpy (>=1.17)\n\
                    Requires-Dist: scipy (>=1.3) ; extra == 'stats'\nProvides-Extra: stats\n\nName: described\n";
        let metadata = parse(head).unwrap();
        assert_eq!((metadata.name.as_str(), metadata.dependencies.len()), ("seaborn", 0));
        assert_eq!(metadata.extras["stats"], ["scipy (>=1.3) ; extra == 'stats'"]);
    }
}
