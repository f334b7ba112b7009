//! What the strings of a recipe may be: paths, names, ports, modes, each by the
//! rules of those who read them in the end.

use oci_client::{ParseError, Reference};

use crate::oci::{Platform, substitute};

use super::error::Problem;

/// What is wrong with a value, and what to write instead.
pub(super) struct Complaint {
    why: String,
    hint: Option<String>,
    secret: bool,
}

impl Complaint {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None, secret: false }
    }

    /// A secret that is not to be shown: what it holds, and where it belongs.
    fn secret(why: &str, hint: &str) -> Self {
        Self { why: why.to_owned(), hint: Some(hint.to_owned()), secret: true }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The hint, if it has none of its own.
    pub(super) fn or_hint(self, hint: &str) -> Self {
        Self { hint: self.hint.or(Some(hint.to_owned())), ..self }
    }

    /// What is wrong, without what to write instead.
    pub(super) fn why(self) -> String {
        self.why
    }

    pub(super) fn about(self, what: impl Into<String>, value: &str) -> Problem {
        if self.secret {
            return Problem::Secret { what: what.into(), why: self.why, hint: self.hint.unwrap_or_default() };
        }
        Problem::Value { what: what.into(), value: value.to_owned(), why: self.why, hint: self.hint }
    }
}

/// A rule's verdict.
pub(super) type Verdict = Result<(), Complaint>;

fn ensure(holds: bool, why: &str) -> Verdict {
    if holds { Ok(()) } else { Err(Complaint::new(why)) }
}

/// Anything that an image config can hold.
pub(super) fn any(text: &str) -> Verdict {
    ensure(!text.contains('\0'), "it has a NUL in it")
}

/// Anything but nothing.
pub(super) fn something(text: &str) -> Verdict {
    ensure(!text.trim().is_empty(), "it is empty")?;
    any(text)
}

/// A path in the image: absolute, in its shortest form.
pub(super) fn image_path(path: &str) -> Verdict {
    let Some(relative) = path.strip_prefix('/') else {
        return Err(Complaint::new("a path in the image is absolute")
            .hint("write it from `/` on, without `~` or variables of a shell"));
    };
    let odd = |part: &str| matches!(part, "" | "." | "..");
    if relative.split('/').any(odd) {
        return Err(
            Complaint::new("it has an empty part, `.` or `..` in it").hint("name one file or directory below `/`")
        );
    }
    ensure(!path.contains(char::is_control), "it has a control character in it")
}

/// A path in the image that a line of `/etc/passwd` can hold: passwd(5).
pub(super) fn account_path(path: &str) -> Verdict {
    image_path(path)?;
    ensure(!path.contains(':'), "`:` divides the fields of /etc/passwd")
}

/// A directory in the image, which may be `/`.
pub(super) fn image_directory(path: &str) -> Verdict {
    if path == "/" { Ok(()) } else { image_path(path) }
}

/// A path on disk, from the directory of the file that names it.
pub(super) fn recipe_path(path: &str) -> Verdict {
    if path.starts_with("~/") {
        return Err(Complaint::new("a lock has to work for everybody, and a home is somebody's")
            .hint("put it beside the recipe, and write its path from there"));
    }
    home_path(path)
}

/// As [`recipe_path`], or from the caller's home with `~/`.
pub(super) fn home_path(path: &str) -> Verdict {
    something(path)?;
    if path.starts_with('/') {
        return Err(Complaint::new("a lock has to work on every machine, and an absolute path does not")
            .hint("put it beside the recipe, and write its path from there"));
    }
    Ok(())
}

