//! `dlpack run`: a container from an image, and a command in it.

use std::process::ExitCode;

use super::container::{self, Options, What};
use super::context::Context;
use super::error::{ExitKind, Failure};
use crate::registry::Reference;
use crate::run::Wanted;

/// Run a command in an image: the recipe's, one of a registry, or one on disk
///
/// The container is you: your files are its user's, its network is this machine's, the
/// command has dlpack's stdin, stdout and stderr, gets its signals, and dlpack exits as it
/// does (128 and the number if a signal ended it). Nothing that it writes is kept but what it
/// writes into mounts. It is no security boundary.
#[derive(Debug, clap::Args)]
#[command(override_usage = "dlpack run [OPTIONS] [IMAGE [COMMAND]...]\n       dlpack run [OPTIONS] -- COMMAND...")]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Run PROGRAM in place of the image's entrypoint; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// An image's name, or oci:DIRECTORY[:TAG], and a command with its arguments [default: the
    /// recipe's image, and the image's command]
    #[arg(value_name = "IMAGE [COMMAND]", trailing_var_arg = true)]
    words: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { options, entrypoint, mut words } = arguments;
    // with a recipe named, and after `--`, there is no image to name
    let named = !words.is_empty() && !context.names_recipe() && !follow_escape(&words);
    let what = named.then(|| words.remove(0));
    if let Some(word) = &what {
        refuse_command(context, word)?;
    }
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    let wanted = match entrypoint {
        Some(program) => Wanted::Entrypoint(program, words),
        None => Wanted::Arguments(words),
    };
    container::run(context, What::of(what.as_deref())?, &options, &wanted).await
}

/// Refuses a `word` that may be an image's short name, or a command that the recipe's image was
/// meant to run: which of them a registry that anybody can write to would decide.
///
/// # Errors
/// A usage error with both spellings.
fn refuse_command(context: &Context, word: &str) -> Result<(), Failure> {
    let is_short = !word.contains(['/', ':', '.', '@']);
    let Some(reference) = word.parse::<Reference>().ok().filter(|_| is_short && context.has_recipe()) else {
        return Ok(());
    };
    if context.store()?.resolve(&reference.whole())?.is_some() {
        return Ok(());
    }
    let recipe = context.recipe_path();
    Err(Failure::new(
        ExitKind::Usage,
        format!("`{word}` may be an image, or a command for that of {}", recipe.display()),
    )
    .hint(format!("`dlpack run -- {word}` runs the command, `dlpack run {word}:latest` the image")))
}

/// Whether `words`, the last of the command line, stand after a `--`, which clap tells
/// nobody.
fn follow_escape(words: &[String]) -> bool {
    let before = std::env::args_os().rev().nth(words.len());
    before.is_some_and(|word| word == "--")
}
