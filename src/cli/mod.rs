//! The command line: one file a verb, its arguments first, then its function.

mod amounts;
mod bars;
mod build;
mod building;
mod cache;
mod caching;
mod completions;
mod container;
mod context;
mod diff;
mod display;
mod doctor;
pub mod error;
mod exec;
mod explain;
mod export;
mod forward;
mod habits;
mod images;
mod init;
mod inspect;
mod limits;
mod lock;
mod login;
mod logout;
mod man;
mod plan;
mod progress;
mod ps;
mod pull;
mod push;
mod rebase;
mod records;
mod rm;
mod run;
mod sandbox;
mod secrets;
mod sending;
mod serve;
mod shell;
mod signals;
mod stop;
mod tally;
mod test;
mod testing;
mod venv;
mod verify;
mod wheelhouse;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::oci::Platform;
use crate::registry::{Rate, Reference};
use context::Context;
use error::{Colour, ExitKind, Failure};
use signals::Signals;

/// Assembles deep learning images: only what changed is built, only what changed is sent.
#[derive(Debug, Parser)]
#[command(name = "dlpack", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The recipe [default: dlpack.toml here]
    #[arg(short, long, global = true, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Give a variable of the recipe a value; may be given more than once
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// The platform of the image [default: linux on this machine's architecture]
    #[arg(long, global = true, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Where layers and wheels are kept [default: dlpack in the user's cache directory]
    #[arg(long, global = true, env = "DLPACK_STORE", value_name = "DIR", value_parser = path_or_nothing())]
    store: Option<PathBuf>,
    /// The most that is sent, and received, in a second, by all transfers together: 500K, 10M, 1G
    #[arg(long, global = true, value_name = "RATE")]
    limit_rate: Option<Rate>,
    /// Print results as JSON on stdout, and events as JSON lines on stderr
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print every piece of work as it begins and ends
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Arguments),
    Lock(lock::Arguments),
    Plan(plan::Arguments),
    Build(build::Arguments),
    Push(push::Arguments),
    Rebase(Box<rebase::Arguments>),
    Pull(pull::Arguments),
    Images(images::Arguments),
    Inspect(inspect::Arguments),
    Diff(diff::Arguments),
    Verify(verify::Arguments),
    Export(export::Arguments),
    Run(run::Arguments),
    Shell(shell::Arguments),
    Exec(exec::Arguments),
    Ps(ps::Arguments),
    Stop(stop::Arguments),
    Rm(rm::Arguments),
    Test(test::Arguments),
    Doctor(doctor::Arguments),
    Serve(serve::Arguments),
    Login(login::Arguments),
    Logout(logout::Arguments),
    Cache(cache::Arguments),
    Wheelhouse(wheelhouse::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// The whole command line program; returns the exit status.
pub fn main() -> ExitCode {
    if let Some(exit) = sandbox::helper() {
        return exit;
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| habits::answered(error).exit());
    let context = Arc::new(Context::new(cli.options));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let failure = Failure::new(ExitKind::Other, source);
            return signals::settle(failure.exit() as u8, || show(&failure));
        }
    };
    let mut listening = None;
    let outcome = runtime.block_on(async {
        match cli.verb {
            // signals are for what they run
            Verb::Run(arguments) => run::run(&context, arguments).await,
            Verb::Shell(arguments) => shell::run(&context, arguments).await,
            Verb::Exec(arguments) => exec::run(&context, arguments).await,
            // nothing is written: there is nothing to clear away
            Verb::Doctor(arguments) => doctor::run(&context, arguments).await,
            // What was finished stays, what is given up has no name: the next run goes on from there.
            verb => {
                let signals = listening.insert(Signals::listen()?);
                let work = run(&context, verb);
                signals::until_heard(work, signals.heard(), context.interrupt()).await?;
                Ok(signals::settle(0, || ()))
            }
        }
    });
    context.finish();
    let (exit, patience) = match outcome {
        Ok(exit) => (exit, CLEARING),
        Err(failure) => {
            let patience = if failure.exit().is_signal() { CLEARING_AFTER_SIGNAL } else { CLEARING };
            (signals::settle(failure.exit() as u8, || show(&failure)), patience)
        }
    };
    // Threads whose work was given up clear it away. Those that take longer don't hold up
    // the exit: what they write has no name, and the next run sweeps it.
    runtime.shutdown_timeout(patience);
    drop(listening);
    exit
}

