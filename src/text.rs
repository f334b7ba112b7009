//! Text that a person wrote, read from a file: one that is none says where it isn't.

use std::io::{self, Read};

/// Reads all of `file` as text.
///
/// # Errors
/// Those of reading; [`io::ErrorKind::InvalidData`] with the line, or with what the encoding seems
/// to be, for what is not UTF-8.
pub fn read(mut file: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let (end, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..end].iter().filter(|byte| **byte == b'\n').count();
        // The Unicode Standard 23.8: U+FEFF in its two byte orders, as PowerShell's `>` writes it
        let problem = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16: save it as UTF-8".to_owned(),
            _ => format!("line {line} is not UTF-8"),
        };
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn text_that_is_none_says_where() {
        let said = |bytes: &[u8]| read(bytes).map_err(|error| error.to_string());
        assert_eq!(said("A=é\n".as_bytes()).as_deref(), Ok("A=é\n"));
        assert_eq!(said(b"A=1\nB=\xe9\n").unwrap_err(), "line 2 is not UTF-8");
        assert_eq!(said(b"\xff\xfet\0").unwrap_err(), "it is UTF-16: save it as UTF-8");
    }
}
