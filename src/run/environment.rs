//! A container's variables, and the files that hold some.

use std::path::Path;

use super::Error;

/// Reads the variables in the file at `path` as docker-run(1), `--env-file` has it: a
/// `KEY=VALUE` a line, with all that stands after `=`; a `KEY` alone has the value that
/// `caller` has for it, if any; empty lines, and those that begin with `#`, say nothing.
///
/// # Errors
/// [`Error::EnvFile`], [`Error::EnvLine`].
pub fn read_file(path: &Path, caller: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, Error> {
    let file = std::fs::File::open(path).and_then(crate::text::read);
    let text = file.map_err(|source| Error::EnvFile { path: path.to_owned(), source })?;
    let mut variables = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, caller(line)),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::EnvLine { path: path.to_owned(), line: n + 1 });
        }
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_docker_reads_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "# a comment\n\nA=1\n  B = \"x y\" \nC=\nHELD\nUNHELD\n").unwrap();
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_file(file.path(), |name| (name == "HELD").then(|| "here".to_owned()))
        };
        let expected = [("A", "1=2"), ("B", "\"x y\" "), ("C", ""), ("HELD", "here")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read("# a comment\n\nA=1=2\n  B=\"x y\" \nC=\nHELD\nUNHELD\n").unwrap(), expected);
        assert!(matches!(read("A=1\nB C=2\n"), Err(Error::EnvLine { line: 2, .. })));
        assert!(matches!(read("=1\n"), Err(Error::EnvLine { line: 1, .. })));
    }
}
