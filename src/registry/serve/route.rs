//! What a request's path means: the end-points of the distribution-spec.

use crate::oci::Digest;

/// One end-point with its parameters. `end-N` is the number in the
/// distribution-spec's table.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    /// end-1: `/v2/`
    Base,
    /// `/v2/_catalog`, which the specification leaves to the registry.
    Catalog,
    /// end-8: `/v2/<name>/tags/list`
    Tags { name: String },
    /// end-3, 7, 9: `/v2/<name>/manifests/<reference>`
    Manifest { name: String, reference: String },
    /// end-2, 10: `/v2/<name>/blobs/<digest>`
    Blob { name: String, digest: String },
    /// end-4, 11: `/v2/<name>/blobs/uploads/`
    Uploads { name: String },
    /// end-5, 6, 13: `/v2/<name>/blobs/uploads/<reference>`
    Upload { name: String, id: String },
    /// end-12: `/v2/<name>/referrers/<digest>`
    Referrers { name: String, digest: String },
    /// Where tokens are made, outside of `/v2/`.
    Token,
}

impl Route {
    /// Reads a path; nothing for one that is no end-point.
    pub fn of(path: &str) -> Option<Self> {
        if path == super::auth::TOKEN_PATH {
            return Some(Self::Token);
        }
        let rest = path.strip_prefix("/v2")?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Base);
        }
        let parts: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
        let name = |parts: &[&str]| parts.join("/");
        let owned = str::to_owned;
        match parts.as_slice() {
            ["_catalog"] => Some(Self::Catalog),
            [path @ .., "tags", "list"] => Some(Self::Tags { name: name(path) }),
            [path @ .., "blobs", "uploads"] | [path @ .., "blobs", "uploads", ""] => {
                Some(Self::Uploads { name: name(path) })
            }
            [path @ .., "blobs", "uploads", id] => Some(Self::Upload { name: name(path), id: owned(id) }),
            [path @ .., "blobs", digest] => Some(Self::Blob { name: name(path), digest: owned(digest) }),
            [path @ .., "manifests", reference] => {
                Some(Self::Manifest { name: name(path), reference: owned(reference) })
            }
            [path @ .., "referrers", digest] => Some(Self::Referrers { name: name(path), digest: owned(digest) }),
            _ => None,
        }
    }

    /// The repository that the request is about.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Catalog | Self::Token => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

/// How a request names a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reference {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    pub fn of(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(digest) => Some(Self::Digest(digest)),
            Err(_) => is_tag(text).then(|| Self::Tag(text.to_owned())),
        }
    }
}

/// Whether `name` can be a repository's.
pub(super) fn is_name(name: &str) -> bool {
    // "[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    name.len() <= 255 && name.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_plain = |byte: Option<&u8>| byte.copied().is_some_and(plain);
    ends_plain(bytes.first())
        && ends_plain(bytes.last())
        && component
            .split(|c: char| c.is_ascii() && plain(c as u8))
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// Whether `tag` can be a tag.
pub(super) fn is_tag(tag: &str) -> bool {
    // "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// The value of `key` in a query string, decoded.
pub(super) fn query(query: Option<&str>, key: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find_map(|(name, value)| (name == key).then(|| value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_follow_the_grammar_of_the_specification() {
        for good in ["a", "library/ubuntu", "a.b/c_d/e__f/g--h", "0/1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a/", "/a", "a//b", "a..b", "a___b", "-a", "a-", "a/../b", "a.", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_tag("_1.2-x") && is_tag(&"a".repeat(128)));
        assert!(!is_tag("") && !is_tag(".a") && !is_tag("a:b") && !is_tag(&"a".repeat(129)));
    }

    #[test]
    fn a_repository_may_be_called_as_an_end_point_is() {
        let name = "blobs/uploads".to_owned();
        assert_eq!(Route::of("/v2/blobs/uploads/tags/list"), Some(Route::Tags { name }));
        assert_eq!(Route::of("/v2/"), Some(Route::Base));
        assert_eq!(Route::of("/v1/"), None);
        let uploads = Route::Uploads { name: "a/b".into() };
        assert_eq!(Route::of("/v2/a/b/blobs/uploads/"), Some(uploads));
    }
}