/// `path` from the recipe's directory, where it stood in a file in `directory`;
/// `~/` and URLs stay what they are.
pub(super) fn rebased(directory: &str, path: &str) -> String {
    if path.starts_with("~/") {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// A layer's name.
pub(super) fn layer_name(name: &str) -> Verdict {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    ensure(!name.is_empty() && letters, "a layer's name is lower-case letters, digits, `-`, `_` and `.`")
}

/// An image in a registry, or `scratch`.
pub(super) fn image(reference: &str) -> Verdict {
    let parsed = reference.parse::<Reference>();
    let parsed = parsed.and_then(|name| if is_lower(&name) { Ok(()) } else { Err(ParseError::NameContainsUppercase) });
    parsed.map_err(|error| {
        Complaint::new(error.to_string())
            .hint("write [REGISTRY/]NAME[:TAG][@DIGEST], such as nvidia/cuda:12.4.1-devel-ubuntu22.04")
    })
}

/// A repository in a registry: whatever its tags name.
pub(super) fn repository(name: &str) -> Verdict {
    let form = "write [REGISTRY/]NAME, such as registry.example.org/team/wheels";
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Err(Complaint::new("a repository is named without a tag or a digest").hint(form));
    }
    let parsed = name.parse::<Reference>().map_err(|error| Complaint::new(error.to_string()).hint(form))?;
    ensure(is_lower(&parsed), "a repository's name is lowercase")
}

// distribution-spec: names are lower case, which the parser leaves to others
fn is_lower(name: &Reference) -> bool {
    !name.repository().contains(|letter: char| letter.is_ascii_uppercase())
}

/// The name of an archive: what its `Release` has as its origin, in lower case.
pub(super) fn origin(name: &str) -> Verdict {
    let holds = plain(name) && !name.bytes().any(|b| b.is_ascii_uppercase());
    ensure(holds, "an archive is named by its origin, in lower case: \"debian\" or \"ubuntu\"")
}

/// A suite of an archive, by its codename.
pub(super) fn codename(name: &str) -> Verdict {
    ensure(plain(name), "a suite is named by its codename, such as \"bookworm\" or \"noble\"")
}

fn plain(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+');
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && name.bytes().all(inner)
}

/// A platform, `os/architecture`.
pub(super) fn platform(text: &str) -> Verdict {
    text.parse::<Platform>()
        .map(drop)
        .map_err(|_| Complaint::new("a platform is os/architecture[/variant]").hint("write linux/amd64 or linux/arm64"))
}

/// `8888`, `8888/tcp`: image-spec `config.md`, ExposedPorts.
pub(super) fn exposed(text: &str) -> Verdict {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let holds = port.parse::<u16>().is_ok_and(|port| port > 0) && matches!(protocol, "tcp" | "udp" | "sctp");
    ensure(holds, "a port is a number from 1 to 65535, alone or with `/tcp` or `/udp`")
}

/// `user`, `uid`, `user:group`, `uid:gid`: image-spec `config.md`, User.
pub(super) fn image_user(text: &str) -> Verdict {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    let holds = match text.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(text),
    };
    ensure(holds, "the image's user is `user`, `uid`, `user:group` or `uid:gid`")
}

/// The name of an environment variable: POSIX.1-2017, 3.235.
pub(super) fn environment(name: &str) -> Verdict {
    let head = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let holds = head && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    ensure(holds, "an environment variable's name is letters, digits and `_`, and does not begin with a digit")
}

/// The value of an environment variable, which may speak of those of the base.
pub(super) fn with_variables(text: &str) -> Verdict {
    any(text)?;
    substitute(text, &|_| None).map(drop).map_err(|inside| {
        Complaint::new(format!("`${{{inside}` is no variable of the base"))
            .hint("in a recipe's file it is $${NAME}, $${NAME:-WORD} or $${NAME:+WORD}; '\\$' is a `$`")
    })
}

/// A login name or a group: what Debian's adduser and useradd take by default.
pub(super) fn login(name: &str) -> Verdict {
    let head = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let tail = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if head && tail && name.len() <= 32 {
        return Ok(());
    }
    Err(Complaint::new(
        "a name on Debian is at most 32 lower-case letters, digits, `-` and `_`, and begins with a letter or `_`",
    ))
}

/// A line of `authorized_keys`: sshd(8).
pub(super) fn authorized_key(line: &str) -> Verdict {
    if line.contains("PRIVATE KEY") {
        return Err(Complaint::secret("holds a private key", "give the public half, the file that ends in .pub"));
    }
    let types = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let holds =
        !line.contains('\n') && line.split_whitespace().any(|word| types.iter().any(|kind| word.starts_with(kind)));
    ensure(holds, "an authorised key is one line, `ssh-ed25519 AAAA… comment`")
}

/// Where a password's hash comes from: an environment variable, or `file:PATH`.
pub(super) fn secret(source: &str) -> Verdict {
    let held = match source.strip_prefix("file:") {
        Some(path) => !path.is_empty(),
        None => environment(source).is_ok(),
    };
    if held && !source.starts_with('$') {
        return Ok(());
    }
    Err(Complaint::secret(
        "names where a password's hash comes from, and can't be the hash",
        "write the name of an environment variable, or file:PATH; `openssl passwd -6` makes a hash",
    ))
}

/// Whether a secret can be called `name`: it is a file's name below /run/secrets.
pub fn is_secret_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    plain && !name.trim_matches('.').is_empty()
}

/// A secret's name, as `--secret` gives it.
pub(super) fn secret_name(name: &str) -> Verdict {
    ensure(is_secret_name(name), "a secret's name is letters, digits, `.`, `-` and `_`")
}

