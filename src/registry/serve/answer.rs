//! Responses, and refusals with the error codes of the distribution-spec.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::store;

/// A body in either direction. An error in it breaks the connection off.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// An answer that is not the one hoped for. It has a status and an error code.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

/// distribution-spec, "Error Codes": one function a code, with the status that
/// its end-points give it.
macro_rules! codes {
    ($($function:ident, $code:literal, $status:ident;)*) => {
        impl Refusal {
            $(pub fn $function(message: impl Into<String>) -> Self {
                Self::new(StatusCode::$status, $code, message)
            })*
        }
    };
}

codes! {
    blob_unknown, "BLOB_UNKNOWN", NOT_FOUND;
    blob_upload_invalid, "BLOB_UPLOAD_INVALID", BAD_REQUEST;
    blob_upload_unknown, "BLOB_UPLOAD_UNKNOWN", NOT_FOUND;
    digest_invalid, "DIGEST_INVALID", BAD_REQUEST;
    manifest_blob_unknown, "MANIFEST_BLOB_UNKNOWN", BAD_REQUEST;
    manifest_invalid, "MANIFEST_INVALID", BAD_REQUEST;
    manifest_unknown, "MANIFEST_UNKNOWN", NOT_FOUND;
    manifest_too_large, "SIZE_INVALID", PAYLOAD_TOO_LARGE;
    body_too_large, "SIZE_INVALID", PAYLOAD_TOO_LARGE;
    name_invalid, "NAME_INVALID", BAD_REQUEST;
    name_unknown, "NAME_UNKNOWN", NOT_FOUND;
    size_invalid, "SIZE_INVALID", BAD_REQUEST;
    out_of_order, "BLOB_UPLOAD_INVALID", RANGE_NOT_SATISFIABLE;
    range_invalid, "SIZE_INVALID", RANGE_NOT_SATISFIABLE;
    unauthorized, "UNAUTHORIZED", UNAUTHORIZED;
    denied, "DENIED", FORBIDDEN;
    unsupported, "UNSUPPORTED", METHOD_NOT_ALLOWED;
    no_end_point, "UNSUPPORTED", NOT_FOUND;
    storage_full, "DENIED", INSUFFICIENT_STORAGE;
    failed, "UNKNOWN", INTERNAL_SERVER_ERROR;
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        let kind = match &error {
            store::Error::Io { source, .. } => Some(source.kind()),
            _ => None,
        };
        let message = error.to_string();
        match kind {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge) => Self::storage_full(message),
            Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => Self::denied(message),
            _ => Self::failed(message),
        }
    }
}

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A response of `status` without a body.
pub(super) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// A response with `bytes` as its body; for HEAD, only its headers.
pub(super) fn document(content_type: &str, bytes: Vec<u8>, head: bool) -> Response<Body> {
    let length = bytes.len();
    let mut response = Response::new(if head { empty() } else { full(bytes) });
    set(&mut response, CONTENT_TYPE.as_str(), content_type);
    set(&mut response, CONTENT_LENGTH.as_str(), &length.to_string());
    response
}

/// Sets a header. A value that can't be one is left out.
pub(super) fn set(response: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        // "errors": [ { "code": …, "message": …, "detail": … } ]
        let body = json!({ "errors": [{ "code": refusal.code, "message": refusal.message, "detail": null }] });
        let mut response = document("application/json", body.to_string().into_bytes(), false);
        *response.status_mut() = refusal.status;
        for (name, value) in &refusal.headers {
            set(&mut response, name, value);
        }
        response
    }
}
