//! What is run in the image before it gets a name: the `[test]` table. It is no part of the
//! image: no layer, key, digest or lock has it.

use serde::Serialize;

use super::error::Fault;
use super::table::{Field, Table};
use super::tree::Value;
use super::values;

/// How much of a command names its test, in characters.
const SHOWN: usize = 60;

/// What an image is tested by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tests {
    /// In their order.
    pub commands: Vec<Test>,
    /// Whether they reach what this machine reaches; else their own loopback alone.
    pub network: bool,
}

/// One command in a container of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// What it is called; the command if not given.
    pub name: Option<String>,
    /// What `/bin/sh -e` is given.
    pub command: String,
    /// Who it runs as, as in `[config]`; the image's user if not given.
    pub user: Option<String>,
    /// Whether it is for machines with a GPU alone.
    pub gpu: bool,
}

impl Test {
    /// What a person knows it by: its name, or as much of the command as a line has room for.
    pub fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let what = self.command.trim();
        let line: String = what.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        if line.len() < what.len() { format!("{line} …") } else { line }
    }
}

/// The `[test]` table.
pub(super) fn tests(field: Field<'_>) -> Result<Tests, Fault> {
    let table = Table::open(field, "[test]", &["commands", "network"])?;
    Ok(Tests { commands: table.list("commands", test)?, network: table.flag("network")? })
}

/// A command, or a table with one.
fn test(field: Field<'_>) -> Result<Test, Fault> {
    if !matches!(field.node.value, Value::Table(_)) {
        return Ok(Test { name: None, command: field.text(values::something)?, user: None, gpu: false });
    }
    let table = Table::open(field, "a test", &["command", "name", "user", "gpu"])?;
    Ok(Test {
        name: table.text("name", values::something)?,
        command: table.needs("command", table.text("command", values::something)?)?,
        user: table.text("user", values::image_user)?,
        gpu: table.flag("gpu")?,
    })
}
