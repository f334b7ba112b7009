//! What a requirement has to look like before uv is asked: the part of PyPA's
//! "dependency specifiers" that can be told cheaply. uv has the last word.

use super::values::{Complaint, Verdict};

/// `name[extra,…] >=1,<2 ; marker` or `name @ URL`.
pub(super) fn requirement(text: &str) -> Verdict {
    let text = text.trim();
    if let Some(option) = text.strip_prefix('-') {
        return Err(refused_option(option));
    }
    let (specifier, marker) = match text.split_once(';') {
        // A URL may hold a `;` of its own: a marker after one stands behind a space.
        _ if text.contains('@') => (text, None),
        Some((specifier, marker)) => (specifier.trim(), Some(marker.trim())),
        None => (text, None),
    };
    if marker == Some("") {
        return Err(
            Complaint::new("nothing follows `;`").hint("an environment marker does: ; python_version < \"3.11\"")
        );
    }
    let rest = extras(name(specifier)?.trim_start())?.trim_start();
    if let Some(url) = rest.strip_prefix('@') {
        return if url.trim().is_empty() { Err(Complaint::new("nothing follows `@`")) } else { Ok(()) };
    }
    let versions = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
    if versions.is_empty() { Ok(()) } else { versions.split(',').try_for_each(|version| clause(version.trim())) }
}

/// As [`requirement`], without extras: a constraint takes none.
pub(super) fn constraint(text: &str) -> Verdict {
    requirement(text)?;
    if text.split(';').next().is_some_and(|specifier| specifier.contains('[')) {
        return Err(Complaint::new("a constraint has no extras").hint("put the extras into `requirements`"));
    }
    Ok(())
}

/// A package's name, and nothing else.
pub(super) fn project_name(text: &str) -> Verdict {
    match name(text)? {
        "" => Ok(()),
        _ => Err(Complaint::new("it is more than a package's name")
            .hint("versions and extras go into `requirements` or `constraints`")),
    }
}

fn refused_option(option: &str) -> Complaint {
    let key = match option.trim_start_matches('-').split([' ', '=']).next() {
        Some("r" | "requirement") => "`requirements-files`",
        Some("c" | "constraint") => "`constraints`",
        Some("i" | "index-url") => "`index-url`",
        Some("extra-index-url") => "`extra-index-url`",
        Some("e" | "editable") => "`projects`, which are built into wheels",
        Some("no-binary") => "`no-binary`",
        _ => return Complaint::new("it is an option of pip's, not a requirement"),
    };
    Complaint::new("it is an option of pip's, not a requirement").hint(format!("there is a key for it: {key}"))
}

// PyPA name format: ^([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])$, ignoring case.
fn name(text: &str) -> Result<&str, Complaint> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    if edge(name.as_bytes().first()) && edge(name.as_bytes().last()) {
        return Ok(rest);
    }
    if text.ends_with(".whl") || text.starts_with('.') || text.contains('/') {
        return Err(Complaint::new("it is a path, not a requirement")
            .hint("wheels on disk go into `wheels`, source trees into `projects`"));
    }
    Err(Complaint::new("it does not begin with a package's name").hint("write name, name[extra] or name>=1.2"))
}

fn extras(text: &str) -> Result<&str, Complaint> {
    let Some(inside) = text.strip_prefix('[') else {
        return Ok(text);
    };
    let (extras, rest) = inside.split_once(']').ok_or_else(|| Complaint::new("`[` without `]`"))?;
    for extra in extras.split(',').map(str::trim).filter(|extra| !extra.is_empty()) {
        if !name(extra)?.is_empty() {
            return Err(Complaint::new(format!("`{extra}` is no extra")));
        }
    }
    Ok(rest)
}

// PyPA version specifiers: ~= == != <= >= < > ===, then a version.
fn clause(text: &str) -> Verdict {
    let operators = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
    let Some(version) = operators.iter().find_map(|operator| text.strip_prefix(operator)) else {
        let complaint = Complaint::new(format!("`{text}` is no version specifier"));
        return Err(complaint.hint("write ==, >=, <=, <, >, != or ~= and a version"));
    };
    let version = version.trim();
    let letters =
        version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'*' | b'+' | b'!' | b'-' | b'_'));
    if version.is_empty() || !letters {
        return Err(Complaint::new(format!("`{version}` is no version")).hint("write a version such as 1.2 or 2.*"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::requirement;

    #[test]
    fn what_pypa_allows_passes_and_what_it_does_not_is_refused() {
        let good = [
            "numpy",
            "a",
            "xgboost<3.3",
            "seaborn[stats] >= 0.13",
            "torch==2.6.0",
            "x (>=1,<2)",
            "x ~= 1.0, != 1.3.*",
            "zope.interface",
            "uvloop; sys_platform != 'win32'",
            "x[a, b]==1!2.0+local",
            "pip @ https://example.org/p.whl",
        ];
        for text in good {
            assert!(requirement(text).is_ok(), "{text}");
        }
        let bad = ["", "-r x.txt", "_x", "x>", "x=1", "x[a", "x 1.0", "./x.whl", "x;", "x @", "x[a b]", "==1.0"];
        for text in bad {
            assert!(requirement(text).is_err(), "{text}");
        }
    }
}
