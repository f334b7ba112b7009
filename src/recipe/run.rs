//! The keys of a `run` layer.

use std::collections::BTreeMap;

use super::error::{Fault, Problem};
use super::model::{Run, RunCache, RunMount, RunSecret};
use super::origin::Origin;
use super::table::{Field, Table};
use super::tree::Value;
use super::values::{self, Complaint};

/// What a `command` is given to if the recipe does not say: it ends at the first
/// command that fails.
const SHELL: [&str; 2] = ["/bin/sh", "-ec"];

/// Where a secret is if the recipe does not say.
const SECRETS: &str = "/run/secrets";

/// One `[[layer]]` of kind `run`.
pub(super) fn run(field: Field<'_>) -> Result<Run, Fault> {
    const KEYS: [&str; 14] = [
        "kind", "name", "after", "command", "script", "shell", "env", "workdir", "user", "network", "secrets",
        "caches", "mounts", "sees",
    ];
    let table = Table::open(field, "a run layer", &KEYS)?;
    table.either("command", "script")?;
    let words = table.texts("shell", values::something)?;
    let shell = match table.field("shell") {
        Some(field) => shell(field, words, table.field("script").is_some())?,
        None => SHELL.map(str::to_owned).to_vec(),
    };
    let run = Run {
        command: table.text("command", values::something)?,
        script: table.path("script")?,
        shell,
        env: table.strings("env", values::environment, values::any)?,
        workdir: table.text("workdir", values::image_directory)?.unwrap_or_else(|| "/".into()),
        user: table.text("user", values::image_user)?,
        network: table.flag("network")?,
        secrets: table.list("secrets", secret)?,
        caches: table.list("caches", cache)?,
        mounts: table.list("mounts", mount)?,
        sees: table.texts("sees", values::layer_name)?,
    };
    one_thing_a_place(&table)?;
    Ok(run)
}

fn shell(field: Field<'_>, words: Vec<String>, has_script: bool) -> Result<Vec<String>, Fault> {
    let complaint = match words.first() {
        _ if has_script => Complaint::new("a script is run by the program that its first line names")
            .hint("begin the script with `#!/bin/bash -e`, and leave `shell` out"),
        None => Complaint::new("it is empty").hint("write the program and its options: [\"/bin/bash\", \"-ec\"]"),
        Some(program) if !program.starts_with('/') => Complaint::new("a shell is given by its path in the image"),
        Some(_) => return Ok(words),
    };
    Err(field.refused(&words.join(" "), complaint))
}

/// `"NAME"`, or a table with `name`, `to` and `optional`.
fn secret(field: Field<'_>) -> Result<RunSecret, Fault> {
    if field.node.text().is_some() {
        let name = field.text(values::secret_name)?;
        return Ok(RunSecret { to: format!("{SECRETS}/{name}"), name, optional: false });
    }
    if !matches!(field.node.value, Value::Table(_)) {
        return Err(field.wrong_type("a secret's name, or a table with `name`", None));
    }
    let table = Table::open(field, "an entry of `secrets`", &["name", "to", "optional"])?;
    let name = table.needs("name", table.text("name", values::secret_name)?)?;
    let to = table.text("to", values::image_path)?.unwrap_or_else(|| format!("{SECRETS}/{name}"));
    Ok(RunSecret { name, to, optional: table.flag("optional")? })
}

/// `"/path"`, or a table with `to` and `id`.
fn cache(field: Field<'_>) -> Result<RunCache, Fault> {
    if field.node.text().is_some() {
        let to = field.text(values::image_path)?;
        return Ok(RunCache { id: to.clone(), to });
    }
    if !matches!(field.node.value, Value::Table(_)) {
        return Err(field.wrong_type("a path in the image, or a table with `to`", None));
    }
    let table = Table::open(field, "an entry of `caches`", &["to", "id"])?;
    let to = table.needs("to", table.text("to", values::image_path)?)?;
    Ok(RunCache { id: table.text("id", values::something)?.unwrap_or_else(|| to.clone()), to })
}

fn mount(field: Field<'_>) -> Result<RunMount, Fault> {
    let table = Table::open(field, "an entry of `mounts`", &["from", "to"])?;
    Ok(RunMount {
        from: table.needs("from", table.path("from")?)?,
        to: table.needs("to", table.text("to", values::image_path)?)?,
    })
}

/// Secrets, caches and mounts hide what lies where they are: each has a place of its
/// own.
fn one_thing_a_place(table: &Table<'_>) -> Result<(), Fault> {
    let mut taken: BTreeMap<String, Origin> = BTreeMap::new();
    let origin = |field: Field<'_>| field.get("to").map_or(field.node.origin, |to| to.node.origin);
    let places = [
        table.list("secrets", |field| Ok((secret(field)?.to, origin(field))))?,
        table.list("caches", |field| Ok((cache(field)?.to, origin(field))))?,
        table.list("mounts", |field| Ok((mount(field)?.to, origin(field))))?,
    ];
    for (to, origin) in places.concat() {
        if let Some(first) = taken.insert(to.clone(), origin) {
            let problem = Problem::Twice {
                what: format!("`{to}`"),
                first: table.location(first),
                hint: "secrets, caches and mounts each have a place of their own",
            };
            return Err(Fault { origin, problem });
        }
    }
    Ok(())
}
