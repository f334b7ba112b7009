//! `/etc/ld.so.cache`, the loader's list of libraries: glibc's `sysdeps/generic/dl-cache.h`.

use std::path::PathBuf;

/// The form of glibc before 2.2, which may stand before the new one.
const OLD: &[u8] = b"ld.so-1.7.0";

/// `struct cache_file`: magic, padded to 12 bytes, and nlibs.
const OLD_HEADER: usize = 16;

/// The form that all loaders read.
const NEW: &[u8] = b"glibc-ld.so.cache1.1";

/// `struct file_entry`: flags, key, value, of 4 bytes each.
const OLD_ENTRY: usize = 12;

/// `struct file_entry_new`: flags, key, value, osversion_unused, and 8 bytes of hwcap.
const NEW_ENTRY: usize = 24;

/// `struct cache_file_new`: magic, nlibs, len_strings, flags, extension_offset, 3 × unused.
const NEW_HEADER: usize = 48;

/// The library paths in `cache`, each with whether it is for 32-bit programs; none of what is no
/// cache.
pub(super) fn entries(cache: &[u8]) -> Vec<(PathBuf, bool)> {
    read(cache).unwrap_or_default()
}

fn read(cache: &[u8]) -> Option<Vec<(PathBuf, bool)>> {
    // "the new cache is appended to the old one, aligned": ALIGN_CACHE, 8 bytes
    let new = if cache.starts_with(OLD) {
        let end = OLD_HEADER + (number(cache, OLD_HEADER - 4)? as usize).checked_mul(OLD_ENTRY)?;
        cache.get(end.next_multiple_of(8)..)?
    } else {
        cache
    };
    if !new.starts_with(NEW) {
        return None;
    }
    let count = number(new, NEW.len())? as usize;
    let entries = new.get(NEW_HEADER..)?.chunks_exact(NEW_ENTRY).take(count);
    let entry = |entry: &[u8]| {
        let flags = number(entry, 0)?;
        // key and value are offsets "from the beginning of cache_file_new"
        let path = string(new, number(entry, 8)? as usize)?;
        bits_32(flags).map(|compat32| (PathBuf::from(path), compat32))
    };
    Some(entries.filter_map(entry).collect())
}

/// Whether a library with these flags is for 32-bit programs; none for one of another kind.
fn bits_32(flags: u32) -> Option<bool> {
    // FLAG_TYPE_MASK: FLAG_ELF, FLAG_ELF_LIBC5 and FLAG_ELF_LIBC6 all have the lowest bit
    if flags & 1 == 0 {
        return None;
    }
    match flags & 0xff00 {
        // FLAG_X8664_LIB64, FLAG_AARCH64_LIB64
        0x0300 | 0x0a00 => Some(false),
        // i386, FLAG_X8664_LIBX32, FLAG_ARM_LIBHF
        0x0000 | 0x0800 | 0x0900 => Some(true),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn string(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of these libraries, with their flags.
    fn cache(old: bool, libraries: &[(u32, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut new = [NEW, &(libraries.len() as u32).to_le_bytes(), &[0; 24]].concat();
        let first = NEW_HEADER + libraries.len() * NEW_ENTRY;
        for (flags, path) in libraries {
            let at = (first + strings.len()) as u32;
            strings.extend_from_slice(path.as_bytes());
            strings.push(0);
            new.extend([flags.to_le_bytes(), at.to_le_bytes(), at.to_le_bytes()].concat());
            new.extend([0; 12]);
        }
        new.extend(strings);
        let before = if old { [OLD, &[0], &1_u32.to_le_bytes(), &[0; OLD_ENTRY + 4]].concat() } else { Vec::new() };
        [before, new].concat()
    }

    #[test]
    fn libraries_are_read_from_the_new_form_alone_or_behind_the_old_one() {
        let libraries =
            [(0x0303, "/lib/x86_64-linux-gnu/libcuda.so.1"), (0x0003, "/lib32/libcuda.so.1"), (0x0503, "/ppc")];
        let expected = [("/lib/x86_64-linux-gnu/libcuda.so.1", false), ("/lib32/libcuda.so.1", true)];
        for old in [false, true] {
            assert_eq!(entries(&cache(old, &libraries)), expected.map(|(path, compat)| (path.into(), compat)), "{old}");
        }
    }

    #[test]
    fn this_machines_cache_has_its_c_library() {
        let cache = std::fs::read("/etc/ld.so.cache").expect("a machine with glibc");
        assert!(entries(&cache).iter().any(|(path, compat32)| path.ends_with("libc.so.6") && !compat32));
    }

    #[test]
    fn what_is_no_cache_has_no_libraries() {
        let whole = cache(true, &[(0x0303, "/lib/libcuda.so.1")]);
        for length in 0..whole.len() {
            assert_eq!(entries(&whole[..length]), [], "{length}");
        }
        let mut wild = cache(false, &[(0x0303, "/lib/libcuda.so.1")]);
        wild[NEW.len()..NEW.len() + 4].fill(0xff);
        wild[NEW_HEADER + 8..NEW_HEADER + 12].fill(0xff);
        assert_eq!(entries(&wild), []);
    }
}
