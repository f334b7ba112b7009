//! RECORD: every file of a wheel with its hash and length, and every file of an
//! installed project (PyPA, "Recording installed projects").

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::wheel::Problem;

/// What RECORD says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The hash; RECORD itself and its signatures have none.
    pub hash: Option<Hash>,
    /// The length in bytes, if given.
    pub size: Option<u64>,
}

/// A hash strong enough for RECORD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

// "The hash algorithm must be sha256 or better; specifically, md5, sha1 and sha224
// are not permitted."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Hash {
    /// The sha256 of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self { algorithm: Algorithm::Sha256, digest: Sha256::digest(content).to_vec() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, encoded) = text.split_once('=')?;
        let algorithm =
            [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512].into_iter().find(|known| known.name() == name)?;
        // "the digest, base64 encoded with the URL-safe alphabet, no padding"; some
        // tools pad it.
        let digest = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
        (digest.len() == algorithm.length()).then_some(Self { algorithm, digest })
    }
}

/// What the lines of a wheel's RECORD say, by path.
#[derive(Clone, Debug, Default)]
pub struct Record {
    lines: BTreeMap<String, Line>,
}

impl Record {
    /// Reads a wheel's RECORD, which lies at `own`.
    ///
    /// # Errors
    /// [`Problem::RecordLine`], [`Problem::RecordTwice`], [`Problem::Hash`],
    /// [`Problem::NoHash`].
    pub fn parse(text: &str, own: &str) -> Result<Self, Problem> {
        let mut lines = BTreeMap::new();
        for (number, text) in records(text) {
            let malformed = || Problem::RecordLine { line: number, text: text.chars().take(200).collect() };
            let fields = fields(text).ok_or_else(malformed)?;
            let [path, hash, size] = <[String; 3]>::try_from(fields).map_err(|_| malformed())?;
            let hash = match hash.as_str() {
                "" if path == own || is_signature(&path, own) => None,
                "" => return Err(Problem::NoHash { path }),
                text => Some(Hash::parse(text).ok_or_else(|| Problem::Hash { path: path.clone(), hash: text.into() })?),
            };
            let size = if size.is_empty() { None } else { Some(size.parse().map_err(|_| malformed())?) };
            let line = Line { hash, size };
            if lines.insert(path.clone(), line.clone()).is_some_and(|earlier| earlier != line) {
                return Err(Problem::RecordTwice { path });
            }
        }
        Ok(Self { lines })
    }

    /// What it says of `path`.
    pub fn get(&self, path: &str) -> Option<&Line> {
        self.lines.get(path)
    }

    /// The paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }
}

/// The paths in the RECORD of an installed project, as they stand there, each with its line. They are
/// not held to what a wheel's must be: of bytecode, say, there is no hash. What is no line is left out.
pub fn listed(text: &str) -> impl Iterator<Item = (String, &str)> {
    records(text).filter_map(|(_, line)| Some((fields(line)?.into_iter().next()?, line)))
}

/// Whether `path` is a signature of the RECORD at `own`.
pub fn is_signature(path: &str, own: &str) -> bool {
    // "RECORD.jws and RECORD.p7s … cannot be listed with hashes: they can only be
    // added after RECORD is generated."
    path.strip_prefix(own).is_some_and(|rest| matches!(rest, ".jws" | ".p7s"))
}

/// The lines of a CSV, where a quoted field may hold line breaks, with their numbers.
fn records(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut number = 1;
    std::iter::from_fn(move || {
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '\n' && !quoted
        });
        let (line, after) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        let here = number;
        number += 1 + line.matches('\n').count();
        let finished = rest.is_empty();
        rest = after;
        (!finished).then(|| (here, line.strip_suffix('\r').unwrap_or(line)))
    })
    .filter(|(_, line)| !line.is_empty())
}

/// The fields of one line, unquoted; none if its quotes don't match.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let end = quoted.find('"')?;
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            rest = quoted;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// Appends a line to an installed project's RECORD.
pub fn push(record: &mut String, path: &str, line: &Line) {
    if path.contains([',', '"', '\r', '\n']) {
        let _ = write!(record, "\"{}\"", path.replace('"', "\"\""));
    } else {
        record.push_str(path);
    }
    record.push(',');
    if let Some(hash) = &line.hash {
        let _ = write!(record, "{}={}", hash.algorithm.name(), URL_SAFE_NO_PAD.encode(&hash.digest));
    }
    record.push(',');
    if let Some(size) = line.size {
        let _ = write!(record, "{size}");
    }
    record.push('\n');
}

/// Holds a content against its line of RECORD while it goes by.
pub struct Check<'a> {
    line: &'a Line,
    state: State,
    size: u64,
}

enum State {
    Unhashed,
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl<'a> Check<'a> {
    /// A check that has seen nothing.
    pub fn new(line: &'a Line) -> Self {
        let state = match line.hash.as_ref().map(|hash| hash.algorithm) {
            None => State::Unhashed,
            Some(Algorithm::Sha256) => State::Sha256(Sha256::new()),
            Some(Algorithm::Sha384) => State::Sha384(Sha384::new()),
            Some(Algorithm::Sha512) => State::Sha512(Sha512::new()),
        };
        Self { line, state, size: 0 }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.state {
            State::Unhashed => {}
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Whether what was taken in is the file at `path` of the wheel.
    ///
    /// # Errors
    /// [`Problem::RecordMismatch`].
    pub fn finish(self, path: &str) -> Result<(), Problem> {
        let mismatch = |what| Problem::RecordMismatch { path: path.to_owned(), what };
        if self.line.size.is_some_and(|size| size != self.size) {
            return Err(mismatch("size"));
        }
        let found = match self.state {
            State::Unhashed => return Ok(()),
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha384(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
        };
        match &self.line.hash {
            Some(hash) if hash.digest != found => Err(mismatch(hash.algorithm.name())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_line_breaks_are_read_and_written_alike() {
        let mut text = String::new();
        let line = Line { hash: Some(Hash::of(b"x")), size: Some(1) };
        for path in ["a,b.py", "say \"hi\".txt", "plain.py"] {
            push(&mut text, path, &line);
        }
        push(&mut text, "a.dist-info/RECORD", &Line { hash: None, size: None });
        let record = Record::parse(&text.replace('\n', "\r\n"), "a.dist-info/RECORD").unwrap();
        assert_eq!(record.get("a,b.py"), Some(&line));
        assert_eq!(record.get("say \"hi\".txt"), Some(&line));
        assert_eq!(record.paths().count(), 4);
    }

    #[test]
    fn weak_missing_and_malformed_hashes_are_refused() {
        let parse = |text| Record::parse(text, "a.dist-info/RECORD");
        assert!(matches!(parse("a.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0"), Err(Problem::Hash { .. })));
        assert!(matches!(parse("a.py,sha256=AAAA,0"), Err(Problem::Hash { .. })));
        assert!(matches!(parse("a.py,,"), Err(Problem::NoHash { .. })));
        assert!(matches!(parse("a.py"), Err(Problem::RecordLine { line: 1, .. })));
        assert!(matches!(parse("a.dist-info/RECORD,,\n\"a.py,,"), Err(Problem::RecordLine { line: 2, .. })));
        assert!(parse("a.dist-info/RECORD,,\na.dist-info/RECORD.jws,,").is_ok());
    }
}
