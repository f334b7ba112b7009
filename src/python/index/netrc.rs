//! Credentials in `.netrc`, which pip and uv read, too: a recipe may name an index
//! and no password.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The login and password for `host`, from the file that `NETRC` names, else from
/// `~/.netrc`.
pub(super) fn credentials(host: &str) -> Option<(String, String)> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".netrc"));
    let path = env::var_os("NETRC").map(PathBuf::from).or_else(home)?;
    find(&fs::read_to_string(path).ok()?, host)
}

/// inetutils, "The .netrc file": `machine NAME login NAME password TEXT`, separated by
/// any white space; `default` for every other host. A macro is no entry of ours.
fn find(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let (mut ours, mut login, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if ours {
                    break;
                }
                ours = word == "default" || words.next() == Some(host);
            }
            "login" if ours => login = words.next().map(str::to_owned),
            "password" if ours => password = words.next().map(str::to_owned),
            "login" | "password" | "account" => drop(words.next()),
            _ => {}
        }
    }
    Some((login.unwrap_or_default(), password?)).filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_entry_or_the_default_one() {
        let text = "# mine\nmachine a.example login me password one\nmachine b.example\n  login you\n  password two\n";
        let pair = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
        assert_eq!(find(text, "a.example"), pair("me", "one"));
        assert_eq!(find(text, "b.example"), pair("you", "two"));
        assert_eq!(find(text, "c.example"), None);
        assert_eq!(find(&format!("{text}default login any password three"), "c.example"), pair("any", "three"));
    }
}
