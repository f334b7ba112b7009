//! What a wheel becomes when it is installed, file by file (PyPA, "Installing a
//! wheel 'distribution-1.0-py32-none-any.whl'"): a pure function of the wheel and
//! the scheme.

use std::collections::{BTreeMap, HashSet};

use rawzip::ReaderAt;

use super::entry_points::{self, Target};
use super::record::{self, Hash, Line, Record};
use super::scheme::Scheme;
use super::wheel::{Entry, Error, Problem, Wheel};

/// What INSTALLER says.
const INSTALLER: &[u8] = b"dlpack";
/// What the first line of a script in `.data/scripts` begins with to be rewritten.
const PLACEHOLDER: &[u8] = b"#!python";

/// A file of an installed wheel, known from the end of the archive alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it goes, relative to the venv.
    pub path: String,
    /// Its length in the wheel, in bytes.
    pub size: u64,
    /// Its CRC-32 in the wheel.
    pub crc32: u32,
}

/// An installed wheel.
#[derive(Clone, Debug)]
pub struct Installed {
    files: Vec<File>,
}

/// A file of an installed wheel.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it goes, relative to the venv.
    pub path: String,
    /// Its permission bits: 0644 or 0755.
    pub mode: u32,
    /// Its length in bytes.
    pub size: u64,
    /// Its CRC-32.
    pub crc32: u32,
    /// Where its content comes from.
    pub content: Content,
}

/// Where a file's content comes from.
#[derive(Clone, Debug)]
pub enum Content {
    /// An entry of the wheel, as it is; it must be what RECORD says.
    Entry {
        /// Its path in the wheel.
        path: String,
        /// What RECORD says of it.
        line: Line,
    },
    /// A rewritten or generated file.
    Bytes(Vec<u8>),
}

/// Lists what a wheel brings into a venv, but for its own RECORD and INSTALLER.
/// Scripts are listed as they lie in the wheel. Of the wheel, only the end and
/// `entry_points.txt` are read.
///
/// # Errors
/// [`Error`], as [`Installed::of`] for what can be told so far.
pub fn listing<R: ReaderAt>(wheel: &Wheel<R>, scheme: &Scheme) -> Result<Vec<Listed>, Error> {
    let scripts = scripts(wheel, scheme)?;
    let mut listed: Vec<Listed> = placed(wheel, scheme, &scripts)?
        .into_iter()
        .map(|(path, entry)| Listed { path, size: entry.size, crc32: entry.crc32 })
        .collect();
    listed.extend(scripts.iter().map(|(name, target)| {
        let text = target.script(&scheme.interpreter());
        Listed { path: format!("bin/{name}"), size: text.len() as u64, crc32: crc32fast::hash(text.as_bytes()) }
    }));
    listed.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listed)
}

impl Installed {
    /// What `wheel` becomes under `scheme`. Its metadata and scripts are read, its
    /// other contents are not.
    ///
    /// # Errors
    /// [`Error`] if the wheel can't be installed as the specification says.
    pub fn of<R: ReaderAt>(wheel: &Wheel<R>, scheme: &Scheme) -> Result<Self, Error> {
        // "Parse distribution-1.0.dist-info/WHEEL. Check that installer is compatible
        // with Wheel-Version."
        check_version(wheel)?;
        let record = read_record(wheel)?;
        let scripts = scripts(wheel, scheme)?;
        // "If Root-Is-Purelib == 'true', unpack archive into purelib (site-packages).
        // Else unpack archive into platlib (site-packages)." A venv has one for both.
        // "Move each subtree of distribution-1.0.data/ onto its destination path."
        let mut files = Vec::new();
        for (path, entry) in placed(wheel, scheme, &scripts)? {
            let line = check_listed(&record, entry, &wheel.dist_info("RECORD")).map_err(|p| wheel.error(p))?;
            files.push(install(wheel, scheme, path, entry, line)?);
        }
        let interpreter = scheme.interpreter();
        files.extend(
            scripts.iter().map(|(name, target)| {
                generated(format!("bin/{name}"), 0o755, target.script(&interpreter).into_bytes())
            }),
        );
        let own = |file| format!("{}/{}", scheme.site_packages(), wheel.dist_info(file));
        files.push(generated(own("INSTALLER"), 0o644, INSTALLER.to_vec()));
        files.sort_by(|one, other| one.path.cmp(&other.path));
        merge(&mut files).map_err(|problem| wheel.error(problem))?;
        // "Update distribution-1.0.dist-info/RECORD with the installed paths."
        let text = installed_record(&files, scheme, &own("RECORD"));
        files.push(generated(own("RECORD"), 0o644, text.into_bytes()));
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// The files, by path.
    pub fn files(&self) -> &[File] {
        &self.files
    }
}

fn text<R: ReaderAt>(wheel: &Wheel<R>, entry: &Entry) -> Result<String, Error> {
    String::from_utf8(wheel.read(entry)?).map_err(|_| wheel.error(Problem::NotText { path: entry.path.clone() }))
}

fn required<'a, R: ReaderAt>(wheel: &'a Wheel<R>, file: &str) -> Result<&'a Entry, Error> {
    let path = wheel.dist_info(file);
    wheel.directory().find(&path).ok_or_else(|| wheel.error(Problem::Missing { path }))
}

