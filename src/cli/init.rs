//! `dlpack init`: the first recipe of a project.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::context::Context;
use super::display::{count, show};
use super::error::{Colour, ExitKind, Failure};
use crate::init::{self, Answers, Change, Found, Merged, Outcome, Selection};

/// Write a recipe for a project from the files that it has
///
/// Reads requirements.txt, pyproject.toml, environment.yml or a Dockerfile, and writes a recipe that says
/// the same, with a comment where it can't. Asks on a terminal; elsewhere, and with --yes, what no option
/// says is as the files suggest it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The project's directory
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// What the recipe is based on: `plain` for the project's packages alone, or a recipe that comes with dlpack
    #[arg(long, value_name = "NAME")]
    flavour: Option<String>,
    /// The version of CUDA in the base, or `none`
    #[arg(long, value_name = "VERSION")]
    cuda: Option<String>,
    /// The version of Python
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// An extra of pyproject.toml to install; may be given more than once
    #[arg(long, value_name = "NAME")]
    extra: Vec<String>,
    /// A dependency group of pyproject.toml to install; may be given more than once
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// The account's name; `root` for none
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file to read, from the directory; may be given more than once [default: those that are there]
    #[arg(long, value_name = "FILE")]
    from: Vec<String>,
    /// The recipe to write; `-` is stdout [default: dlpack.toml in the directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write settings for VS Code, too: what is there already stays
    #[arg(long)]
    vscode: bool,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
    /// Replace a recipe that is there
    #[arg(long)]
    force: bool,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { directory, flavour, cuda, python, extra, group, user, mut from, output, mut vscode, yes, force } =
        arguments;
    let selection = Selection { extras: extra, groups: group };
    let directory = directory.strip_prefix(".").map_or(directory.clone(), Path::to_owned);
    let path = output.unwrap_or_else(|| directory.join("dlpack.toml"));
    let is_printed = path == Path::new("-");
    let mut asks =
        !yes && !context.quiet() && !context.json() && io::stdin().is_terminal() && io::stderr().is_terminal();
    if asks && !is_printed && !force && path.exists() {
        // Nobody is asked for what is not written then.
        if !vscode {
            return Err(init::Error::Exists { path }.into());
        }
        asks = false;
    }
    let mut found = init::look(&directory, &from, &selection)?;
    if asks && from.is_empty() && !found.others().is_empty() {
        from = which(&found)?;
        found = init::look(&directory, &from, &selection)?;
    }
    let mut answers = Answers { flavour, cuda, python, user };
    if asks {
        ask(&found, &mut answers)?;
        if !vscode && !is_printed {
            let default = if directory.join(".vscode").is_dir() { "yes" } else { "no" };
            vscode = ask_for("settings for VS Code (yes or no)", Some(default))?.starts_with(['y', 'Y']);
        }
    }
    let read = found.files().to_vec();
    if is_printed {
        let written = init::compose(found, &answers, "")?;
        init::check(&written.text)?;
        return show(written.text.trim_end());
    }
    let above = above(&directory, &path)?;
    let written = init::compose(found, &answers, &above)?;
    let recipe = match init::write(&path, &written.text, force) {
        // The settings are asked for by themselves: the recipe stays what it is.
        Err(init::Error::Exists { .. }) if vscode => None,
        outcome => Some(outcome?),
    };
    let settings = if vscode { init::merge(&directory)? } else { Vec::new() };
    if context.json() {
        return show(json!({
            "recipe": path,
            "changed": recipe == Some(Change::Written),
            "read": read,
            "unsaid": written.unsaid,
            "settings": settings.iter().map(as_json).collect::<Vec<_>>(),
        }));
    }
    for line in said(&path, recipe, written.unsaid, &settings) {
        if !context.quiet() {
            eprintln!("{line}");
        }
    }
    if asks {
        eprintln!("next: `dlpack lock`, then `dlpack plan`");
    }
    // A person has just read it.
    if asks && io::stdout().is_terminal() { Ok(()) } else { show(path.display()) }
}

