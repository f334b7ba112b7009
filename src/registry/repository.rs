//! One repository: its manifests and tags, and whether a blob is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::body::{missing, read_limited};
use super::client::{Call, Client, Site};
use super::config::{Place, Places};
use super::http::redacted;
use super::retry::Failure;
use super::token::Scope;
use super::{Error, Reference, RequestKind};
use crate::oci::{Descriptor, Digest, MAX_MANIFEST, ManifestOrIndex, media_type, parse_manifest};

/// How many pages of a list are read before a registry is taken to lead us in circles.
const MAX_PAGES: usize = 1000;

/// The header in which a registry says what a body's digest is.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository at a registry and its mirrors. Cheap to clone.
///
/// What is read comes from the first mirror that has it, else from the
/// repository itself; what is written, and questions about what is there already
/// (`has_manifest`, `has_blob`), go to the repository itself.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) client: Arc<Client>,
    pub(super) reference: Reference,
    pub(super) places: Places,
}

impl Repository {
    /// The reference that it was made from.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Where it is pushed to.
    pub fn place(&self) -> &Place {
        &self.places.push
    }

    /// Whether `other` is the same repository of the same registry.
    pub fn is(&self, other: &Self) -> bool {
        (&self.places.push.host, &self.places.push.name) == (&other.places.push.host, &other.places.push.name)
    }

    /// Whether `other` is another repository of the same registry: blobs can be mounted
    /// from one into the other.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.places.push.host == other.places.push.host && self.places.push.name != other.places.push.name
    }

    /// The manifest or index that `wanted`, a tag or a digest, names: its
    /// descriptor, and the very bytes. They have been parsed once and are a manifest
    /// or an index of the type that the descriptor says.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::TooLarge`] over 4 MiB; [`Error::Digest`] if
    /// the bytes are not `wanted`, or not what the registry itself announces for a
    /// tag; [`Error::Manifest`]; and those of any request.
    pub async fn manifest(&self, wanted: &str) -> Result<(Descriptor, Vec<u8>), Error> {
        let mut last = None;
        for place in &self.places.pull {
            match self.manifest_at(place, wanted).await {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::Address { name: self.reference.whole() }))
    }

    /// The same from the repository itself, whatever mirrors it has: what stands there is
    /// what those who may write to it have put there. Nothing if there is no such manifest.
    ///
    /// # Errors
    /// Those of [`Repository::manifest`], but [`Error::NotFound`].
    pub async fn own_manifest(&self, wanted: &str) -> Result<Option<(Descriptor, Vec<u8>)>, Error> {
        match self.manifest_at(&self.places.push, wanted).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn manifest_at(&self, place: &Place, wanted: &str) -> Result<(Descriptor, Vec<u8>), Error> {
        let call = self.manifest_call(RequestKind::GetManifest, Method::GET, place, wanted).await?;
        let mut attempts = self.client.attempts(place);
        loop {
            let failure = match self.client.attempt(place, &call).await {
                Ok(response) => {
                    self.note_pull_limit(place, &response);
                    match read_manifest(response, wanted, self.client.retry.silence).await {
                        Ok(found) => return Ok(found),
                        Err(error) => Failure::from(error),
                    }
                }
                Err(failure) => failure,
            };
            attempts.after(failure).await.map_err(|error| missing(error, wanted, &place.to_string()))?;
        }
    }

    /// The descriptor of the manifest that `wanted` names, if it is there. Nothing
    /// is verified but its form.
    ///
    /// # Errors
    /// [`Error::Header`] if the registry leaves out type, length or digest; those of any request.
    pub async fn has_manifest(&self, wanted: &str) -> Result<Option<Descriptor>, Error> {
        let place = &self.places.push;
        let mut call = self.manifest_call(RequestKind::HeadManifest, Method::HEAD, place, wanted).await?;
        call.expected = &[StatusCode::NOT_FOUND];
        let response = self.client.send(place, &call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.note_pull_limit(place, &response);
        described(&response, wanted).map(Some)
    }

    pub(super) async fn manifest_call(
        &self,
        kind: RequestKind,
        method: Method,
        place: &Place,
        wanted: &str,
    ) -> Result<Call, Error> {
        let site = self.client.site(place).await?;
        let url = address(&site, place, &format!("manifests/{wanted}"))?;
        let mut call = Call::new(kind, method, url, Scope::pull(&place.name));
        for accepted in media_type::ACCEPTED_MANIFESTS {
            call.headers.append(ACCEPT, HeaderValue::from_static(accepted));
        }
        Ok(call)
    }

    /// Whether the blob is in this very repository, with the length that `descriptor` says.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.head_blob(descriptor, Scope::push(&self.places.push.name)).await
    }

    /// The same for whoever may only read there.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn offers_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.head_blob(descriptor, Scope::pull(&self.places.push.name)).await
    }

    async fn head_blob(&self, descriptor: &Descriptor, scope: Scope) -> Result<bool, Error> {
        let place = &self.places.push;
        let site = self.client.site(place).await?;
        let url = address(&site, place, &format!("blobs/{}", descriptor.digest))?;
        let mut call = Call::new(RequestKind::HeadBlob, Method::HEAD, url, scope);
        call.expected = &[StatusCode::NOT_FOUND];
        let response = self.client.send(place, &call).await?;
        // distribution-spec: a HEAD's Content-Length is a SHOULD
        let same = content_length(response.headers()).is_none_or(|length| length == descriptor.size);
        Ok(response.status() != StatusCode::NOT_FOUND && same)
    }

    /// A small blob whole: a config.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `descriptor` says that it has more than 4 MiB; those of [`Repository::pull_blob`].
    pub async fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.size > MAX_MANIFEST {
            return Err(Error::TooLarge {
                url: format!("{}@{}", self.place(), descriptor.digest),
                limit: MAX_MANIFEST,
            });
        }
        let mut bytes = Vec::new();
        let mut stream = self.pull_blob(descriptor);
        while let Some(chunk) = stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// All tags, in the registry's order.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such repository; [`Error::Header`] if
    /// the list has no end, or goes on at another host; those of any request.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let pages = self.list::<Page>("tags/list?n=1000").await?;
        Ok(pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).collect())
    }

    /// All pages of a list.
    async fn list<P: serde::de::DeserializeOwned>(&self, tail: &str) -> Result<Vec<P>, Error> {
        match self.pages(tail, MAX_PAGES).await? {
            (pages, None) => Ok(pages),
            (_, Some(url)) => Err(Error::Header { url: redacted(&url), header: "Link" }),
        }
    }

    /// The first pages of a list, and where it goes on if there are more.
    pub(super) async fn pages<P: serde::de::DeserializeOwned>(
        &self,
        tail: &str,
        limit: usize,
    ) -> Result<(Vec<P>, Option<Url>), Error> {
        let place = &self.places.push;
        let site = self.client.site(place).await?;
        let mut next = Some(address(&site, place, tail)?);
        let mut pages = Vec::new();
        while let Some(url) = next.take_if(|_| pages.len() < limit.min(MAX_PAGES)) {
            let unusable = |header| Error::Header { url: redacted(&url), header };
            if url.origin() != site.base.origin() {
                return Err(unusable("Link"));
            }
            let call = Call::new(RequestKind::List, Method::GET, url.clone(), Scope::pull(&place.name));
            let response = self.client.send(place, &call).await;
            let what = tail.split_once('?').map_or(tail, |(what, _)| what);
            let response = response.map_err(|error| missing(error, what, &place.to_string()))?;
            next = next_page(&url, response.headers());
            let body = read_limited(response, MAX_MANIFEST, self.client.retry.silence).await?;
            pages.push(serde_json::from_slice(&body).map_err(|_| unusable("list"))?);
        }
        Ok((pages, next))
    }
}

