//! The store as repositories: its tags by the path in their references, what was
//! pushed by links. `docker.io/yunseokim/dl-env:1.0` in the store is tag `1.0` of
//! `yunseokim/dl-env` here; what is pushed here is tagged without a host.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::route::Reference;
use crate::oci::{Descriptor, Digest, MAX_MANIFEST, media_type};
use crate::store::{self, Area, Link, Store};

/// A manifest with what it was pushed as.
pub(super) struct Found {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

/// An entry of the referrers list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Referrer {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// The fields of any manifest that a registry looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

pub(super) struct Repositories {
    pub store: Store,
}

impl Repositories {
    /// The names of all repositories, in order.
    pub fn names(&self) -> Result<BTreeSet<String>, store::Error> {
        let mut names: BTreeSet<String> = self.store.repositories()?.into_iter().collect();
        names
            .extend(self.store.tags()?.iter().filter_map(|(reference, _)| Some(path_and_tag(reference)?.0.to_owned())));
        Ok(names)
    }

    /// The tags of `name` in order, with what they name. Where the store has a tag
    /// with a host and the same without one, the latter was pushed here and counts.
    pub fn tags(&self, name: &str) -> Result<Vec<(String, Descriptor)>, store::Error> {
        let mut tags: Vec<(String, bool, Descriptor)> = Vec::new();
        for (reference, descriptor) in self.store.tags()? {
            if let Some((path, tag)) = path_and_tag(&reference)
                && path == name
            {
                tags.push((tag.to_owned(), reference.starts_with(&format!("{name}:")), descriptor));
            }
        }
        tags.sort_by(|a, b| (&a.0, !a.1).cmp(&(&b.0, !b.1)));
        tags.dedup_by(|later, first| later.0 == first.0);
        Ok(tags.into_iter().map(|(tag, _, descriptor)| (tag, descriptor)).collect())
    }

    /// Whether anybody has pushed to `name`, or the store has a tag under it.
    pub fn is_known(&self, name: &str) -> Result<bool, store::Error> {
        Ok(self.names()?.contains(name))
    }

    /// What the tags of `name` lead to.
    fn tagged(&self, name: &str) -> Result<Vec<Descriptor>, store::Error> {
        let mut all = Vec::new();
        for (_, descriptor) in self.tags(name)? {
            all.extend(self.store.closure(&descriptor)?);
        }
        Ok(all)
    }

    /// The length of a blob that `name` has; nothing if it has it not, whatever
    /// other repositories have.
    pub fn blob(&self, name: &str, digest: &Digest) -> Result<Option<u64>, store::Error> {
        let visible = self.store.linked(name, Link::Blob, digest)?.is_some() || self.needed(name, digest)?;
        Ok(if visible { self.store.size(Area::Blobs, digest) } else { None })
    }

    /// Whether a tag of `name` leads to this blob.
    pub fn needed(&self, name: &str, digest: &Digest) -> Result<bool, store::Error> {
        let is_blob = |found: &Descriptor| found.digest == *digest && !is_manifest(&found.media_type);
        Ok(self.tagged(name)?.iter().any(is_blob))
    }