/// What was done, a line a file.
fn said(path: &Path, recipe: Option<Change>, unsaid: usize, settings: &[Merged]) -> Vec<String> {
    let mut lines = vec![match recipe {
        Some(Change::Written) => format!("wrote {}", path.display()),
        Some(Change::Unchanged) => format!("{} is as it would be written", path.display()),
        None => format!("{} stays as it is; --force replaces it", path.display()),
    }];
    if unsaid > 0 && recipe.is_some() {
        lines.push(format!("{} in it quote what a recipe does not say", count(unsaid, "comment")));
    }
    lines.extend(settings.iter().map(|Merged { path, outcome }| match outcome {
        Outcome::Written => format!("wrote {}", path.display()),
        Outcome::Unchanged => format!("{} has all of it", path.display()),
        Outcome::LeftAlone { why } => format!("warning: {} stays as it is: {why}", path.display()),
    }));
    lines
}

fn as_json(merged: &Merged) -> serde_json::Value {
    let (outcome, why) = match &merged.outcome {
        Outcome::Written => ("written", None),
        Outcome::Unchanged => ("unchanged", None),
        Outcome::LeftAlone { why } => ("left alone", Some(why)),
    };
    json!({ "path": merged.path, "outcome": outcome, "why": why })
}

/// Asks which files are read.
fn which(found: &Found) -> Result<Vec<String>, Failure> {
    let taken = found.files().join(" ");
    let others = found.others().join(", ");
    let answer = ask_for(&format!("files to read ({others} would do, too)"), Some(&taken))?;
    Ok(answer.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Asks what no option says.
fn ask(found: &Found, answers: &mut Answers) -> Result<(), Failure> {
    let read = match found.files() {
        [] => "there is nothing to read here".to_owned(),
        names => format!("the recipe is written from {}", names.join(", ")),
    };
    eprintln!("{read}; an empty answer takes what is in brackets");
    let others: Vec<&str> = init::flavours().into_iter().skip(1).collect();
    let question = format!("flavour (plain: the project's packages alone; or on {})", others.join(", "));
    let default = found.defaults(None)?.flavour;
    settle(found, answers, |answers| &mut answers.flavour, &question, Some(default))?;
    let defaults = found.defaults(answers.flavour.as_deref())?;
    let is_on_dockerfile = found.has_base(defaults.flavour);
    if !is_on_dockerfile {
        let question = format!("CUDA ({} or none)", init::cuda_versions().join(", "));
        settle(found, answers, |answers| &mut answers.cuda, &question, Some(&defaults.cuda))?;
    }
    let python = found.python(answers)?;
    // A base that is known says which Python it has.
    if !is_on_dockerfile || python.is_none() && found.installs() {
        settle(found, answers, |answers| &mut answers.python, "Python", python.as_deref())?;
    }
    if !is_on_dockerfile {
        settle(found, answers, |answers| &mut answers.user, "account (root for none)", Some(&defaults.user))?;
    }
    Ok(())
}

/// Asks for an answer that goes with the others, until there is one.
fn settle(
    found: &Found,
    answers: &mut Answers,
    which: fn(&mut Answers) -> &mut Option<String>,
    question: &str,
    default: Option<&str>,
) -> Result<(), Failure> {
    while which(answers).is_none() {
        let answer = ask_for(question, default)?;
        let is_default = Some(answer.as_str()) == default;
        *which(answers) = Some(answer);
        match found.check(answers) {
            Err(error) if !is_default => {
                Failure::from(error).show(&mut io::stderr(), Colour::of_stderr());
                *which(answers) = None;
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Asks until there is an answer; an empty one is the default.
fn ask_for(question: &str, default: Option<&str>) -> Result<String, Failure> {
    loop {
        match default {
            Some(default) => eprint!("{question} [{default}]: "),
            None => eprint!("{question}: "),
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let read = read.map_err(|source| Failure::new(ExitKind::Other, source).about("can't read from stdin"))?;
        match (line.trim(), default, read) {
            ("", Some(default), _) => return Ok(default.to_owned()),
            ("", None, 0) => return Err(Failure::usage(&format!("there is no answer to: {question}"))),
            ("", None, _) => {}
            (answer, ..) => return Ok(answer.to_owned()),
        }
    }
}

/// How paths from `directory` begin in a recipe at `path`: nothing where it lies in it.
fn above(directory: &Path, path: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| {
        let found = Path::new(".").join(path).canonicalize();
        found.map_err(|source| init::Error::Directory { path: path.to_owned(), source })
    };
    let beside = path.parent().unwrap_or(Path::new(""));
    let (from, to) = (absolute(beside)?, absolute(directory)?);
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = from[common..].iter().map(|_| "..".to_owned());
    let down = to[common..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned());
    Ok(up.chain(down).map(|part| part + "/").collect())
}
