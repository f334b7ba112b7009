//! `dlpack exec`: a further command in a container that runs.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;

use super::blocking;
use super::container::{directory, status, variable};
use super::context::Context;
use super::error::Failure;
use super::forward;
use super::habits::Terminal;
use crate::run::{self, Containers, Name};
use crate::sandbox::Exec;

/// Run a command in a container that runs
///
/// It is as the container's own: with its files, its variables, its user, and the same
/// owners of files; it has dlpack's stdin, stdout and stderr, gets its signals, and dlpack
/// exits as it does. It ends with the container.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where it starts [default: where the container's command did]
    #[arg(short, long, value_name = "DIR", value_parser = directory)]
    workdir: Option<String>,
    /// A variable of its environment, with the caller's value if none is given; may be given
    /// more than once
    #[arg(short, long = "env", value_name = "KEY[=VALUE]", value_parser = variable)]
    env: Vec<(String, Option<String>)>,
    /// The user to run as, `user`, `uid` or `uid:gid` [default: the container's]
    #[arg(short, long, conflicts_with = "root", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Run as root, in a container that was started as root
    #[arg(long)]
    root: bool,
    #[command(flatten)]
    _terminal: Terminal,
    /// The container
    name: Name,
    /// The command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { workdir, env, user, root, name, command, .. } = arguments;
    let caller = |name: &str| std::env::var(name).ok();
    let given = env.into_iter().filter_map(|(name, value)| Some((name.clone(), value.or_else(|| caller(&name))?)));
    let terminal = caller("TERM").map(|term| ("TERM".to_owned(), term));
    let exec = Exec {
        command,
        env: terminal.into_iter().chain(given).collect(),
        workdir,
        user: if root { Some("0".to_owned()) } else { user },
        interactive: false,
    };
    let store = context.store()?;
    let connection = blocking(move || Ok(run::connect(&Containers::of(&store).find(&name)?)?)).await?;
    let (signals, heard, _) = forward::pipe()?;
    let ended = signals.during(blocking(move || Ok(run::exec(&connection, exec, heard)?)));
    Ok(status(ended.await?))
}