fn check_version<R: ReaderAt>(wheel: &Wheel<R>) -> Result<(), Error> {
    required(wheel, "METADATA")?;
    let text = text(wheel, required(wheel, "WHEEL")?)?;
    let version = text.lines().find_map(|line| line.strip_prefix("Wheel-Version:")).unwrap_or_default().trim();
    // "Warn if minor version is greater, abort if major version is greater."
    if version.split('.').next() != Some("1") {
        return Err(wheel.error(Problem::WheelVersion { version: version.to_owned() }));
    }
    Ok(())
}

/// Reads RECORD; every file that it lists must be there.
fn read_record<R: ReaderAt>(wheel: &Wheel<R>) -> Result<Record, Error> {
    let entry = required(wheel, "RECORD")?;
    let record = Record::parse(&text(wheel, entry)?, &entry.path).map_err(|problem| wheel.error(problem))?;
    let absent = |path: &&str| wheel.directory().find(path).is_none() && !record::is_signature(path, &entry.path);
    if let Some(path) = record.paths().find(absent) {
        return Err(wheel.error(Problem::Absent { path: path.to_owned() }));
    }
    Ok(record)
}

fn scripts<R: ReaderAt>(wheel: &Wheel<R>, scheme: &Scheme) -> Result<BTreeMap<String, Target>, Error> {
    let Some(entry) = wheel.directory().find(&wheel.dist_info("entry_points.txt")) else { return Ok(BTreeMap::new()) };
    let scripts = entry_points::scripts(&text(wheel, entry)?, scheme.python()).map_err(|p| wheel.error(p))?;
    match scripts.keys().map(|name| format!("bin/{name}")).find(|path| scheme.is_reserved(path)) {
        Some(path) => Err(wheel.error(Problem::Reserved { path })),
        None => Ok(scripts),
    }
}

/// Each entry with its place, relative to the venv. What the installer writes itself
/// has none: RECORD, INSTALLER, and scripts that an entry point makes.
fn placed<'a, R: ReaderAt>(
    wheel: &'a Wheel<R>,
    scheme: &Scheme,
    scripts: &BTreeMap<String, Target>,
) -> Result<Vec<(String, &'a Entry)>, Error> {
    let data = format!("{}/", wheel.data_directory());
    let own = [wheel.dist_info("RECORD"), wheel.dist_info("INSTALLER")];
    let mut placed = Vec::new();
    for entry in wheel.directory().entries().iter().filter(|entry| !own.contains(&entry.path)) {
        let path = match entry.path.strip_prefix(&data) {
            None => format!("{}/{}", scheme.site_packages(), entry.path),
            Some(rest) => match data_path(rest, &wheel.name().name, scheme) {
                Some(path) if path.strip_prefix("bin/").is_some_and(|name| is_wrapper(name, scripts)) => continue,
                Some(path) => path,
                None => return Err(wheel.error(Problem::Scheme { path: entry.path.clone() })),
            },
        };
        if scheme.is_reserved(&path) {
            return Err(wheel.error(Problem::Reserved { path }));
        }
        placed.push((path, entry));
    }
    Ok(placed)
}

/// The place of `rest`, a path below `.data/`.
fn data_path(rest: &str, name: &str, scheme: &Scheme) -> Option<String> {
    let (key, rest) = rest.split_once('/')?;
    Some(match key {
        "purelib" | "platlib" => format!("{}/{rest}", scheme.site_packages()),
        "headers" => format!("{}/{rest}", scheme.headers(name)),
        // Scripts lie directly in their directory.
        "scripts" if !rest.contains('/') => format!("bin/{rest}"),
        // `lib64` is a link in a venv: what is written through it lies in `lib`.
        "data" => rest.strip_prefix("lib64/").map_or_else(|| rest.to_owned(), |rest| format!("lib/{rest}")),
        _ => return None,
    })
}

