//! The head of an HTTP/1.1 message (RFC 9112), to be changed on its way.

use std::io::{self, BufRead};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The longest head that is read.
const LONGEST: usize = 64 << 10;

/// The first line and the fields of a request or an answer.
pub struct Head {
    first: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The head that comes next; nothing if the connection ends before it, or speaks TLS.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        if !reader.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase) {
            return Ok(None);
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
            if lines.iter().map(String::len).sum::<usize>() > LONGEST {
                return Ok(None);
            }
        }
        let mut lines = lines.iter();
        let Some(first) = lines.next() else { return Ok(None) };
        let first = first.splitn(3, ' ').map(str::to_owned).collect();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Some(Self { first, fields }))
    }

    /// The head of an answer without fields.
    pub fn answer(status: u16) -> Self {
        Self { first: vec!["HTTP/1.1".into(), status.to_string(), "Fault".into()], fields: Vec::new() }
    }

    /// GET, HEAD …
    pub fn method(&self) -> &str {
        self.first.first().map_or("", String::as_str)
    }

    /// A request's path and query.
    pub fn target(&self) -> &str {
        self.first.get(1).map_or("", String::as_str)
    }

    /// Takes the query out of a request's target.
    pub fn drop_query(&mut self) {
        if let Some(target) = self.first.get_mut(1) {
            target.truncate(target.find('?').unwrap_or(target.len()));
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }

    /// Gives the field `name` this value alone.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.add(name, value);
    }

    /// Adds the field after those that are there.
    pub fn add(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(field, _)| field != name);
    }

    /// The fields as hyper has them.
    pub fn headers(&self) -> HeaderMap {
        let pair = |(name, value): &(String, String)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
        };
        self.fields.iter().filter_map(pair).collect()
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.first.join(" "), fields.collect::<String>()).into_bytes()
    }
}
