//! `dlpack ps`: which containers there are.

use jiff::Timestamp;
use serde_json::json;

use super::context::Context;
use super::display::{ago, show, table};
use super::error::Failure;
use crate::run::{Containers, Found, Record};

/// How many characters of a command are shown.
const COMMAND: usize = 40;

/// Show the containers that run
///
/// With --quiet their names alone.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Those that have ended and were kept, too
    #[arg(short, long)]
    all: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut found = Containers::of(&context.store()?).list()?;
    found.retain(|it| arguments.all || it.running || it.record.as_ref().is_ok_and(Record::may_run_elsewhere));
    if context.json() {
        return show(serde_json::Value::from(found.iter().map(as_json).collect::<Vec<_>>()));
    }
    if context.quiet() {
        return found.iter().try_for_each(|it| show(&it.name));
    }
    let header = ["name", "image", "command", "user", "started", "state"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(header).chain(found.iter().map(as_row)).collect();
    show(table(&rows, &[]).trim_end())
}

fn as_row(found: &Found) -> Vec<String> {
    let record = match &found.record {
        Ok(record) => record,
        Err(error) => {
            let state = format!("its record can't be read: {error}");
            return [found.name.as_str(), "", "", "", "", &state].map(str::to_owned).to_vec();
        }
    };
    let started = record.started.parse::<Timestamp>().ok();
    let started = started.map(|then| ago(Timestamp::now().duration_since(then).try_into().unwrap_or_default()));
    let state = match (found.running, &record.ended) {
        (true, _) => format!("runs on {}, pid {}", record.host, record.pid),
        (false, None) if record.may_run_elsewhere() => format!("runs on {}, or was killed there", record.host),
        (false, Some(ending)) => format!("kept, {ending}"),
        (false, None) => "kept, was killed".to_owned(),
    };
    let command = short(&record.command.join(" "));
    let cells = [found.name.as_str(), &record.image, &command, &record.user];
    cells.into_iter().map(str::to_owned).chain([started.unwrap_or_default(), state]).collect()
}

/// As much of a command as a column has room for, on one line.
fn short(command: &str) -> String {
    let mut line: String = command.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Some((end, _)) = line.char_indices().nth(COMMAND) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn as_json(found: &Found) -> serde_json::Value {
    let record = match &found.record {
        Ok(record) => record,
        Err(error) => {
            return json!({ "name": found.name.as_str(), "running": found.running, "unreadable": error.to_string() });
        }
    };
    json!({
        "name": found.name.as_str(), "image": record.image, "digest": record.manifest.digest,
        "command": record.command, "user": record.user, "started": record.started, "ended": record.ended,
        "running": found.running, "elsewhere": record.may_run_elsewhere(), "kept": record.kept,
        "host": record.host, "pid": record.pid,
        "ports": record.ports,
    })
}