/// Whether `name` is a wrapper that an old build tool put beside its entry point.
fn is_wrapper(name: &str, scripts: &BTreeMap<String, Target>) -> bool {
    let stem = [".exe", "-script.py", ".pya"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    scripts.contains_key(stem)
}

/// "Apart from RECORD and its signatures, installation will fail if any file in the
/// archive is not both mentioned and correctly hashed in RECORD."
fn check_listed(record: &Record, entry: &Entry, own: &str) -> Result<Line, Problem> {
    let line = match record.get(&entry.path) {
        Some(line) => line.clone(),
        None if record::is_signature(&entry.path, own) => Line { hash: None, size: None },
        None => return Err(Problem::Unlisted { path: entry.path.clone() }),
    };
    if line.size.is_some_and(|size| size != entry.size) {
        return Err(Problem::RecordMismatch { path: entry.path.clone(), what: "size" });
    }
    Ok(line)
}

fn install<R: ReaderAt>(
    wheel: &Wheel<R>,
    scheme: &Scheme,
    path: String,
    entry: &Entry,
    line: Line,
) -> Result<File, Error> {
    let script = entry.path.starts_with(&format!("{}/scripts/", wheel.data_directory()));
    // "In wheel, scripts are packaged in {distribution}-{version}.data/scripts/. If the
    // first line of a file in scripts/ starts with exactly b'#!python', rewrite to
    // point to the correct interpreter. Unix installers may need to add the +x bit to
    // these files if the archive was created on Windows."
    if script && wheel.head(entry, PLACEHOLDER.len() as u64)? == PLACEHOLDER {
        let original = wheel.read(entry)?;
        let mut check = record::Check::new(&line);
        check.update(&original);
        check.finish(&entry.path).map_err(|problem| wheel.error(problem))?;
        return Ok(generated(path, 0o755, rewritten(&original, &scheme.interpreter())));
    }
    let mode = if script || entry.executable { 0o755 } else { 0o644 };
    let content = Content::Entry { path: entry.path.clone(), line };
    Ok(File { path, mode, size: entry.size, crc32: entry.crc32, content })
}

fn rewritten(script: &[u8], interpreter: &str) -> Vec<u8> {
    // "The b'#!pythonw' convention is allowed. b'#!pythonw' indicates a GUI script
    // instead of a console script": which is the same interpreter here. Arguments on
    // the line are dropped, as pip and uv drop them.
    let rest = script.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &script[end + 1..]);
    let mut text = entry_points::shebang(interpreter).into_bytes();
    text.push(b'\n');
    text.extend_from_slice(rest);
    text
}

fn generated(path: String, mode: u32, bytes: Vec<u8>) -> File {
    File { path, mode, size: bytes.len() as u64, crc32: crc32fast::hash(&bytes), content: Content::Bytes(bytes) }
}

/// Two entries of a wheel may become one file if they are the same. `files` are sorted.
fn merge(files: &mut Vec<File>) -> Result<(), Problem> {
    let different =
        |pair: &&[File]| pair[0].path == pair[1].path && (pair[0].size, pair[0].crc32) != (pair[1].size, pair[1].crc32);
    if let Some(pair) = files.windows(2).find(different) {
        return Err(Problem::Twice { path: pair[0].path.clone() });
    }
    files.dedup_by(|later, earlier| later.path == earlier.path);
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for file in files.iter() {
        let above = file.path.match_indices('/').map(|(end, _)| &file.path[..end]);
        if let Some(path) = above.into_iter().find(|path| paths.contains(path)) {
            return Err(Problem::FileAndDirectory { path: path.to_owned(), below: file.path.clone() });
        }
    }
    Ok(())
}

/// RECORD as it is installed: sorted, with the paths of here and the hashes of what
/// was rewritten.
fn installed_record(files: &[File], scheme: &Scheme, own: &str) -> String {
    let mut lines: Vec<(String, Line)> = files
        .iter()
        .map(|file| {
            let line = match &file.content {
                Content::Entry { line, .. } => Line { size: Some(file.size), ..line.clone() },
                Content::Bytes(bytes) => Line { hash: Some(Hash::of(bytes)), size: Some(file.size) },
            };
            (scheme.record_path(&file.path), line)
        })
        .collect();
    lines.push((scheme.record_path(own), Line { hash: None, size: None }));
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    let mut text = String::new();
    for (path, line) in &lines {
        record::push(&mut text, path, line);
    }
    text
}
