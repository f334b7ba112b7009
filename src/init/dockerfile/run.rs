//! RUN: what installs packages or makes accounts becomes layers that are assembled; the
//! rest is a `run` layer.

use std::mem::take;

use super::super::draft::{Kind, Run};
use super::super::error::Error;
use super::super::note::Note;
use super::shell::{Segment, segments, simple};
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::words::meaning;
use super::{account, install};

/// Programs that no network is needed for.
const LOCAL: [&str; 32] = [
    "[",
    "addgroup",
    "adduser",
    "cat",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "echo",
    "env",
    "export",
    "find",
    "groupadd",
    "install",
    "ldconfig",
    "ln",
    "locale-gen",
    "mkdir",
    "mv",
    "printf",
    "rm",
    "sed",
    "set",
    "tar",
    "tee",
    "test",
    "touch",
    "true",
    "update-alternatives",
    "useradd",
    "usermod",
];

/// What a RUN's command is run with.
#[derive(Default)]
struct Setting {
    caches: Vec<String>,
    secrets: Vec<(String, Option<String>)>,
    mounts: Vec<(String, String)>,
    is_offline: bool,
}

/// One RUN.
pub(super) fn run(translator: &mut Translator<'_>, instruction: &Instruction) -> Result<(), Error> {
    let setting = match setting(translator, instruction) {
        Ok(setting) => setting,
        Err(why) => {
            translator.unsaid(instruction, why);
            return Ok(());
        }
    };
    if let Some(words) = instruction.words() {
        let command = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        whole(translator, instruction, &setting, command);
        return Ok(());
    }
    let Some(command) = command(instruction) else {
        translator
            .unsaid(instruction, "it is a script for another program than a shell: copy it, and run it from a file");
        return Ok(());
    };
    // What RUN --mount binds is there for pip to read.
    let copied = translator.copied.len();
    translator.copied.extend(setting.mounts.iter().map(|(from, to)| (to.clone(), from.clone())));
    let divided = segments(&command.replace("\\\n", "")).filter(|_| instruction.heredocs.is_empty());
    let outcome = match divided {
        Some(list) => list_of_commands(translator, instruction, &setting, list, &command),
        None => {
            whole(translator, instruction, &setting, command);
            Ok(())
        }
    };
    translator.copied.truncate(copied);
    outcome
}

/// What the shell is given: the arguments, or the here-document that stands in their place.
fn command(instruction: &Instruction) -> Option<String> {
    let [first, rest @ ..] = &instruction.heredocs[..] else {
        return Some(instruction.typed.clone());
    };
    if !instruction.arguments.trim().starts_with("<<") || !rest.is_empty() {
        let documents = instruction.heredocs.iter().map(|heredoc| format!("{}{}", heredoc.content, heredoc.name));
        return Some(format!("{}\n{}", instruction.typed, documents.collect::<Vec<_>>().join("\n")));
    }
    // "the heredoc may have a shebang": it is run by that program
    let interpreter = first.content.lines().next().and_then(|line| line.strip_prefix("#!"));
    let is_shell =
        interpreter.is_none_or(|program| program.split(['/', ' ']).any(|word| matches!(word, "sh" | "bash")));
    is_shell.then(|| first.content.trim_end().to_owned())
}

