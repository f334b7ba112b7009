//! Pushing: a blob is looked for, then mounted, then uploaded; a manifest is put.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::client::Call;
use super::http::redacted;
use super::origin::BlobOrigin;
use super::repository::{Repository, address, announced_digest};
use super::token::Scope;
use super::upload::Upload;
use super::upload::session::Session;
use super::{Error, RequestKind};
use crate::oci::{Descriptor, Digest};
use crate::progress::Task;

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Uploaded {
        /// The bytes that went over the wire, those sent twice counted twice.
        bytes: u64,
        /// The bytes that the registry had from an earlier run.
        resumed: u64,
    },
}

impl Pushed {
    /// The same in a word or two, for a person.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Existed => "already there",
            Self::Mounted => "mounted",
            Self::Uploaded { resumed: 0, .. } => "sent",
            Self::Uploaded { .. } => "sent to its end",
        }
    }
}

/// How an upload went further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// So many bytes were sent that had not been before.
    Sent(u64),
    /// So many bytes need not be sent: the registry has them from an earlier run.
    Kept(u64),
}

impl Transfer {
    /// Says so of `task`.
    pub fn tell(self, task: &Task) {
        match self {
            Self::Sent(bytes) => task.advance(bytes),
            Self::Kept(bytes) => task.skip(bytes),
        }
    }
}

impl Repository {
    /// Makes sure that the blob is in this repository: by a `HEAD`, by mounting it
    /// from `mount_from` where that is at the same host, by uploading it from
    /// `origin`. Memory does not grow with the blob. `progress` hears of bytes that
    /// went further than any before, which add up to the blob's size if it is
    /// uploaded. An upload that an earlier process began is gone on with where the
    /// settings name a journal. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`Error::Origin`], [`Error::OriginStore`], [`Error::OriginMissing`] if the
    /// origin's bytes can't be read or aren't the blob's; [`Error::Location`];
    /// [`Error::Stored`]; those of any request, and of the origin's if it is a
    /// repository.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        origin: &BlobOrigin,
        mount_from: Option<&Repository>,
        progress: &(dyn Fn(Transfer) + Sync),
    ) -> Result<Pushed, Error> {
        if self.has_blob(descriptor).await? {
            return Ok(Pushed::Existed);
        }
        let session = match mount_from.filter(|from| from.is_beside(self)) {
            Some(from) => match self.mount(descriptor, &from.places.push.name).await? {
                Mount::Mounted => return Ok(Pushed::Mounted),
                Mount::Declined(session) => session,
            },
            None => None,
        };
        Upload::new(self, descriptor, origin, progress).await?.run(session).await
    }

    /// Takes a blob from `from`, another repository of the registry; whether that did it.
    /// A session that the registry began in its stead ends by itself.
    ///
    /// # Errors
    /// Those of any request, but that the registry refuses it.
    pub async fn mount_blob(&self, descriptor: &Descriptor, from: &Repository) -> Result<bool, Error> {
        Ok(from.is_beside(self) && matches!(self.mount(descriptor, &from.places.push.name).await?, Mount::Mounted))
    }

    /// distribution-spec "Mounting a blob from another repository".
    async fn mount(&self, descriptor: &Descriptor, from: &str) -> Result<Mount, Error> {
        let place = &self.places.push;
        let site = self.client.site(place).await?;
        let mut url = address(&site, place, "blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &descriptor.digest.to_string()).append_pair("from", from);
        let call = Call::new(RequestKind::MountBlob, Method::POST, url.clone(), Scope::mount(&place.name, from));
        match self.client.send(place, &call).await {
            Ok(response) if response.status() == StatusCode::CREATED => {
                check_stored(&response, &descriptor.digest)?;
                Ok(Mount::Mounted)
            }
            // "the registry MUST … return a 202": an upload session like any other
            Ok(response) => Ok(Mount::Declined(Session::of(&site, &response).ok())),
            // A registry that doesn't mount, or a token server that won't let us read there: upload.
            Err(Error::Refused { .. } | Error::Unauthorized { .. }) => Ok(Mount::Declined(None)),
            Err(error) => Err(error),
        }
    }

    /// Stores a manifest under `wanted`, a tag or its digest, and returns its
    /// digest. Its blobs must be there. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`Error::Stored`] if the registry announces another digest; those of any request.
    pub async fn push_manifest(&self, wanted: &str, media_type: &str, bytes: &[u8]) -> Result<Digest, Error> {
        let place = &self.places.push;
        let site = self.client.site(place).await?;
        let url = address(&site, place, &format!("manifests/{wanted}"))?;
        let mut call = Call::new(RequestKind::PutManifest, Method::PUT, url.clone(), Scope::push(&place.name));
        let unusable = |_| Error::Header { url: redacted(&url), header: "Content-Type" };
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_str(media_type).map_err(unusable)?);
        call.body = Some(Bytes::copy_from_slice(bytes));
        let digest = Digest::of(bytes);
        check_stored(&self.client.send(place, &call).await?, &digest)?;
        Ok(digest)
    }

    /// Removes the manifest `digest` and with it the tags that name it; whether it was
    /// there. Its blobs stay until the registry collects its garbage.
    ///
    /// # Errors
    /// [`Error::Refused`] where the registry deletes nothing; those of any request.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let place = &self.places.push;
        let site = self.client.site(place).await?;
        let url = address(&site, place, &format!("manifests/{digest}"))?;
        let mut call = Call::new(RequestKind::DeleteManifest, Method::DELETE, url, Scope::delete(&place.name));
        call.expected = &[StatusCode::NOT_FOUND];
        Ok(self.client.send(place, &call).await?.status() != StatusCode::NOT_FOUND)
    }
}

enum Mount {
    Mounted,
    /// With a session to upload into, if the registry began one.
    Declined(Option<Session>),
}

/// Whether the registry says that it stored what was sent.
pub(super) fn check_stored(response: &Response, expected: &Digest) -> Result<(), Error> {
    match announced_digest(response)? {
        Some(found) if found != *expected => {
            Err(Error::Stored { url: redacted(response.url()), expected: *expected, found: found.to_string() })
        }
        _ => Ok(()),
    }
}
