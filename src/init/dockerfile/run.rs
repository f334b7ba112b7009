//! RUN: what installs packages or makes accounts becomes layers that are assembled; the
//! rest is a `run` layer.

use std::mem::take;

use super::super::draft::{Kind, Part, Run};
use super::super::error::Error;
use super::super::note::Note;
use super::list::{Command, Role, adds_source, installs_packages, roles, temporary};
use super::shell::{Segment, Simple, segments};
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::words::meaning;
use super::{account, apt, install, pip};

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
    translator.has_sources |= adds_source(&command);
    translator.removes |= apt::removes(&command);
    let mut tree = take(&mut translator.tree);
    tree.told_by(&command, &translator.workdir, translator);
    translator.tree = tree;
    let divided = segments(&command.replace("\\\n", "")).filter(|_| instruction.heredocs.is_empty());
    let outcome = match divided {
        Some(list) => match roles(list, translator) {
            Ok(commands) => list_of_commands(translator, instruction, &setting, commands, &command),
            Err(why) => {
                whole(translator, instruction, &setting, command);
                if let Some(Part::Layer(layer)) = translator.draft.parts.last_mut() {
                    layer.notes.push(Note::new(format!("one step, as it stands there: {why}")));
                }
                Ok(())
            }
        },
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
    know_accounts(translator, &command);
    let workdir = translator.workdir.clone();
    layer(translator, instruction, setting, command, is_local, workdir);
}

/// Remembers the accounts that a step makes, for `--chown`.
fn know_accounts(translator: &mut Translator<'_>, command: &str) {
    let mut accounts = take(&mut translator.accounts);
    accounts.told_by(command, translator);
    translator.accounts = accounts;
}

/// A list of commands, of which some become layers of their own.
fn list_of_commands(
    translator: &mut Translator<'_>,
    instruction: &Instruction,
    setting: &Setting,
    commands: Vec<Command>,
    typed: &str,
) -> Result<(), Error> {
    let workdir = translator.workdir.clone();
    let count = commands.len();
    // What holds for the rest of the list: `cd`, `export`, an assignment.
    let mut lasting: Vec<Segment> = Vec::new();
    let mut waiting: Vec<Segment> = Vec::new();
    for Command { segment, role, environment } in commands {
        match role {
            Role::Cleared => {}
            Role::Left => {
                know_accounts(translator, &segment.text);
                waiting.push(segment);
            }
            Role::Lasting(Simple { words, .. }) => {
                if words.first().is_some_and(|word| word == "cd") {
                    translator.workdir = absolute(&translator.workdir, words.get(1).map_or("/root", String::as_str));
                }
                lasting.push(segment.clone());
                waiting.push(segment);
            }
            Role::Taken(read) => {
                let current = std::mem::replace(&mut translator.workdir, workdir.clone());
                rest(translator, instruction, setting, take(&mut waiting), &lasting, None);
                translator.workdir = current;
                waiting.extend(lasting.iter().cloned());
                let command = install::Command { text: &segment.text, words: &read.words, environment: &environment };
                let known = install::install(translator, instruction, &command)?
                    || account::add(translator, instruction, &read.words);
                if !known {
                    waiting.push(segment);
                } else if let (Some((secret, _)), true) =
                    (setting.secrets.first(), pip::arguments(&read.words).is_some())
                {
                    let why = "an index's password is in ~/.netrc of whoever locks the recipe";
                    translator.packages().unsaid(&instruction.place, &format!("--mount=type=secret,id={secret}"), why);
                }
            }
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
    let mut notes = vec![Note::from(&instruction.place)];
    let files = temporary(&command);
    if !files.is_disjoint(&translator.temporary) {
        let why = "a step does not find what one before it left in /tmp, which is in no layer";
        notes.push(Note::unsaid(&instruction.place, &instruction.original, why));
    }
    translator.temporary.extend(files);
    // The lists that another RUN fetched are in no layer.
    let fetches = installs_packages(&command) && translator.has_lists && !command.contains(" update");
    let command = if fetches { format!("apt-get update &&\n{command}") } else { command };
    let shell = match &translator.shell[..] {
        [shell, flag] if shell == "/bin/sh" && (flag == "-ec" || flag == "-c" && ends_when_one_fails(&command)) => {
            Vec::new()
        }
        shell => shell.to_vec(),
    };
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
    translator.draft.push(notes, Kind::Run(run));
}

/// Whether a command ends when a part of it fails even without the `-e` of a recipe's shell: it is
/// one list of `&&`, which has no other in it.
fn ends_when_one_fails(command: &str) -> bool {
    let list = segments(&command.replace("\\\n", "")).unwrap_or_default();
    let is_one = |segment: &Segment| !segment.text.contains('(') || !segment.text.contains([';', '\n']);
    !list.is_empty() && list.iter().all(|segment| segment.joined == "&&" && is_one(segment))
}

/// A word as a shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '=' | ':' | ',' | '+' | '@');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
