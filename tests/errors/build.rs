//! What a build meets: the base's accounts, secrets, and files that can't be in a layer.

use std::fs;
use std::io;

use dlpack::assemble::Error;
use dlpack::changeset::venv::VenvError;
use dlpack::layer::{Attributes, Compression, LayerWriter};
use dlpack::python::{standalone, tree, wheel};
use dlpack::store::Store;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::shown::Shown;

const HEAD: &str = "base = { layout = \"layout\", tag = \"TAG\" }\nplatform = \"linux/amd64\"\n";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n";
const GROUP: &str = "root:x:0:\nvideo:x:44:\nubuntu:x:1000:\n";

#[test]
fn an_account_that_contradicts_the_base() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let layout = Layout::create(dlpack.work().join("layout"));
    let base = |tag: &str, tar: Tar| _ = layout.image().layer(Packing::Gzip, tar).tagged(tag);
    base("ubuntu", Tar::new().file("etc/passwd", PASSWD).file("etc/group", GROUP));
    base("link", Tar::new().directory("etc/passwd").file("etc/group", GROUP));
    base("latin1", Tar::new().file("etc/passwd", b"root:x:0:0:Andr\xe9:/root:/bin/sh\n").file("etc/group", GROUP));
    dlpack.write("secret", "hunter2");
    for (case, tag, settings) in [
        ("a uid that is taken", "ubuntu", "user = \"dev\""),
        ("a user with another uid", "ubuntu", "user = \"ubuntu\"\nuid = 7"),
        ("a group with another gid", "ubuntu", "user = \"video\"\nuid = 7\ngid = 7"),
        ("a group that is not there", "ubuntu", "user = \"dev\"\nuid = 7\ngroups = [\"docker\"]"),
        ("a venv that is not there", "ubuntu", "user = \"dev\"\nuid = 7\nvenv = \"/opt/venv\""),
        ("an account file that is a directory", "link", "user = \"dev\""),
        ("an account file that is not UTF-8", "latin1", "user = \"dev\""),
        ("a secret that is not set", "ubuntu", "user = \"dev\"\nuid = 7\npassword-secret = \"DLPACK_UNSET\""),
        ("a secret in a file that is not there", "ubuntu", "user = \"dev\"\nuid = 7\npassword-secret = \"file:none\""),
        ("a password in clear", "ubuntu", "user = \"dev\"\nuid = 7\npassword-secret = \"file:secret\""),
    ] {
        let head = HEAD.replace("TAG", tag);
        dlpack.write("dlpack.toml", &format!("{head}[[layer]]\nkind = \"account\"\n{settings}\n"));
        let _ = fs::remove_file(dlpack.work().join("dlpack.lock"));
        shown.run(case, &mut dlpack.command(["build"]));
    }
    shown.is("build/accounts");
}

#[test]
fn files_that_cannot_be_in_one_layer() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("tree/.wh.passwd", "");
    for (case, files) in [
        ("a name that deletes a file of the base", "{ from = \"tree\", to = \"/etc\" }"),
        ("a file under a file", "{ content = \"\", to = \"/a\" }, { content = \"\", to = \"/a/b\" }"),
    ] {
        let layer = format!("[[layer]]\nkind = \"files\"\nfiles = [{files}]\n");
        dlpack.write("dlpack.toml", &format!("base = \"scratch\"\nplatform = \"linux/amd64\"\n{layer}"));
        let _ = fs::remove_file(dlpack.work().join("dlpack.lock"));
        shown.run(case, &mut dlpack.command(["build"]));
    }
    let layout = Layout::create(dlpack.work().join("layout"));
    let many =
        (0..124).fold(layout.image(), |image, at| image.layer(Packing::Plain, Tar::new().file("n", at.to_string())));
    many.tagged("many");
    let layer =
        |at| format!("[[layer]]\nkind = \"files\"\nname = \"f{at}\"\nfiles = [{{ content = \"\", to = \"/{at}\" }}]\n");
    let layers: String = (0..4).map(layer).collect();
    dlpack.write("dlpack.toml", &format!("{}{layers}", HEAD.replace("TAG", "many")));
    let _ = fs::remove_file(dlpack.work().join("dlpack.lock"));
    shown.run("more layers than a runtime mounts", &mut dlpack.command(["build"]));
    shown.is("build/files");
}

struct BadSector;

impl io::Read for BadSector {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(rustix::io::Errno::IO.into())
    }
}

#[test]
fn a_disk_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut writer = LayerWriter::new(&store, Compression::Gzip, 0).unwrap();
    let read = writer.stream("srv/data", Attributes::root(0o644), 10, BadSector).unwrap_err();
    let wheel = wheel::Error {
        wheel: "made-1.0-py3-none-any.whl".into(),
        problem: wheel::Problem::Read(rustix::io::Errno::IO.into()),
    };
    let full = standalone::Error::Spool { path: "STORE/tmp".into(), source: rustix::io::Errno::NOSPC.into() };
    let mut shown = Shown::new();
    let mut of_layer = |case: &str, source| shown.add(case, Error::Layer { layer: "one".into(), source });
    of_layer("a bad sector under a file", read.into());
    of_layer("a bad sector under a wheel", VenvError::from(tree::Error::from(wheel)).into());
    of_layer("a disk that is full before an interpreter is unpacked", VenvError::from(full).into());
    shown.is("build/disk");
}