/// What `apt-get install` is given: `name[:architecture][=version]` (Debian policy
/// 5.6.1, 5.6.7, 5.6.12). A name that ends in `-` would mean "remove".
pub(super) fn package(text: &str) -> Verdict {
    let (package, version) = text.split_once('=').map_or((text, None), |(package, version)| (package, Some(version)));
    let (name, named) = package.split_once(':').map_or((package, None), |(name, named)| (name, Some(named)));
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let holds = name.len() >= 2
        && letter(name.as_bytes()[0])
        && name.bytes().all(|b| letter(b) || matches!(b, b'+' | b'-' | b'.'))
        && !name.ends_with('-');
    ensure(holds, "a package's name is lower-case letters, digits, `+`, `-` and `.`, alone or with `=VERSION`")?;
    named.map_or(Ok(()), architecture)?;
    let of_version = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b':' | b'~');
    let versioned = version.is_none_or(|version| !version.is_empty() && version.bytes().all(of_version));
    ensure(versioned, "a package's version is letters, digits, `.`, `+`, `-`, `:` and `~`")
}

/// A package of a base that is made of an archive: `name[=version]`. As with debootstrap, all are
/// of one architecture.
pub(super) fn base_package(text: &str) -> Verdict {
    package(text)?;
    let why = "the packages of a base are of its own architecture";
    let hint = "name another architecture in an `apt` layer: the base's own apt resolves it";
    let name = text.split('=').next().unwrap_or_default();
    if name.contains(':') { Err(Complaint::new(why).hint(hint)) } else { Ok(()) }
}

/// A suite of an archive, or a path in it that ends in `/`: sources.list(5).
pub(super) fn suite(text: &str) -> Verdict {
    word(text, "a suite is a name such as `bookworm`, or a path that ends in `/`")
}

/// A component of a suite: sources.list(5).
pub(super) fn component(text: &str) -> Verdict {
    word(text, "a component is a name such as `main`")
}

/// Something that a field of apt's holds several of, divided by spaces.
fn word(text: &str, why: &str) -> Verdict {
    let holds = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'[' | b']'));
    ensure(holds, why)
}

/// An architecture of Debian's: policy 5.6.8.
pub(super) fn architecture(text: &str) -> Verdict {
    let holds = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure(holds, "an architecture is a name such as `amd64` or `arm64`")
}

/// Where an archive is, which a lock can't leak a password through.
pub(super) fn archive(text: &str) -> Verdict {
    let url = url::Url::parse(text).map_err(|error| Complaint::new(format!("it is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Complaint::new("an archive is reached by https or http"));
    }
    if url.password().is_some() {
        return Err(Complaint::secret(
            "holds a password, which would end up in the lock",
            "take an archive, or a mirror of it, that needs none",
        ));
    }
    ensure(!text.contains(char::is_whitespace), "it has a space in it")
}

/// Python's version, `3.N`.
pub(super) fn python(version: &str) -> Verdict {
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse::<u8>().ok());
    if minor.is_some_and(|minor| minor >= 8 && version == format!("3.{minor}")) {
        return Ok(());
    }
    Err(Complaint::new("a version of Python is 3.8, 3.9, 3.10 and so on")
        .hint("write major and minor alone, such as \"3.10\""))
}

/// A URL that a lock can't leak a password through.
pub(super) fn index(text: &str) -> Verdict {
    let url = url::Url::parse(text).map_err(|error| Complaint::new(format!("it is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https" | "file") {
        return Err(Complaint::new("an index is reached by https, http or file"));
    }
    if url.password().is_some() {
        return Err(Complaint::secret(
            "holds a password, which would end up in the lock",
            "put it into ~/.netrc, or into uv's or pip's own settings",
        ));
    }
    Ok(())
}

/// A sha256, 64 hex digits.
pub(super) fn sha256(text: &str) -> Verdict {
    let holds = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    ensure(holds, "a sha256 is 64 digits of lower-case hex")
}

/// Permission bits in octal.
pub(super) fn mode(text: &str) -> Verdict {
    let octal = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let holds = octal && (3..=5).contains(&text.len()) && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    ensure(holds, "permission bits are three or four digits from 0 to 7, such as 0644")
}

/// `UID` or `UID:GID`.
pub(super) fn owner(text: &str) -> Verdict {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let id = |id: &str| id.parse::<u32>().is_ok_and(|id| id < u32::MAX);
    ensure(id(uid) && id(gid), "an owner is UID or UID:GID, in numbers: names differ from image to image")
}

/// A name in the time zone database, `Asia/Seoul`.
pub(super) fn zone(text: &str) -> Verdict {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    if text.split('/').all(part) {
        return Ok(());
    }
    Err(Complaint::new("a time zone is a name such as Asia/Seoul, Europe/Berlin or Etc/UTC")
        .hint("`timedatectl list-timezones` or /usr/share/zoneinfo has them all"))
}