    /// The manifest that `reference` names in `name`.
    pub fn manifest(&self, name: &str, reference: &Reference) -> Result<Option<Found>, store::Error> {
        let known = match reference {
            Reference::Tag(tag) => {
                let tags = self.tags(name)?;
                tags.into_iter().find(|(found, _)| found == tag).map(|(_, found)| (found.media_type, found.digest))
            }
            Reference::Digest(digest) => self.manifest_type(name, digest)?.map(|media_type| (media_type, *digest)),
        };
        let Some((media_type, digest)) = known else { return Ok(None) };
        match self.store.read(Area::Blobs, &digest) {
            Ok(bytes) => Ok(bytes.map(|bytes| Found { media_type, digest, bytes })),
            Err(store::Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn manifest_type(&self, name: &str, digest: &Digest) -> Result<Option<String>, store::Error> {
        if let Some(media_type) = self.store.linked(name, Link::Manifest, digest)? {
            return Ok(Some(media_type));
        }
        let is_it = |found: &Descriptor| found.digest == *digest && is_manifest(&found.media_type);
        Ok(self.tagged(name)?.into_iter().find(is_it).map(|found| found.media_type))
    }

    /// Takes a manifest in, and returns its digest and that of its subject.
    pub fn put_manifest(
        &self,
        name: &str,
        reference: &Reference,
        content_type: &str,
        bytes: &[u8],
    ) -> Result<(Digest, Option<Digest>), Refusal> {
        let digest = Digest::of(bytes);
        if let Reference::Digest(expected) = reference
            && *expected != digest
        {
            return Err(Refusal::digest_invalid(format!("the manifest's digest is {digest}")));
        }
        let document = parse(bytes, content_type)?;
        self.check_children(name, &document)?;
        self.store.put(Area::Blobs, bytes)?;
        self.store.link(name, Link::Manifest, &digest, content_type)?;
        if let Reference::Tag(tag) = reference {
            let descriptor = Descriptor::new(content_type, digest, bytes.len() as u64);
            self.store.tag(&format!("{name}:{tag}"), &descriptor)?;
        }
        Ok((digest, document.subject.map(|subject| subject.digest)))
    }

    // "MANIFEST_BLOB_UNKNOWN: manifest references a manifest or blob unknown to registry"
    fn check_children(&self, name: &str, document: &Document) -> Result<(), Refusal> {
        for blob in document.config.iter().chain(document.layers.iter().flatten()) {
            // image-spec layer.md: non-distributable layers are fetched from their `urls`
            if !blob.urls.is_empty() {
                continue;
            }
            match self.blob(name, &blob.digest)? {
                None => return Err(Refusal::manifest_blob_unknown(format!("{name} has no blob {}", blob.digest))),
                Some(size) if size != blob.size => {
                    let message = format!("blob {} has {size} bytes, not {}", blob.digest, blob.size);
                    return Err(Refusal::manifest_invalid(message));
                }
                Some(_) => {}
            }
        }
        for manifest in document.manifests.iter().flatten() {
            if self.manifest_type(name, &manifest.digest)?.is_none() {
                let message = format!("{name} has no manifest {}", manifest.digest);
                return Err(Refusal::manifest_blob_unknown(message));
            }
        }
        Ok(())
    }

    /// Removes a tag, or a manifest with all tags that name it.
    pub fn delete_manifest(&self, name: &str, reference: &Reference) -> Result<(), Refusal> {
        let unknown = || Refusal::manifest_unknown(format!("{name} has no such manifest"));
        let doomed = |tag: &str, digest: &Digest| match reference {
            Reference::Tag(wanted) => tag == wanted,
            Reference::Digest(wanted) => digest == wanted,
        };
        let mut found = false;
        for (full, descriptor) in self.store.tags()? {
            if let Some((path, tag)) = path_and_tag(&full)
                && path == name
                && doomed(tag, &descriptor.digest)
            {
                found |= self.store.untag(&full)?;
            }
        }
        if let Reference::Digest(digest) = reference {
            found |= self.store.unlink(name, Link::Manifest, digest)?;
            if self.manifest_type(name, digest)?.is_some() {
                return Err(Refusal::denied(format!("an index of {name} needs {digest}")));
            }
        }
        if found { Ok(()) } else { Err(unknown()) }
    }

    /// Takes a blob away from `name`; its bytes stay until the store is collected.
    pub fn delete_blob(&self, name: &str, digest: &Digest) -> Result<(), Refusal> {
        if self.needed(name, digest)? {
            return Err(Refusal::denied(format!("a tag of {name} needs {digest}")));
        }
        if self.store.unlink(name, Link::Blob, digest)? {
            return Ok(());
        }
        Err(Refusal::blob_unknown(format!("{name} has no blob {digest}")))
    }

    /// The manifests of `name` whose `subject` is `digest`.
    pub fn referrers(&self, name: &str, subject: &Digest) -> Result<Vec<Referrer>, store::Error> {
        let mut digests: BTreeSet<Digest> = self.store.links(name, Link::Manifest)?.into_iter().collect();
        digests.extend(self.tagged(name)?.iter().filter(|found| is_manifest(&found.media_type)).map(|d| d.digest));
        let mut referrers = Vec::new();
        for digest in digests {
            let Some(found) = self.manifest(name, &Reference::Digest(digest))? else { continue };
            let Ok(document) = parse(&found.bytes, &found.media_type) else { continue };
            if document.subject.as_ref().is_some_and(|found| found.digest == *subject) {
                let mut descriptor = Descriptor::new(&found.media_type, digest, found.bytes.len() as u64);
                descriptor.annotations = document.annotations;
                // "If the artifactType is empty or missing in the image manifest, the value of
                // artifactType MUST be set to the config descriptor mediaType value."
                let artifact_type =
                    document.artifact_type.filter(|it| !it.is_empty()).or(document.config.map(|it| it.media_type));
                referrers.push(Referrer { descriptor, artifact_type });
            }
        }
        Ok(referrers)
    }
}

fn is_manifest(media_type: &str) -> bool {
    media_type::ACCEPTED_MANIFESTS.contains(&media_type)
}

fn parse(bytes: &[u8], content_type: &str) -> Result<Document, Refusal> {
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(Refusal::manifest_too_large(format!("a manifest has at most {MAX_MANIFEST} bytes")));
    }
    if !is_manifest(content_type) {
        return Err(Refusal::manifest_invalid(format!("`{content_type}` is no manifest that this registry takes")));
    }
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| Refusal::manifest_invalid(error.to_string()))?;
    // "If the manifest has a `mediaType` field … its value MUST match the Content-Type header"
    if document.media_type.as_deref().is_some_and(|inside| inside != content_type) {
        return Err(Refusal::manifest_invalid("Content-Type and `mediaType` differ"));
    }
    let is_index = media_type::normalised(content_type) == media_type::INDEX;
    let fits = match is_index {
        true => document.manifests.is_some() && document.layers.is_none() && document.config.is_none(),
        false => document.manifests.is_none() && document.layers.is_some() && document.config.is_some(),
    };
    match fits {
        true => Ok(document),
        false => Err(Refusal::manifest_invalid(format!("the fields are not those of a `{content_type}`"))),
    }
}

/// A reference's path and tag, without its host. Nothing for a name that no
/// repository could have.
fn path_and_tag(reference: &str) -> Option<(&str, &str)> {
    let path = match reference.split_once('/') {
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => rest,
        _ => reference,
    };
    let (name, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
    (super::route::is_name(name) && super::route::is_tag(tag)).then_some((name, tag))
}

#[cfg(test)]
mod tests {
    use super::path_and_tag;

    #[test]
    fn a_repository_is_the_path_of_a_reference() {
        assert_eq!(path_and_tag("docker.io/yunseokim/dl-env:1.0"), Some(("yunseokim/dl-env", "1.0")));
        assert_eq!(path_and_tag("localhost:5000/x:a"), Some(("x", "a")));
        assert_eq!(path_and_tag("x"), Some(("x", "latest")));
        assert_eq!(path_and_tag("team/x:a"), Some(("team/x", "a")));
        assert_eq!(path_and_tag("X:a"), None);
        assert_eq!(path_and_tag("localhost:5000/x@sha256:00"), None);
    }
}
