//! COPY and ADD: files from beside the Dockerfile become `files` layers.

use std::cell::Cell;
use std::rc::Rc;

use super::super::draft::{File, From, Kind, Layer, Part, Run};
use super::super::note::Note;
use super::ignore::{Ignored, matches, names};
use super::syntax::{Heredoc, Instruction};
use super::translate::{Translator, absolute};
use super::words::{Variables as _, meaning, split};
use crate::oci::substitute;
use crate::recipe::Word;

/// What is no part of an image though `COPY .` would bring it: the recipe and its lock, which
/// can't hold their own hash, and what tools keep beside a project.
const APART: [&str; 9] = [
    "dlpack.toml",
    "dlpack.lock",
    ".git",
    ".venv",
    ".dockerignore",
    "Dockerfile",
    "__pycache__",
    ".vscode",
    ".mypy_cache",
];

/// Why what is fetched is no file of a layer.
const FETCHED: &str = "a layer of files is made of files on disk: fetch it in a `run` layer";

/// One COPY or ADD.
pub(super) fn copy(translator: &mut Translator<'_>, instruction: &Instruction) {
    match files(translator, instruction) {
        Ok(files) => {
            if let [File { from: From::Path(from), to, .. }] = &files[..]
                && is_unpacked(instruction, from)
            {
                let (from, to) = (from.clone(), to.clone());
                return unpack(translator, instruction, from, to);
            }
            push(translator, instruction, files);
        }
        Err(why) => translator.unsaid(instruction, &why),
    }
}

/// Adds files to the layer of files that stands last, or as a new one.
fn push(translator: &mut Translator<'_>, instruction: &Instruction, new: Vec<File>) {
    if new.is_empty() {
        return translator.unsaid(instruction, "there is nothing to copy");
    }
    let copied = new.iter().filter_map(|file| match &file.from {
        From::Path(from) => Some((file.to.clone(), from.clone())),
        From::Content(_) => None,
    });
    let copied: Vec<(String, String)> = copied.collect();
    let into = copied.iter().filter(|(_, from)| translator.directory.join(from).is_dir()).map(|(to, _)| to.clone());
    into.for_each(|to| translator.tree.add(to));
    translator.copied.extend(copied);
    // A layer has each path once; the contents of two directories may meet in one.
    let (mut new, mut again) = (new, Vec::new());
    let mut at = 0;
    while at < new.len() {
        if new[..at].iter().any(|file| file.to == new[at].to) { again.push(new.remove(at)) } else { at += 1 }
    }
    place(translator, instruction, new);
    if !again.is_empty() {
        translator.draft.push(vec![Note::from(&instruction.place)], Kind::Files(again));
    }
}

/// Adds files of different places.
fn place(translator: &mut Translator<'_>, instruction: &Instruction, new: Vec<File>) {
    let note = Note::from(&instruction.place);
    if let Some(Part::Layer(Layer { notes, kind: Kind::Files(files), .. })) = translator.draft.parts.last_mut()
        && new.iter().all(|file| files.iter().all(|other| other.to != file.to))
    {
        notes.push(note);
        return files.extend(new);
    }
    translator.draft.push(vec![note], Kind::Files(new));
}