/// How long threads may clear away what was given up when a command ends.
const CLEARING: Duration = Duration::from_secs(3);
/// The same after SIGTERM or SIGINT: whoever sends them kills soon.
const CLEARING_AFTER_SIGNAL: Duration = Duration::from_millis(500);

fn show(failure: &Failure) {
    failure.show(&mut std::io::stderr(), Colour::of_stderr());
}

async fn run(context: &Arc<Context>, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Init(arguments) => {
            let context = Arc::clone(context);
            blocking(move || init::run(&context, arguments)).await
        }
        Verb::Lock(arguments) => lock::run(context, arguments).await,
        Verb::Plan(arguments) => plan::run(context, arguments).await,
        Verb::Build(arguments) => build::run(context, arguments).await,
        Verb::Push(arguments) => push::run(context, arguments).await,
        Verb::Rebase(arguments) => rebase::run(context, *arguments).await,
        Verb::Pull(arguments) => pull::run(context, arguments).await,
        Verb::Images(arguments) => {
            let context = Arc::clone(context);
            blocking(move || images::run(&context, &arguments)).await
        }
        Verb::Inspect(arguments) => inspect::run(context, arguments).await,
        Verb::Diff(arguments) => diff::run(context, arguments).await,
        Verb::Verify(arguments) => verify::run(context, arguments).await,
        Verb::Export(arguments) => export::run(context, arguments).await,
        Verb::Run(arguments) => run::run(context, arguments).await.map(drop),
        Verb::Shell(arguments) => shell::run(context, arguments).await.map(drop),
        Verb::Exec(arguments) => exec::run(context, arguments).await.map(drop),
        Verb::Ps(arguments) => {
            let context = Arc::clone(context);
            blocking(move || ps::run(&context, &arguments)).await
        }
        Verb::Stop(arguments) => stop::run(context, arguments).await,
        Verb::Rm(arguments) => {
            let context = Arc::clone(context);
            blocking(move || rm::run(&context, &arguments)).await
        }
        Verb::Test(arguments) => test::run(context, arguments).await,
        Verb::Doctor(arguments) => doctor::run(context, arguments).await.map(drop),
        Verb::Serve(arguments) => serve::run(context, arguments).await,
        Verb::Login(arguments) => login::run(context, arguments).await,
        Verb::Logout(arguments) => {
            let context = Arc::clone(context);
            blocking(move || logout::run(&context, arguments)).await
        }
        Verb::Cache(arguments) => cache::run(context, arguments).await,
        Verb::Wheelhouse(arguments) => wheelhouse::run(context, arguments).await,
        Verb::Completions(arguments) => completions::run(arguments),
        Verb::Man(arguments) => man::run(arguments),
    }
}

/// Does what blocks on a thread that may, so that signals are heard meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| Err(Failure::new(ExitKind::Other, ended)))
}

/// The command line as clap knows it, for completions, manual pages, and whoever checks what a
/// manual says.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads a reference as docker does: `NAME` is docker.io's `NAME:latest`.
fn reference(text: &str) -> Result<Reference, String> {
    if text.starts_with("oci:") {
        return Err("a layout on disk is for `run`, `shell`, and a recipe's base".to_owned());
    }
    let reference =
        text.parse::<Reference>().map_err(|error| match text.to_ascii_lowercase().parse::<Reference>() {
            Ok(_) => "a repository's name is lowercase".to_owned(),
            Err(_) => error.to_string(),
        })?;
    // distribution-spec: names match [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*
    match reference.repository().chars().find(char::is_ascii_uppercase) {
        Some(_) => Err("a repository's name is lowercase".to_owned()),
        None => Ok(reference),
    }
}

/// Reads a path that may be empty: a variable that a CI file sets to nothing is as good as unset.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_finds_no_fault_with_the_arguments() {
        super::command().debug_assert();
    }
}
