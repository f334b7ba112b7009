//! What Apptainer and Singularity look for in an image of theirs, `/.singularity.d`: the image's
//! environment and its command, which a SIF has no other place for.

use super::output::Job;
use super::tree::{Node, Tree};
use super::{Error, Image};
use crate::oci::ContainerConfig;

/// Adds it to `tree`.
pub(super) fn add(job: &Job<'_>, tree: &mut Tree) -> Result<(), Error> {
    let image = job.image;
    let config = &image.config.value.config;
    for (path, content, mode) in [
        (".singularity.d/env/10-docker2singularity.sh", environment(config).into_bytes(), 0o755),
        (".singularity.d/labels.json", image.labels()?, 0o644),
        (".singularity.d/runscript", runscript(config).into_bytes(), 0o755),
    ] {
        let node = Node::file(content, mode, image.created());
        tree.put(path.as_bytes(), node).map_err(in_the_way(image, path))?;
    }
    Ok(())
}

fn in_the_way(image: &Image, path: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    let manifest = image.manifest.descriptor.digest;
    move |error| Error::InTheWay { manifest, path, source: error.into() }
}

/// A script that is sourced: the image's PATH counts, of all else what the caller has.
fn environment(config: &ContainerConfig) -> String {
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in config.env.iter().flatten().filter_map(|line| line.split_once('=')) {
        // XBD 3.216: a name is of letters, digits and underscores, and does not begin with a digit
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let value = quoted(value);
        script += &match name {
            "PATH" => format!("export PATH={value}\n"),
            _ => format!("[ -n \"${{{name}:-}}\" ] || export {name}={value}\n"),
        };
    }
    script
}

/// config.md: Entrypoint is "a list of arguments to use as the command", Cmd "default arguments to
/// the entrypoint", which others take the place of.
fn runscript(config: &ContainerConfig) -> String {
    let words = |list: &Option<Vec<String>>| list.iter().flatten().map(|word| quoted(word)).collect::<Vec<_>>();
    let (entrypoint, mut command) = (words(&config.entrypoint), words(&config.cmd));
    if entrypoint.is_empty() && command.is_empty() {
        command.push("/bin/sh".to_owned());
    }
    let defaults = match command.is_empty() {
        true => String::new(),
        false => format!("[ $# -gt 0 ] || set -- {}\n", command.join(" ")),
    };
    format!(
        "#!/bin/sh\n{defaults}exec {}\"$@\"\n",
        entrypoint.iter().map(|word| format!("{word} ")).collect::<String>()
    )
}

/// XCU 2.2.2: between single quotes all is literal but a single quote.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