fn files(translator: &mut Translator<'_>, instruction: &Instruction) -> Result<Vec<File>, String> {
    let (mut owner, mut mode) = (None, None);
    for (name, value) in &instruction.flags {
        let value = meaning(value, translator).map_err(|_| "a variable in it has no value that is known here")?;
        match name.as_str() {
            "chown" => {
                let known = translator.accounts.owner(&value);
                owner = Some(known.ok_or("owners are numbers: names differ from image to image")?);
            }
            "chmod" => {
                Word::Mode.accepts(&value)?;
                mode = Some(value);
            }
            "from" => {
                let of_stage = translator.stages.contains(&value);
                return Err(if of_stage {
                    "a recipe has one image: bring the file from disk, or build it in a `run` layer"
                } else {
                    "files of another image are not copied: bring them from disk"
                }
                .into());
            }
            "link" => {}
            "checksum" | "keep-git-dir" => return Err(FETCHED.into()),
            _ => return Err(format!("a layer of files has no `{name}`")),
        }
    }
    let words = match instruction.words() {
        Some(words) => words,
        None => split(&instruction.arguments),
    };
    let words: Result<Vec<String>, String> = words.iter().map(|word| meaning(word, translator)).collect();
    let words = words.map_err(|_| "a variable in it has no value that is known here")?;
    let Some((to, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err("it has no source and destination".into());
    };
    let target = translator.tree.resolved(&absolute(&translator.workdir, to));
    // "If <dest> doesn't end with a trailing slash, the source file will be written at the destination path",
    // unless that is a directory.
    let into = sources.len() > 1
        || to.ends_with('/')
        || matches!(to.as_str(), "." | "./")
        || is_directory(translator, &target);
    let ignored = Rc::clone(&translator.ignored);
    let mut files = Vec::new();
    let mut heredocs = instruction.heredocs.iter();
    for source in sources {
        let at = |name: &str| if into { absolute(&target, name) } else { target.clone() };
        if source.starts_with("<<") {
            let Some(heredoc) = heredocs.next() else { continue };
            let from = From::Content(text(translator, heredoc)?);
            files.push(File { from, to: at(&heredoc.name), mode: mode.clone(), owner: owner.clone() });
            continue;
        }
        if source.contains("://") || source.starts_with("git@") {
            return Err(FETCHED.into());
        }
        for (from, to) in on_disk(translator, &ignored, source, &target, into)? {
            files.push(File { from: From::Path(from), to, mode: mode.clone(), owner: owner.clone() });
        }
    }
    match files.iter().find(|file| Word::ImagePath.accepts(&file.to).is_err()) {
        Some(file) => Err(format!("`{}` is no place for a file", file.to)),
        None => Ok(files),
    }
}

/// The text of a here-document: "If the delimiter is not quoted, variables are expanded" by the builder.
fn text(translator: &Translator<'_>, heredoc: &Heredoc) -> Result<String, String> {
    if !heredoc.expands {
        return Ok(heredoc.content.clone());
    }
    let is_unknown = Cell::new(false);
    let value = |name: &str| {
        let value = translator.value(name);
        is_unknown.set(is_unknown.get() || value.is_none());
        value
    };
    let text = substitute(&heredoc.content, &value).ok().filter(|_| !is_unknown.get());
    text.ok_or_else(|| "a variable in its text has no value that is known here".into())
}

/// The files and directories that a source means, each with where it goes.
fn on_disk(
    translator: &mut Translator<'_>,
    ignored: &Ignored,
    source: &str,
    target: &str,
    into: bool,
) -> Result<Vec<(String, String)>, String> {
    let source = source.trim_start_matches('/').trim_end_matches('/');
    let source = source.strip_prefix("./").unwrap_or(source);
    // "<src> resources must be inside the context"
    if source.split('/').any(|part| part == "..") {
        return Err("it is not beside the Dockerfile".into());
    }
    if source.is_empty() || source == "." {
        return Ok(everything(translator, ignored, target));
    }
    if source.contains(['*', '?', '[']) {
        let (above, pattern) = source.rsplit_once('/').unwrap_or(("", source));
        if above.contains(['*', '?', '[']) || pattern.contains('[') {
            return Err("its pattern is not followed here: name the files".into());
        }
        let found = names(&translator.directory.join(above)).into_iter().filter(|entry| matches(pattern, entry));
        let paths = found.map(|entry| if above.is_empty() { entry } else { format!("{above}/{entry}") });
        return Ok(paths.flat_map(|path| one(translator, ignored, &path, target, true)).collect());
    }
    if !translator.directory.join(source).exists() {
        return Err(format!("there is no {source} here"));
    }
    let found = one(translator, ignored, source, target, into);
    if found.is_empty() { Err(".dockerignore leaves it out".into()) } else { Ok(found) }
}

/// One file, or "the entire contents" of one directory, as far as `.dockerignore` has it.
fn one(
    translator: &Translator<'_>,
    ignored: &Ignored,
    source: &str,
    target: &str,
    into: bool,
) -> Vec<(String, String)> {
    let is_directory = translator.directory.join(source).is_dir();
    let name = source.rsplit('/').next().unwrap_or(source);
    let to = if into && !is_directory { absolute(target, name) } else { target.to_owned() };
    let left = ignored.left(translator.directory, source);
    let place = |path: String| {
        let inside = path.strip_prefix(source).unwrap_or_default().trim_start_matches('/');
        let to = if inside.is_empty() { to.clone() } else { absolute(&to, inside) };
        (path, to)
    };
    left.into_iter().map(place).collect()
}

/// What lies beside the Dockerfile now, without what .dockerignore names and what is no
/// part of an image.
fn everything(translator: &mut Translator<'_>, ignored: &Ignored, target: &str) -> Vec<(String, String)> {
    let entries = names(translator.directory);
    let is_apart = |entry: &String| APART.contains(&entry.as_str());
    let (apart, kept): (Vec<String>, Vec<String>) = entries.into_iter().partition(is_apart);
    let mut note = "what `COPY .` brings is what lies here now, entry by entry, as far as .dockerignore has it:\n\
                    the recipe and its lock can't lie in a layer. What is new is to be named, too."
        .to_owned();
    let apart: Vec<String> = apart.into_iter().filter(|entry| !ignored.names(entry)).collect();
    if !apart.is_empty() {
        note += &format!("\nLeft out besides, which docker would bring: {}", apart.join(", "));
    }
    translator.draft.parts.push(Part::Note(Note::new(note)));
    let left = kept.iter().flat_map(|entry| ignored.left(translator.directory, entry));
    left.map(|path| (path.clone(), absolute(target, &path))).collect()
}

/// Whether the image has a directory at `path`, as far as a name and the instructions so far
/// tell.
fn is_directory(translator: &Translator<'_>, path: &str) -> bool {
    let below = format!("{}/", path.trim_end_matches('/'));
    translator.tree.is_directory(path)
        || translator.copied.iter().any(|(to, _)| to.starts_with(&below))
        || translator.accounts.homes().any(|home| home == path)
}

/// "If <src> is a local tar archive in a recognized compression format, then it is unpacked": ADD
/// alone does it.
fn is_unpacked(instruction: &Instruction, from: &str) -> bool {
    let endings = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz"];
    instruction.keyword == "ADD" && endings.iter().any(|ending| from.ends_with(ending))
}

fn unpack(translator: &mut Translator<'_>, instruction: &Instruction, from: String, to: String) {
    let name = from.rsplit('/').next().unwrap_or(&from).to_owned();
    let directory = if to.ends_with(&format!("/{name}")) { to[..to.len() - name.len() - 1].to_owned() } else { to };
    let directory = if directory.is_empty() { "/".to_owned() } else { directory };
    let mounted = format!("/run/dlpack/{name}");
    let command = format!("mkdir -p '{directory}' && tar -xf '{mounted}' -C '{directory}'");
    let run = Run { command, mounts: vec![(from, mounted)], ..Run::default() };
    translator.draft.push(vec![Note::from(&instruction.place)], Kind::Run(run));
}
