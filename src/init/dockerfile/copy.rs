//! COPY and ADD: files from beside the Dockerfile become `files` layers.

use std::fs;

use super::super::draft::{File, From, Kind, Layer, Part, Run};
use super::super::found::listed;
use super::super::note::Note;
use super::syntax::Instruction;
use super::translate::{Translator, absolute};
use super::words::{meaning, split};
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
    translator.copied.extend(copied);
    let note = Note::new(instruction.place.to_string());
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
    let target = absolute(&translator.workdir, to);
    let into = sources.len() > 1 || to.ends_with('/') || matches!(to.as_str(), "." | "./");
    let mut files = Vec::new();
    let mut heredocs = instruction.heredocs.iter();
    for source in sources {
        let at = |name: &str| if into { absolute(&target, name) } else { target.clone() };
        if source.starts_with("<<") {
            let Some(heredoc) = heredocs.next() else { continue };
            if heredoc.expands && heredoc.content.contains('$') {
                return Err("variables in its text are not filled in: write it into a file".into());
            }
            let from = From::Content(heredoc.content.clone());
            files.push(File { from, to: at(&heredoc.name), mode: mode.clone(), owner: owner.clone() });
            continue;
        }
        if source.contains("://") || source.starts_with("git@") {
            return Err("a layer of files is made of files on disk: fetch it in a `run` layer".into());
        }
        for (from, to) in on_disk(translator, source, &target, into)? {
            files.push(File { from: From::Path(from), to, mode: mode.clone(), owner: owner.clone() });
        }
    }
    match files.iter().find(|file| Word::ImagePath.accepts(&file.to).is_err()) {
        Some(file) => Err(format!("`{}` is no place for a file", file.to)),
        None => Ok(files),
    }
}

/// The files and directories that a source means, each with where it goes.
fn on_disk(
    translator: &mut Translator<'_>,
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
        return Ok(everything(translator, target));
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    if source.contains(['*', '?', '[']) {
        let (above, pattern) = source.rsplit_once('/').unwrap_or(("", source));
        if above.contains(['*', '?', '[']) || pattern.contains('[') {
            return Err("its pattern is not followed here: name the files".into());
        }
        let found = listing(translator, above).into_iter().filter(|entry| matches(pattern, entry));
        let paths = found.map(|entry| if above.is_empty() { entry } else { format!("{above}/{entry}") });
        return Ok(paths.map(|path| (path.clone(), absolute(target, &name(&path)))).collect());
    }
    let path = translator.directory.join(source);
    if path.is_dir() {
        // "If <src> is a directory, the entire contents of the directory are copied"
        return Ok(vec![(source.to_owned(), target.to_owned())]);
    }
    if !path.exists() {
        return Err(format!("there is no {source} here"));
    }
    Ok(vec![(source.to_owned(), if into { absolute(target, &name(source)) } else { target.to_owned() })])
}

/// What lies beside the Dockerfile now, without what .dockerignore names and what is no
/// part of an image.
fn everything(translator: &mut Translator<'_>, target: &str) -> Vec<(String, String)> {
    let ignore = fs::read_to_string(translator.directory.join(".dockerignore")).unwrap_or_default();
    let lines = ignore.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (nested, plain): (Vec<&str>, Vec<&str>) = lines.partition(|line| {
        line.starts_with('!')
            || line.trim_matches('/').trim_start_matches("**/").contains('/')
            || line.starts_with("**/")
    });
    let entries = listing(translator, "");
    let ignored = |entry: &String| {
        APART.contains(&entry.as_str())
            || plain.iter().any(|pattern| matches(pattern.trim_matches('/').trim_start_matches("./"), entry))
            || nested.iter().any(|pattern| pattern.strip_prefix("**/").is_some_and(|pattern| matches(pattern, entry)))
    };
    let kept: Vec<String> = entries.into_iter().filter(|entry| !ignored(entry)).collect();
    let mut note = "what `COPY .` brings is what lies here now, entry by entry: the recipe and its lock can't\n\
                    lie in a layer. A directory that is new is to be named, too."
        .to_owned();
    if !nested.is_empty() {
        note += &format!("\n.dockerignore also leaves out, which a recipe does not: {}", nested.join(", "));
    }
    translator.draft.parts.push(Part::Note(Note::new(note)));
    kept.into_iter().map(|entry| (entry.clone(), absolute(target, &entry))).collect()
}

/// The names in a directory, sorted.
fn listing(translator: &Translator<'_>, directory: &str) -> Vec<String> {
    let entries = listed(&translator.directory.join(directory)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Go's filepath.Match, for `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
        }
        (Some('?'), Some(c)) => matches(&pattern[1..], &name[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => matches(&pattern[p.len_utf8()..], &name[c.len_utf8()..]),
        _ => false,
    }
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
    translator.draft.push(vec![Note::new(instruction.place.to_string())], Kind::Run(run));
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_go_has_them() {
        assert!(matches("*.py", "a.py") && matches("re?ts*.txt", "rexts-1.txt") && matches("*", "a"));
        assert!(!matches("*.py", "a.pyc") && !matches("a", "ab") && !matches("?", ""));
    }
}