/// The manifest `wanted` as the headers of an answer describe it.
pub(super) fn described(response: &Response, wanted: &str) -> Result<Descriptor, Error> {
    let header = |header| Error::Header { url: redacted(response.url()), header };
    let digest = match wanted.parse() {
        Ok(digest) => digest,
        Err(_) => announced_digest(response)?.ok_or_else(|| header("Docker-Content-Digest"))?,
    };
    let size = content_length(response.headers()).ok_or_else(|| header("Content-Length"))?;
    Ok(Descriptor::new(&content_type(response)?, digest, size))
}

async fn read_manifest(response: Response, wanted: &str, silence: Duration) -> Result<(Descriptor, Vec<u8>), Error> {
    let url = redacted(response.url());
    let media_type = content_type(&response)?;
    let announced = announced_digest(&response)?;
    let bytes = read_limited(response, MAX_MANIFEST, silence).await?;
    let found = Digest::of(&bytes);
    for expected in wanted.parse().ok().into_iter().chain(announced) {
        if expected != found {
            return Err(Error::Digest { url, expected, found });
        }
    }
    match parse_manifest(&bytes, &media_type) {
        Ok(ManifestOrIndex::Manifest(_) | ManifestOrIndex::Index(_)) => {}
        Err(source) => return Err(Error::Manifest { url, source }),
    }
    Ok((Descriptor::new(&media_type, found, bytes.len() as u64), bytes))
}

/// The media type without its parameters (RFC 9110 8.3).
fn content_type(response: &Response) -> Result<String, Error> {
    let text = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let bare = text.and_then(|text| text.split(';').next()).map(str::trim).filter(|bare| !bare.is_empty());
    bare.map(str::to_owned).ok_or_else(|| Error::Header { url: redacted(response.url()), header: "Content-Type" })
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the registry says that the digest is. One of another algorithm says nothing to us.
pub(super) fn announced_digest(response: &Response) -> Result<Option<Digest>, Error> {
    let Some(value) = response.headers().get(CONTENT_DIGEST) else { return Ok(None) };
    let unusable = || Error::Header { url: redacted(response.url()), header: "Docker-Content-Digest" };
    let text = value.to_str().map_err(|_| unusable())?;
    if text.starts_with("sha512:") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| unusable())
}

/// distribution-spec: `Link: </v2/<name>/tags/list?n=…&last=…>; rel="next"`
fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| url.join(target).ok())?
}

pub(super) fn address(site: &Site, place: &Place, tail: &str) -> Result<Url, Error> {
    let path = format!("v2/{}/{tail}", place.name);
    site.base.join(&path).map_err(|_| Error::Address { name: format!("{place}/{tail}") })
}
