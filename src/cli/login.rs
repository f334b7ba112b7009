//! `dlpack login`: credentials for a registry.

use std::io::{self, BufRead, IsTerminal, Read};

use super::context::Context;
use super::error::{ExitKind, Failure};
use crate::registry::Secret;

/// Log in to a registry and keep the credentials where docker does
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The registry
    #[arg(default_value = "docker.io")]
    registry: String,
    /// The user name
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password or token from stdin
    #[arg(long)]
    password_stdin: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let username = match arguments.username {
        Some(username) => username,
        None if arguments.password_stdin => return Err(Failure::usage("--password-stdin needs --username")),
        None => ask("username: ")?,
    };
    let password = if arguments.password_stdin { piped()? } else { hidden()? };
    context.registries()?.login(&arguments.registry, &username, Secret::new(password)).await?;
    if !context.quiet() {
        eprintln!("logged in to {}", arguments.registry);
    }
    Ok(())
}

fn unreadable(source: io::Error) -> Failure {
    Failure::new(ExitKind::Other, source).about("can't read from stdin".to_owned())
}

fn ask(prompt: &str) -> Result<String, Failure> {
    eprint!("{prompt}");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim().to_owned())
}

fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(64 * 1024).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn hidden() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for a password on: use --password-stdin"));
    }
    let terminal = io::stdin();
    let shown = rustix::termios::tcgetattr(&terminal).map_err(|error| unreadable(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    let set = |modes| rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, modes);
    set(&hidden).map_err(|error| unreadable(error.into()))?;
    let password = ask("password: ");
    set(&shown).map_err(|error| unreadable(error.into()))?;
    eprintln!();
    password
}