fn setting(translator: &Translator<'_>, instruction: &Instruction) -> Result<Setting, &'static str> {
    let mut setting = Setting::default();
    for (name, value) in &instruction.flags {
        let value = meaning(value, translator).unwrap_or_else(|_| value.clone());
        match (name.as_str(), value.as_str()) {
            ("network", "none") => setting.is_offline = true,
            ("network", _) => {}
            ("mount", mount) => add_mount(translator, &mut setting, mount)?,
            _ => return Err("a step has no such option"),
        }
    }
    Ok(setting)
}

/// `--mount=type=TYPE,…` (Dockerfile reference, "RUN --mount").
fn add_mount(translator: &Translator<'_>, setting: &mut Setting, mount: &str) -> Result<(), &'static str> {
    let option = |names: &[&str]| {
        let mut options = mount.split(',').filter_map(|option| option.split_once('='));
        options.find(|(name, _)| names.contains(name)).map(|(_, value)| value.to_owned())
    };
    let target = option(&["target", "dst", "destination"]).map(|target| absolute(&translator.workdir, &target));
    match (option(&["type"]).as_deref().unwrap_or("bind"), target) {
        ("cache", Some(target)) => setting.caches.push(target),
        ("secret", target) => {
            let id = option(&["id"]).ok_or("a secret has a name here: id=NAME")?;
            setting.secrets.push((id, target));
        }
        ("bind", Some(target)) if option(&["from"]).is_none() => {
            let source = option(&["source", "src"]).unwrap_or_else(|| ".".into());
            let source = source.trim_start_matches("./").trim_matches('/').to_owned();
            setting.mounts.push((if source.is_empty() { ".".into() } else { source }, target));
        }
        ("bind", _) => return Err("a recipe has one image, and no other stage to mount"),
        ("tmpfs", _) => {}
        ("ssh", _) => return Err("a step has no ssh agent: give it a key as a secret"),
        _ => return Err("a step has no such mount"),
    }
    Ok(())
}

/// The whole command as one layer.
fn whole(translator: &mut Translator<'_>, instruction: &Instruction, setting: &Setting, command: String) {
    let is_local = setting.is_offline;
    let workdir = translator.workdir.clone();
    layer(translator, instruction, setting, command, is_local, workdir);
}

/// A list of commands, of which some become layers of their own.
fn list_of_commands(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    setting: &Setting,
    list: Vec<Segment>,
    typed: &str,
) -> Result<(), Error> {
    let workdir = translator.workdir.clone();
    let count = list.len();
    // What holds for the rest of the list: `cd`, `export`, `set`.
    let mut lasting: Vec<Segment> = Vec::new();
    let mut waiting: Vec<Segment> = Vec::new();
    for (at, segment) in list.iter().enumerate() {
        let words = simple(&segment.text, translator);
        let flush = |translator: &mut Translator<'_>, waiting: &mut Vec<Segment>, lasting: &[Segment]| {
            let current = std::mem::replace(&mut translator.workdir, workdir.clone());
            // Nothing was taken out: as it was typed.
            let whole = waiting.len() == count;
            rest(translator, instruction, setting, take(waiting), lasting, whole.then_some(typed));
            translator.workdir = current;
            waiting.extend(lasting.iter().cloned());
        };
        let Some(words) = words else {
            waiting.push(segment.clone());
            continue;
        };
        if is_lasting(&words) {
            if words[0] == "cd" {
                translator.workdir = absolute(&translator.workdir, words.get(1).map_or("/root", String::as_str));
            }
            if !is_about_apt(&words) {
                lasting.push(segment.clone());
                waiting.push(segment.clone());
            }
            continue;
        }
        if is_clearing(&words) {
            continue;
        }
        let following = &list[at + 1..];
        if install::is_known(&words) || account::is_known(&words, following) {
            flush(translator, &mut waiting, &lasting);
            let known =
                install::install(translator, instruction, &words)? || account::add(translator, instruction, &words);
            if !known {
                waiting.push(segment.clone());
            }
        } else {
            waiting.push(segment.clone());
        }
    }
    translator.workdir = workdir;
    let whole = waiting.len() == count;
    rest(translator, instruction, setting, waiting, &lasting, whole.then_some(typed));
    Ok(())
}

/// What of a list is no layer of another kind.
fn rest(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    setting: &Setting,
    waiting: Vec<Segment>,
    lasting: &[Segment],
    typed: Option<&str>,
) {
    if waiting.iter().all(|segment| lasting.contains(segment)) {
        return;
    }
    let is_local = waiting.iter().all(|segment| {
        let program = segment.text.split_whitespace().next().unwrap_or_default();
        LOCAL.contains(&program) && !segment.text.contains(['|', '`', '$']) || is_quiet(&segment.text, program)
    });
    let mut command = String::new();
    for (at, segment) in waiting.iter().enumerate() {
        match (at, segment.joined) {
            (0, _) => {}
            (_, "&&") => command.push_str(" &&\n"),
            (_, _) => command.push('\n'),
        }
        command.push_str(&segment.text);
    }
    let command = typed.map_or(command, str::to_owned);
    let workdir = translator.workdir.clone();
    layer(translator, instruction, setting, command, is_local || setting.is_offline, workdir);
}

/// Whether a command with variables in it only prints or writes what it is given.
fn is_quiet(text: &str, program: &str) -> bool {
    matches!(program, "echo" | "printf" | "mkdir" | "ln" | "chown" | "chmod")
        && !text.contains(['|', '`'])
        && !text.contains("$(")
}

fn layer(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    setting: &Setting,
    command: String,
    is_local: bool,
    workdir: String,
) {
    let default = ["/bin/sh", "-ec"];
    let shell = if translator.shell == default { Vec::new() } else { translator.shell.clone() };
    let run = Run {
        command,
        shell,
        env: translator.step_environment(),
        workdir: Some(workdir).filter(|workdir| workdir != "/"),
        user: translator.user.clone(),
        network: !is_local,
        secrets: setting.secrets.clone(),
        caches: setting.caches.clone(),
        mounts: setting.mounts.clone(),
        sees: translator.draft.assembled(),
    };
    let notes = vec![Note::new(instruction.place.to_string())];
    translator.draft.push(notes, Kind::Run(run));
}

/// Whether a command holds for those after it.
fn is_lasting(words: &[String]) -> bool {
    matches!(words.first().map(String::as_str), Some("cd" | "export" | "set" | "umask" | "." | "source" | "ulimit"))
}

/// `export DEBIAN_FRONTEND=noninteractive`, which apt layers have by themselves.
fn is_about_apt(words: &[String]) -> bool {
    words.len() == 2 && words[0] == "export" && words[1].starts_with("DEBIAN_FRONTEND=")
}

/// Whether a command only takes away what no layer of dlpack's has.
fn is_clearing(words: &[String]) -> bool {
    const PASSING: [&str; 6] =
        ["/var/lib/apt/lists", "/var/cache/apt", "/var/cache/debconf", "/root/.cache", "~/.cache", "/tmp/"];
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    match texts[..] {
        ["rm", ref paths @ ..] => {
            let mut paths = paths.iter().filter(|path| !path.starts_with('-')).peekable();
            paths.peek().is_some() && paths.all(|path| PASSING.iter().any(|passing| path.starts_with(passing)))
        }
        ["pip" | "pip3", "cache", ..] | ["true"] => true,
        _ => false,
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '=' | ':' | ',' | '+' | '@');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
