//! The ways in which a tar can try to leave its root. Each is refused with an error
//! that names the entry, or ends harmlessly inside the root where runtimes have it so.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::tars::{BLOCK, CHAR, DIRECTORY, FIFO, FILE, Header, LINK, Place, Raw, SYMLINK, record};

/// What becomes of a hostile stack of layers.
enum Outcome {
    /// The error has these words in it, causes included.
    Refused(&'static str),
    /// It is applied, and this path is a file, or a link, inside the root.
    Inside(&'static str),
    /// It is applied, and this path is not there.
    Gone(&'static str),
}
use Outcome::{Gone, Inside, Refused};

const LEAVES: Outcome = Refused("which leads out of the image");
const NAME: Outcome = Refused("which no file can have as its name");
const PARENT: Outcome = Refused("what should be the directory above it is none");
const DISAGREE: Outcome = Refused("that differ");
const NOT_THERE: Outcome = Refused("which is not there");

fn tar() -> Raw {
    Raw::default()
}

fn header(kind: u8, path: &'static str, size: u64) -> Header<'static> {
    Header { kind, path: path.as_bytes(), target: b"", mode: 0o644, owner: (0, 0), size, device: (0, 0) }
}

/// Every case: what it tries, its layers, and what becomes of it. `OUT` is an absolute
/// path of a directory outside, `UP` the way up from the root to it.
fn cases(out: &str, up: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let mut cases = Vec::new();
    cases.extend(names(out));
    cases.extend(symlinks(out, up));
    cases.extend(hard_links(out, up));
    cases.extend(whiteouts(out, up));
    cases.extend(roots(out));
    cases.extend(modes(out, up));
    cases.extend(headers());
    cases.extend(bounds());
    cases
}

fn names(out: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let absolute = format!("{out}/new");
    vec![
        ("a parent", vec![tar().file("../sentinel", "x")], LEAVES),
        ("a parent further up", vec![tar().file("../../../../../../../../tmp/x", "x")], LEAVES),
        ("a parent in the middle", vec![tar().directory("a").file("a/../../sentinel", "x")], LEAVES),
        ("a parent that stays inside", vec![tar().directory("a").file("a/../b", "x")], LEAVES),
        ("a parent at the end", vec![tar().directory("a/..")], LEAVES),
        ("only a parent", vec![tar().directory("..")], LEAVES),
        ("a parent after a slash", vec![tar().file("/../sentinel", "x")], LEAVES),
        ("a parent after dots and slashes", vec![tar().file(".//./../sentinel", "x")], LEAVES),
        ("a parent of a directory entry", vec![tar().directory("../new")], LEAVES),
        ("a parent of a symlink", vec![tar().symlink("../link", "sentinel")], LEAVES),
        ("a parent of a FIFO", vec![tar().entry(FIFO, "../fifo", "")], LEAVES),
        ("a parent of a device", vec![tar().entry(CHAR, "../null", "")], LEAVES),
        ("a parent in a pax path", vec![tar().pax(&[("path", b"../sentinel")]).file("a", "x")], LEAVES),
        ("a parent in GNU's long name", vec![tar().gnu(b'L', "../sentinel").file("a", "x")], LEAVES),
        ("a parent over ustar's prefix", vec![tar().bytes(&prefixed("..", "sentinel"))], LEAVES),
        ("an absolute path", vec![tar().file(&absolute, "x")], Inside("ABSOLUTE")),
        ("an absolute path with many slashes", vec![tar().file(format!("///{absolute}"), "x")], Inside("ABSOLUTE")),
        ("an absolute directory", vec![tar().directory(&absolute)], Inside("ABSOLUTE")),
        ("an absolute pax path", vec![tar().pax(&[("path", absolute.as_bytes())]).file("a", "x")], Inside("ABSOLUTE")),
        (
            "a NUL in a pax path",
            vec![tar().pax(&[("path", b"a\0/../../x")]).file("a", "x")],
            Refused("extended header"),
        ),
    ]
}

fn prefixed(prefix: &str, name: &str) -> Vec<u8> {
    let mut block = tar().header(header(FILE, "", 0)).finish()[..512].to_vec();
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn symlinks(out: &str, up: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let chain = tar().symlink("a", "b").symlink("b", up).file("a/sentinel", "x");
    let many = (0..50).fold(tar(), |tar, n| tar.symlink(format!("l{n}"), format!("l{}", n + 1)));
    vec![
        ("a file through an absolute link", vec![tar().symlink("l", out).file("l/sentinel", "x")], PARENT),
        ("a file through a relative link", vec![tar().symlink("l", up).file("l/sentinel", "x")], PARENT),
        (
            "a file through a lower layer's absolute link",
            vec![tar().symlink("l", out), tar().file("l/sentinel", "x")],
            PARENT,
        ),
        (
            "a file through a lower layer's relative link",
            vec![tar().symlink("l", up), tar().file("l/new", "x")],
            PARENT,
        ),
        ("a file through a chain of links", vec![chain], PARENT),
        ("a file through a link to the root", vec![tar().symlink("l", "/").file("l/x", "x")], Inside("x")),
        ("a file through a link to `..`", vec![tar().symlink("l", "..").file("l/x", "x")], Inside("x")),
        (
            "a file through a link below",
            vec![tar().directory("d").symlink("d/l", "../..").file("d/l/x", "")],
            Inside("x"),
        ),
        ("a file through links in a circle", vec![tar().symlink("a", "b").symlink("b", "a").file("a/x", "")], PARENT),
        ("a file through a link to itself", vec![tar().symlink("a", "a").file("a/x", "")], PARENT),
        ("a file through more links than Linux follows", vec![many.directory("l50").file("l0/x", "")], PARENT),
        (
            "a file through a link to /proc/self/root",
            vec![tar().symlink("l", "/proc/self/root").file("l/x", "")],
            PARENT,
        ),
        ("a file in place of a link", vec![tar().symlink("l", format!("{out}/sentinel")).file("l", "x")], Inside("l")),
        (
            "a file in place of a lower layer's link",
            vec![tar().symlink("l", format!("{out}/sentinel")), tar().file("l", "x")],
            Inside("l"),
        ),
        (
            "a directory in place of a link",
            vec![tar().symlink("l", out).directory("l").file("l/new", "")],
            Inside("l/new"),
        ),
        (
            "a directory that becomes a link",
            vec![tar().directory("d").file("d/a", "").symlink("d", out).file("d/sentinel", "x")],
            PARENT,
        ),
        (
            "a directory that becomes a link in the next layer",
            vec![tar().directory("d").file("d/a", ""), tar().symlink("d", up).file("d/sentinel", "x")],
            PARENT,
        ),
        ("a directory through a link", vec![tar().symlink("l", out).directory("l/new")], PARENT),
        ("a symlink through a link", vec![tar().symlink("l", up).symlink("l/new", "x")], PARENT),
        ("a FIFO through a link", vec![tar().symlink("l", up).entry(FIFO, "l/new", "")], PARENT),
        ("a device through a link", vec![tar().symlink("l", up).entry(BLOCK, "l/new", "")], PARENT),
        ("a file under a file", vec![tar().file("f", "").file("f/x", "")], PARENT),
        ("a file under a FIFO", vec![tar().entry(FIFO, "f", "").file("f/x", "")], PARENT),
        (
            "a file through a hard link to a link",
            vec![tar().symlink("l", out).link("m", "l").file("m/sentinel", "")],
            PARENT,
        ),
        ("an empty link", vec![tar().symlink("l", "")], Refused("can't make `l`")),
    ]
}

fn hard_links(out: &str, up: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let sentinel = format!("{out}/sentinel");
    let pax = |path: &str| tar().pax(&[("linkpath", path.as_bytes())]);
    vec![
        ("a hard link to an absolute path", vec![tar().link("l", &sentinel)], NOT_THERE),
        ("a hard link to a parent", vec![tar().link("l", "../sentinel")], LEAVES),
        ("a hard link to a parent in the middle", vec![tar().directory("a").link("l", "a/../../x")], LEAVES),
        ("a hard link in pax to a parent", vec![pax("../sentinel").link("l", "a")], LEAVES),
        ("a hard link in GNU's long link", vec![tar().gnu(b'K', "../sentinel").link("l", "a")], LEAVES),
        ("a hard link through a link", vec![tar().symlink("d", out).link("l", "d/sentinel")], NOT_THERE),
        ("a hard link through a relative link", vec![tar().symlink("d", up).link("l", "d/sentinel")], NOT_THERE),
        (
            "a hard link through a lower layer's link",
            vec![tar().symlink("d", out), tar().link("l", "d/sentinel")],
            NOT_THERE,
        ),
        (
            "a hard link to a link, then a file there",
            vec![tar().symlink("s", &sentinel).link("l", "s").file("l", "x")],
            Inside("l"),
        ),
        ("a hard link to a link is a link", vec![tar().symlink("s", &sentinel).link("l", "s")], Inside("l")),
        ("a hard link to nothing", vec![tar().link("l", "nothing")], NOT_THERE),
        ("a hard link to a directory", vec![tar().directory("d").link("l", "d")], Refused("which is a directory")),
        ("a hard link to the root", vec![tar().link("l", "/")], Refused("which is the root")),
        ("a hard link to itself", vec![tar().file("a", "x").link("a", "./a")], Refused("which is itself")),
        ("a hard link through a link in its place", vec![tar().symlink("d", up).link("d/new", "a")], PARENT),
    ]
}

fn whiteouts(out: &str, up: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    vec![
        ("a whiteout of a parent", vec![tar().file(".wh...", "")], NAME),
        ("a whiteout of the directory itself", vec![tar().directory("d").file("d/.wh..", "")], NAME),
        ("a whiteout of nothing", vec![tar().file(".wh.", "")], NAME),
        ("a whiteout over a parent", vec![tar().file("../.wh.sentinel", "")], LEAVES),
        ("a whiteout with a parent in it", vec![tar().file("a/../../.wh.sentinel", "")], LEAVES),
        (
            "a whiteout through an absolute link",
            vec![tar().symlink("l", out), tar().file("l/.wh.sentinel", "")],
            Gone("l/x"),
        ),
        (
            "a whiteout through a relative link",
            vec![tar().symlink("l", up), tar().file("l/.wh.sentinel", "")],
            Gone("x"),
        ),
        ("a whiteout of a link takes the link", vec![tar().symlink("l", out), tar().file(".wh.l", "")], Gone("l")),
        (
            "an opaque whiteout through a link",
            vec![tar().symlink("l", out), tar().file("l/.wh..wh..opq", "")],
            Gone("x"),
        ),
        ("an opaque whiteout over a parent", vec![tar().file("../.wh..wh..opq", "")], LEAVES),
        ("a whiteout that is a directory", vec![tar().directory(".wh.a").file(".wh.a/b", "")], NAME),
        ("a whiteout that is a symlink", vec![tar().file("a", ""), tar().symlink(".wh.a", out)], Gone("a")),
        ("AUFS's own files", vec![tar().directory(".wh..wh.plnk").file(".wh..wh.plnk/1", "")], Gone(".wh..wh.plnk")),
        ("a hard link to AUFS's own files", vec![tar().link("a", ".wh..wh.plnk/1")], NOT_THERE),
    ]
}

fn roots(out: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let refused = |kind| Refused(kind);
    vec![
        ("the root as a symlink", vec![tar().symlink("./", out)], refused("the root as a symbolic link")),
        ("the root as a symlink, by a dot", vec![tar().symlink(".", out).file("x", "")], refused("symbolic link")),
        ("the root as a symlink, by a slash", vec![tar().symlink("/", out)], refused("symbolic link")),
        ("the root as a file", vec![tar().file("/.", "x")], refused("the root as a file")),
        ("the root as a hard link", vec![tar().link(".", "a")], refused("the root as a hard link")),
        ("the root as a FIFO", vec![tar().entry(FIFO, "./.", "")], refused("the root as a device")),
        ("an entry without a name", vec![tar().entry(SYMLINK, "", out)], refused("the root as a symbolic link")),
    ]
}

fn modes(out: &str, up: &str) -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let sentinel = format!("{out}/sentinel");
    let wide = |kind, path, target: &str| tar().owned(kind, path, target, 0o7777, (1234, 1234));
    vec![
        ("a symlink's mode and owner", vec![wide(SYMLINK, "l", &sentinel)], Inside("l")),
        ("a directory's mode through a link", vec![tar().symlink("l", out), wide(DIRECTORY, "l", "")], Inside("l")),
        (
            "a directory's mode through a link with a dot",
            vec![tar().symlink("l", up), wide(DIRECTORY, "l/.", "")],
            Inside("l"),
        ),
        ("a hard link's mode on a link", vec![tar().symlink("s", &sentinel), wide(LINK, "l", "s")], Inside("l")),
        ("a FIFO's mode where a link was", vec![tar().symlink("l", &sentinel), wide(FIFO, "l", "")], Inside("l")),
        (
            "xattrs through a link",
            vec![tar().pax(&[("SCHILY.xattr.user.x", b"1")]).symlink("l", &sentinel)],
            Inside("l"),
        ),
        (
            "a directory replaced by a link before its mode is set",
            vec![wide(DIRECTORY, "d", "").symlink("d", out)],
            Inside("d"),
        ),
    ]
}

fn headers() -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let names = tar().pax(&[("path", b"a")]).gnu(b'L', "../sentinel").file("b", "x");
    let other_way = tar().gnu(b'L', "../sentinel").pax(&[("path", b"a")]).file("b", "x");
    let targets = tar().pax(&[("linkpath", b"a")]).gnu(b'K', "../sentinel").symlink("b", "c");
    let hidden = tar().file("hidden", "x").finish();
    let length = tar().pax(&[("size", b"1024")]).header(header(FILE, "a", 0)).content(&hidden[..1024]);
    let shorter = tar().pax(&[("size", b"0")]).header(header(FILE, "a", 1024)).content(&hidden[..1024]);
    let twice = tar().pax(&[("path", b"a")]).pax(&[("path", b"../sentinel")]).file("b", "x");
    let long_twice = tar().gnu(b'L', "a").gnu(b'L', "../sentinel").file("b", "x");
    let cut = tar().extended(b'x', b"999 path=../sentinel\n").file("b", "x");
    let no_newline = tar().extended(b'x', b"11 path=abc").file("b", "x");
    let for_all = tar().extended(b'g', &record("path", b"../sentinel")).file("b", "x");
    vec![
        ("pax and GNU disagree about the name", vec![names], DISAGREE),
        ("GNU and pax disagree about the name", vec![other_way], DISAGREE),
        ("pax and GNU disagree about a target", vec![targets], DISAGREE),
        ("pax and the header disagree about the length", vec![length], DISAGREE),
        ("pax says that there is no content", vec![shorter], DISAGREE),
        ("two pax headers", vec![twice], DISAGREE),
        ("two long names", vec![long_twice], DISAGREE),
        ("a pax record longer than its header", vec![cut], Refused("extended header")),
        ("a pax record without an end", vec![no_newline], Refused("extended header")),
        (
            "a pax length that is no number",
            vec![tar().pax(&[("size", b"-1")]).file("a", "")],
            Refused("extended header"),
        ),
        ("a name for all that follow", vec![for_all], Refused("extended header")),
        ("a sparse file of GNU", vec![tar().header(header(b'S', "a", 0))], Refused("sparse file")),
        (
            "a sparse file of pax",
            vec![tar().pax(&[("GNU.sparse.name", b"../x")]).file("a", "")],
            Refused("sparse file"),
        ),
        ("a volume's continuation", vec![tar().header(header(b'M', "a", 0))], Refused("kind of its own")),
        ("an unknown kind", vec![tar().header(header(b'Z', "a", 0))], Refused("kind of its own")),
        ("a wrong checksum", vec![tar().bytes(&[7; 512])], Refused("no tar header")),
        ("a content that is cut off", vec![tar().header(header(FILE, "a", 1 << 20))], Refused("not a layer's tar")),
    ]
}

fn bounds() -> Vec<(&'static str, Vec<Raw>, Outcome)> {
    let deep = "d/".repeat(300);
    let long = "n".repeat(5000);
    // each layer of links leads as far down as names may, and then further
    let way = "d/".repeat(200);
    let down = tar().pax(&[("path", way.as_bytes())]).directory("x").pax(&[("linkpath", way.as_bytes())]);
    let further = down.symlink("l", "x").pax(&[("path", format!("l/{way}").as_bytes())]).directory("x");
    let pipe = tar().pax(&[("SCHILY.xattr.user.dlpack.owner", b"0:0")]).file("a", "");
    vec![
        ("directories without end", vec![tar().pax(&[("path", deep.as_bytes())]).directory("x")], NAME),
        ("directories without end through links", vec![further], NAME),
        ("a path longer than Linux has", vec![tar().pax(&[("path", long.as_bytes())]).file("x", "")], NAME),
        ("a pax header longer than any", vec![tar().header(header(b'x', "x", 1 << 30))], Refused("announces a name")),
        ("a forged record of the owner", vec![pipe], Inside("a")),
        ("a character device 0/0", vec![tar().header(header(CHAR, "a", 0))], Inside("a")),
    ]
}

#[test]
fn no_tar_leaves_its_root() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let far = Place::new();
    let (far_out, far_up) = (far.directory.path().display().to_string(), "../".repeat(12));
    for (what, ..) in cases(&far_out, &far_up) {
        let place = Place::new();
        let out = place.directory.path().join("out");
        fs::create_dir(&out).unwrap();
        for sentinel in [out.join("sentinel"), place.directory.path().join("sentinel"), place.store.root().join("x")] {
            fs::write(sentinel, "untouched").unwrap();
        }
        symlink("sentinel", out.join("link")).unwrap();
        let before = outside(place.directory.path());
        let up = format!("{}{}", "../".repeat(12), out.display().to_string().trim_start_matches('/'));
        let all = cases(out.to_str().unwrap(), &up);
        let (_, layers, outcome) = all.into_iter().find(|(name, ..)| *name == what).unwrap();
        let result = place.base(layers);
        count += 1;
        if let Err(why) = judge(&outcome, result, &out) {
            wrong.push(format!("{what}: {why}"));
        }
        if outside(place.directory.path()) != before {
            wrong.push(format!("{what}: something outside was touched"));
        }
        if fs::read_dir(place.store.root().join("tmp")).unwrap().count() != 0 {
            wrong.push(format!("{what}: something was left behind"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(count >= 100, "{count} cases");
}

fn judge(
    outcome: &Outcome,
    result: Result<std::path::PathBuf, dlpack::sandbox::ExtractError>,
    out: &Path,
) -> Result<(), String> {
    match (outcome, result) {
        (Refused(words), Err(error)) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(next) = cause {
                text += &format!(": {next}");
                cause = next.source();
            }
            if text.contains(words) { Ok(()) } else { Err(format!("refused with `{text}`, not `{words}`")) }
        }
        (Refused(words), Ok(_)) => Err(format!("applied, and not refused with `{words}`")),
        (_, Err(error)) => Err(format!("refused with `{error}` {:?}", std::error::Error::source(&error))),
        (Inside(path), Ok(root)) => {
            let path =
                if *path == "ABSOLUTE" { format!("{}/new", &out.display().to_string()[1..]) } else { (*path).into() };
            match root.join(&path).symlink_metadata() {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{path}: {error}")),
            }
        }
        (Gone(path), Ok(root)) => match root.join(path).symlink_metadata() {
            Ok(_) => Err(format!("{path} is there")),
            Err(_) => Ok(()),
        },
    }
}

/// All that lies outside of the roots, with mode, owner, time and content.
fn outside(directory: &Path) -> Vec<String> {
    let inside = |path: &Path| ["rootfs", "tmp", "blobs"].iter().any(|name| path.ends_with(format!("store/{name}")));
    let mut seen = Vec::new();
    let walk = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| !inside(entry.path())) {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        let content = if metadata.is_file() { fs::read_to_string(entry.path()).unwrap() } else { String::new() };
        let (mode, links) = (metadata.mode(), metadata.nlink());
        let links = if metadata.is_dir() { 0 } else { links };
        seen.push(format!("{} {mode:o} {} {links} {content}", entry.path().display(), metadata.uid()));
    }
    seen
}
