//! Reading a base.

use crate::support::image::{self, Form, Packing, Tar};
use crate::support::registry::DebianRegistry;

#[test]
fn the_parts_of_the_tests_work() {
    let registry = DebianRegistry::start();
    let digest = image::push_debian(&registry, "library/debian:12");
    assert!(digest.starts_with("sha256:"));
    image::debian().push("zstd", &registry, "library/debian:zstd", Form::Oci);
    image::debian().push("index", &registry, "library/debian:index", Form::Oci);
    image::debian().push("gzip", &registry, "library/debian:docker", Form::Docker);
    image::debian().push("index", &registry, "library/debian:list", Form::Docker);
    let dir = tempfile::tempdir().unwrap();
    let layout = image::Layout::create(dir.path().join("l"));
    layout.image().layer(Packing::Gzip, Tar::new().file("etc/passwd", "root\n")).tagged("small");
    layout.push("small", &registry, "library/small:1", Form::Oci);
    let requests = registry.requests();
    dbg!(requests.len(), &requests[..3]);
    assert!(registry.blob_reads().is_empty());
    let locked = DebianRegistry::start_with_password();
    assert_eq!(locked.requests().len(), 0);
}
