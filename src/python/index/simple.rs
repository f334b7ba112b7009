//! A project's page in the simple repository API: PEP 691's JSON and PEP 503's HTML.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Error;
use super::settings::{Indexes, percent_decoded};
use crate::oci::Digest;
use crate::registry::http::{Http, redacted};

/// "application/vnd.pypi.simple.v1+json, …;q=0.2, text/html;q=0.01" (PEP 691, "Version + Format Selection").
const FORMATS: HeaderValue = HeaderValue::from_static(
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
);
/// The longest page that is read, in bytes; the longest known are some 30 MB.
const MAX_PAGE: usize = 128 << 20;

/// A file of a project.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) sha256: Option<Digest>,
}

/// The address of `project`'s page: "/<project>/", its name normalised.
pub(super) fn page(index: &Url, project: &str) -> Option<Url> {
    let mut base = index.clone();
    base.set_path(&format!("{}/", index.path().trim_end_matches('/')));
    base.join(&format!("{project}/")).ok()
}

/// The files that the page at `url` lists; none if there is no such project.
pub(super) async fn files(http: &Http, indexes: &Indexes, url: &Url) -> Result<Vec<File>, Error> {
    let mut request = indexes.request(Method::GET, url);
    request.headers_mut().insert(ACCEPT, FORMATS);
    let mut response = http.send(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Vec::new()),
        status => return Err(Error::Status { url: redacted(url), status }),
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let base = response.url().clone();
    let unreadable = |problem: String| Error::Page { url: redacted(&base), problem };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreadable(error.without_url().to_string()))? {
        if body.len() + chunk.len() > MAX_PAGE {
            return Err(unreadable(format!("it is longer than {MAX_PAGE} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    match kind.contains("json") {
        true => from_json(&body, &base).map_err(|error| unreadable(error.to_string())),
        false => Ok(from_html(&String::from_utf8_lossy(&body), &base)),
    }
}

#[derive(Deserialize)]
struct Project {
    files: Vec<ProjectFile>,
}

#[derive(Deserialize)]
struct ProjectFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

fn from_json(body: &[u8], base: &Url) -> Result<Vec<File>, serde_json::Error> {
    let project: Project = serde_json::from_slice(body)?;
    let file = |file: ProjectFile| {
        let sha256 = file.hashes.get("sha256").and_then(|hex| Digest::from_hex(hex).ok());
        Some(File { url: base.join(&file.url).ok()?, name: file.filename, sha256 })
    };
    Ok(project.files.into_iter().filter_map(file).collect())
}

/// "each anchor element … the href attribute MUST be a URL that links to the
/// location of the file for download, and the text of the anchor tag MUST match the
/// final path component (the filename) of the URL" (PEP 503).
fn from_html(text: &str, base: &Url) -> Vec<File> {
    let mut files = Vec::new();
    let mut base = base.clone();
    for tag in text.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        let Some(link) = attribute(tag, "href") else { continue };
        let Ok(url) = base.join(&link) else { continue };
        if name.eq_ignore_ascii_case("base") {
            base = url;
        } else if name.eq_ignore_ascii_case("a") {
            files.extend(from_link(url));
        }
    }
    files
}

/// "The URL SHOULD include a hash in the form of a URL fragment with the following
/// syntax: #<hashname>=<hashvalue>".
fn from_link(mut url: Url) -> Option<File> {
    let hex = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256=")).map(str::to_owned);
    let sha256 = hex.and_then(|hex| Digest::from_hex(&hex).ok());
    url.set_fragment(None);
    let name = percent_decoded(url.path_segments()?.next_back()?);
    Some(File { name, url, sha256 })
}

/// The value of an attribute in a tag's text, its character references undone.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.to_ascii_lowercase().find(name)?;
        let starts = rest[..at].ends_with(|c: char| c.is_ascii_whitespace());
        rest = &rest[at + name.len()..];
        let Some(value) = rest.trim_start().strip_prefix('=').filter(|_| starts) else { continue };
        let value = value.trim_start();
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split(|c: char| c.is_ascii_whitespace()).next()?,
        };
        let plain = [("&#43;", "+"), ("&#x2B;", "+"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
        return Some(plain.iter().fold(value.to_owned(), |value, (from, to)| value.replace(from, to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_html_is_read_with_relative_links_hashes_and_a_base() {
        let hash = "ab".repeat(32);
        let text = format!(
            "<html><BASE href='/mirror/'><body><p>a &lt; b</p>\n<A data-requires-python=\"&gt;=3.8\"\n \
             href=\"../files/torch-2.6.0%2Bcu124-py3-none-any.whl#sha256={hash}\">torch</a>\
             <a href=x-1-py3-none-any.whl>x</a></body>"
        );
        let files = from_html(&text, &Url::parse("http://h/simple/torch/").unwrap());
        assert_eq!(files[0].name, "torch-2.6.0+cu124-py3-none-any.whl");
        assert_eq!(files[0].url.as_str(), "http://h/files/torch-2.6.0%2Bcu124-py3-none-any.whl");
        assert_eq!(files[0].sha256, Some(Digest::from_hex(&hash).unwrap()));
        assert_eq!(files[1].url.as_str(), "http://h/mirror/x-1-py3-none-any.whl");
        assert_eq!(files[1].sha256, None);
    }

    #[test]
    fn a_page_of_json_is_read_with_relative_links_and_hashes() {
        let hash = "cd".repeat(32);
        let text = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "x", "files":
            [{{"filename": "x-1-py3-none-any.whl", "url": "../../f/x-1-py3-none-any.whl", "size": 3, "hashes": {{"sha256": "{hash}"}}}}]}}"#
        );
        let files = from_json(text.as_bytes(), &Url::parse("http://h/simple/x/").unwrap()).unwrap();
        assert_eq!(files[0].url.as_str(), "http://h/f/x-1-py3-none-any.whl");
        assert_eq!(files[0].sha256, Some(Digest::from_hex(&hash).unwrap()));
    }

    #[test]
    fn a_page_lies_under_the_index_whether_or_not_it_ends_in_a_slash() {
        for index in ["http://h/simple", "http://h/simple/"] {
            assert_eq!(page(&Url::parse(index).unwrap(), "six").unwrap().as_str(), "http://h/simple/six/");
        }
    }
}
