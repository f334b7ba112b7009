//! `entry_points.txt` and the scripts that installers make of it (PyPA, "Entry
//! points specification").

use std::collections::BTreeMap;

use super::scheme::PythonVersion;
use super::wheel::Problem;

/// What a script calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    module: String,
    object: String,
}

/// The scripts that `entry_points.txt` asks for, by name.
///
/// # Errors
/// [`Problem::EntryPoint`] for one that can't become a script.
pub fn scripts(text: &str, python: PythonVersion) -> Result<BTreeMap<String, Target>, Problem> {
    let mut scripts = BTreeMap::new();
    let mut wanted = false;
    for line in text.lines().map(without_comment).filter(|line| !line.is_empty()) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            // On Unix, scripts of both groups are the same.
            wanted = matches!(section.trim(), "console_scripts" | "gui_scripts");
        } else if wanted {
            let invalid = |why| Problem::EntryPoint { line: line.to_owned(), why };
            // "Names may not start or end with =", and "=" alone delimits.
            let (name, value) = line.split_once('=').ok_or_else(|| invalid("it has no ="))?;
            let name = name.trim();
            if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
                return Err(invalid("its name is not a file name"));
            }
            let target = target(value).ok_or_else(|| invalid("it is not MODULE:OBJECT"))?;
            scripts.insert(name.to_owned(), target);
        }
    }
    Ok(of_this_python(scripts, python))
}

/// pip's wheel is built with one Python and names it: `pip3.11` becomes the
/// `pip3.X` of the Python that it is installed for, as pip and uv do.
fn of_this_python(mut scripts: BTreeMap<String, Target>, python: PythonVersion) -> BTreeMap<String, Target> {
    scripts.retain(|name, _| name.strip_prefix("pip3.").is_none_or(|minor| minor.parse::<u8>().is_err()));
    if let Some(pip) = scripts.get("pip3").cloned() {
        scripts.insert(format!("pip{}.{}", python.major, python.minor), pip);
    }
    scripts
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return "";
    }
    [" #", " ;", "\t#", "\t;"].iter().fold(line, |line, mark| line.split(mark).next().unwrap_or(line)).trim_end()
}

/// Reads an object reference: `importable.module:object.attr [extras]`. Extras say
/// what else is to be installed; they change nothing in the script.
fn target(value: &str) -> Option<Target> {
    let (reference, extras) = value.split_once('[').map_or((value, None), |(reference, rest)| (reference, Some(rest)));
    if extras.is_some_and(|extras| !extras.trim_end().ends_with(']') || extras.trim_end().len() < 2) {
        return None;
    }
    let (module, object) = reference.split_once(':')?;
    let (module, object) = (module.trim(), object.trim());
    let dotted = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')))
    };
    (dotted(module) && dotted(object)).then(|| Target { module: module.to_owned(), object: object.to_owned() })
}

impl Target {
    /// The text of a script, byte for byte the one that uv writes.
    pub fn script(&self, interpreter: &str) -> String {
        let Self { module, object } = self;
        let import = object.split('.').next().unwrap_or(object);
        format!(
            r#"{}
# -*- coding: utf-8 -*-
import sys
from {module} import {import}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({object}())
"#,
            shebang(interpreter)
        )
    }
}

/// The longest first line that every kernel of use accepts, its end included.
const SHEBANG_LIMIT: usize = 127;

/// The first line of a script, without its end. One that the kernel would cut or
/// split becomes a line that both sh and Python read, each its own way.
pub fn shebang(interpreter: &str) -> String {
    if "#!\n".len() + interpreter.len() <= SHEBANG_LIMIT && !interpreter.contains(' ') {
        return format!("#!{interpreter}");
    }
    let quoted = interpreter.replace('\'', r#"'"'"'"#);
    format!("#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''")
}

/// The script of a project that is installed elsewhere, for `interpreter`: what it ran with before, a
/// Python by its path, stands in its first lines in either form of [`shebang`]. None if it is no
/// such script. Arguments of the interpreter are dropped, as installers drop them.
pub fn rewritten(script: &[u8], interpreter: &str) -> Option<Vec<u8>> {
    let (first, rest) = split_line(script.strip_prefix(b"#!")?);
    let rest = match first.trim_ascii() {
        b"/bin/sh" => {
            let (second, rest) = split_line(rest);
            let (third, rest) = split_line(rest);
            (second.starts_with(b"'''exec' ") && third.starts_with(b"' '''")).then_some(rest)?
        }
        command => {
            let program = command.split(u8::is_ascii_whitespace).next()?;
            let name = program.strip_prefix(b"/")?.rsplit(|byte| *byte == b'/').next()?;
            name.starts_with(b"python").then_some(rest)?
        }
    };
    let mut text = shebang(interpreter).into_bytes();
    text.push(b'\n');
    text.extend_from_slice(rest);
    Some(text)
}

/// The first line, without its end, and what follows it.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: PythonVersion = PythonVersion { major: 3, minor: 12, free_threaded: false };

    #[test]
    fn extras_comments_and_dotted_objects_are_read() {
        let text = "# c\n[other]\nx = not a reference\n\n[console_scripts]\n a=m.n : Class.main [x, y] \nb = m:f ; note\n\
                    [ gui_scripts ]\nc= m : f\n";
        let scripts = scripts(text, PYTHON).unwrap();
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let script = scripts["a"].script("/opt/venv/bin/python");
        assert!(script.starts_with("#!/opt/venv/bin/python\n"));
        assert!(script.contains("\nfrom m.n import Class\n") && script.ends_with("    sys.exit(Class.main())\n"));
    }

    #[test]
    fn what_is_not_a_reference_or_not_a_file_name_is_refused() {
        for line in
            ["x", "x = ", "x = m", "x = :f", "x = m:", "x = m:f [e", "../x = m:f", ".. = m:f", "x = m:f();", "= m:f"]
        {
            assert!(scripts(&format!("[console_scripts]\n{line}\n"), PYTHON).is_err(), "{line}");
        }
    }

    #[test]
    fn pip_is_named_after_the_python_it_is_for() {
        let scripts =
            scripts("[console_scripts]\npip = p:m\npip3 = p:m\npip3.9 = p:m\nfoo3.9 = p:m\n", PYTHON).unwrap();
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["foo3.9", "pip", "pip3", "pip3.12"]);
    }

    #[test]
    fn a_long_or_spaced_interpreter_goes_through_sh() {
        assert_eq!(shebang("/a/python"), "#!/a/python");
        assert_eq!(shebang("/a b/python"), "#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''");
        assert_eq!(shebang(&"/".repeat(124)).lines().count(), 1);
        assert_eq!(shebang(&"/".repeat(125)).lines().count(), 3);
    }
    #[test]
    fn a_script_gets_another_interpreter_in_whichever_form_it_names_its_own() {
        let body = b"# -*- coding: utf-8 -*-\nimport sys\n";
        for interpreter in ["/opt/venv/bin/python", "/a b/python3.11", &format!("/{}/python", "long".repeat(40))] {
            let script = [shebang(interpreter).as_bytes(), b"\n", body].concat();
            let expected = [b"#!/here/bin/python\n".as_slice(), body].concat();
            assert_eq!(rewritten(&script, "/here/bin/python"), Some(expected), "{interpreter}");
        }
        for other in ["#!/bin/sh\necho\n", "#!/usr/bin/env python3\n", "#!/usr/bin/perl\n", "\x7fELF", "", "#!"] {
            assert_eq!(rewritten(other.as_bytes(), "/here/bin/python"), None, "{other}");
        }
    }
}
