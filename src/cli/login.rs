//! `dlpack login`: credentials for a registry.

use std::io::{self, BufRead, IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

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
        None if !io::stdin().is_terminal() => {
            return Err(Failure::usage(
                "there is no terminal to ask for a user name on: use --username and --password-stdin",
            ));
        }
        None => super::blocking(|| ask("username: ")).await?.trim().to_owned(),
    };
    let password = if arguments.password_stdin { super::blocking(piped).await? } else { hidden().await? };
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
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(64 * 1024).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn hidden() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for a password on: use --password-stdin"));
    }
    let _echo = Echo::off().map_err(|error| unreadable(error.into()))?;
    let password = super::blocking(|| ask("password: ")).await;
    eprintln!();
    password
}

/// The terminal's echo, off until this is dropped, as it is when somebody interrupts.
struct Echo {
    shown: Termios,
}

impl Echo {
    fn off() -> rustix::io::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self { shown })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.shown);
    }
}
