//! Manifests in and out, and the lists: tags, referrers, the catalog.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::answer::{Body, Refusal, bare, document, set};
use super::route::{Reference, query};
use super::{Registry, blocking};
use crate::oci::{Digest, MAX_MANIFEST, media_type};

impl Registry {
    /// end-3: a manifest, or only its headers.
    pub(super) async fn manifest(
        self: Arc<Self>,
        name: &str,
        reference: &str,
        head: bool,
    ) -> Result<Response<Body>, Refusal> {
        let unknown = || Refusal::manifest_unknown(format!("{name} has no manifest {reference}"));
        let (repository, wanted) = (name.to_owned(), Reference::of(reference).ok_or_else(unknown)?);
        let found = blocking(move || Ok(self.repositories.manifest(&repository, &wanted)?)).await?;
        let found = found.ok_or_else(unknown)?;
        let mut response = document(&found.media_type, found.bytes, head);
        set(&mut response, "docker-content-digest", &found.digest.to_string());
        Ok(response)
    }

    /// end-7: takes a manifest in, once everything that it names is here.
    pub(super) async fn put_manifest(
        self: Arc<Self>,
        name: &str,
        reference: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let reference = Reference::of(reference)
            .ok_or_else(|| Refusal::manifest_invalid(format!("`{reference}` is neither a tag nor a digest")))?;
        let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
        // RFC 9110 8.3: parameters follow the type after a semicolon
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        // "The registry … SHOULD … 413 Payload Too Large" for a manifest over its limit
        let body = Limited::new(body, MAX_MANIFEST as usize).collect().await.map_err(|error| {
            match error.is::<http_body_util::LengthLimitError>() {
                true => Refusal::manifest_too_large(format!("a manifest has at most {MAX_MANIFEST} bytes")),
                false => Refusal::manifest_invalid(error.to_string()),
            }
        })?;
        let (repository, bytes, referrers) = (name.to_owned(), body.to_bytes(), self.features.referrers);
        let (digest, subject) =
            blocking(move || self.repositories.put_manifest(&repository, &reference, &content_type, &bytes)).await?;
        let mut response = bare(StatusCode::CREATED);
        set(&mut response, "location", &format!("/v2/{name}/manifests/{digest}"));
        set(&mut response, "docker-content-digest", &digest.to_string());
        // "OCI-Subject": tells the client that the referrers list has the manifest
        if let Some(subject) = subject.filter(|_| referrers) {
            set(&mut response, "oci-subject", &subject.to_string());
        }
        Ok(response)
    }

    /// end-9: removes a tag, or a manifest with its tags.
    pub(super) async fn delete_manifest(
        self: Arc<Self>,
        name: &str,
        reference: &str,
    ) -> Result<Response<Body>, Refusal> {
        let wanted = Reference::of(reference)
            .ok_or_else(|| Refusal::manifest_unknown(format!("{name} has no manifest {reference}")))?;
        let name = name.to_owned();
        blocking(move || self.repositories.delete_manifest(&name, &wanted)).await?;
        Ok(bare(StatusCode::ACCEPTED))
    }

    /// end-8: a repository's tags.
    pub(super) async fn tags(self: Arc<Self>, name: &str, parameters: Option<&str>) -> Result<Response<Body>, Refusal> {
        let repository = name.to_owned();
        let tags = blocking(move || {
            let tags = self.repositories.tags(&repository)?;
            if tags.is_empty() && !self.repositories.is_known(&repository)? {
                return Err(Refusal::name_unknown(format!("there is no repository {repository}")));
            }
            Ok(tags.into_iter().map(|(tag, _)| tag).collect())
        })
        .await?;
        let (tags, next) = page(tags, parameters);
        let response = document("application/json", to_bytes(&json!({ "name": name, "tags": tags })), false);
        Ok(linked(response, &format!("/v2/{name}/tags/list"), next))
    }

    /// The names of all repositories.
    pub(super) async fn catalog(self: Arc<Self>, parameters: Option<&str>) -> Result<Response<Body>, Refusal> {
        let names = blocking(move || Ok(self.repositories.names()?.into_iter().collect())).await?;
        let (names, next) = page(names, parameters);
        let response = document("application/json", to_bytes(&json!({ "repositories": names })), false);
        Ok(linked(response, "/v2/_catalog", next))
    }

    /// end-12: what refers to a manifest.
    pub(super) async fn referrers(
        self: Arc<Self>,
        name: &str,
        digest: &str,
        parameters: Option<&str>,
    ) -> Result<Response<Body>, Refusal> {
        if !self.features.referrers {
            return Err(Refusal::no_end_point("this registry has no referrers API"));
        }
        let digest: Digest =
            digest.parse().map_err(|error: crate::oci::InvalidDigest| Refusal::digest_invalid(error.to_string()))?;
        let repository = name.to_owned();
        let mut manifests = blocking(move || Ok(self.repositories.referrers(&repository, &digest)?)).await?;
        let filter = query(parameters, "artifactType");
        if let Some(wanted) = &filter {
            manifests.retain(|referrer| referrer.artifact_type.as_ref() == Some(wanted));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests });
        let mut response = document(media_type::INDEX, to_bytes(&index), false);
        if filter.is_some() {
            set(&mut response, "oci-filters-applied", "artifactType");
        }
        Ok(response)
    }
}

/// The part of a list that `n` and `last` ask for, and the query of the next one.
fn page(all: Vec<String>, parameters: Option<&str>) -> (Vec<String>, Option<String>) {
    // "starting with the tag that follows `last`", in lexical order
    let last = query(parameters, "last").unwrap_or_default();
    let mut rest: Vec<String> = all.into_iter().filter(|item| *item > last).collect();
    let Some(count) = query(parameters, "n").and_then(|n| n.parse::<usize>().ok()) else { return (rest, None) };
    let more = rest.len() > count;
    rest.truncate(count);
    let next = rest.last().filter(|_| more).map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("n", &count.to_string()).append_pair("last", last).finish()
    });
    (rest, next)
}

// RFC 8288: Link: <…>; rel="next"
fn linked(mut response: Response<Body>, path: &str, next: Option<String>) -> Response<Body> {
    if let Some(next) = next {
        set(&mut response, "link", &format!("<{path}?{next}>; rel=\"next\""));
    }
    response
}

fn to_bytes(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
