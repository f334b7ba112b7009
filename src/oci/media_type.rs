//! Media types of the image-spec, and Docker's that mean the same.

/// An OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer, uncompressed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer, gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer, zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's gzip layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What a manifest request accepts, best first.
pub const ACCEPTED_MANIFESTS: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// A layer, gzip, that is to be had at its descriptor's URLs alone.
pub const LAYER_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/// The OCI media type that means what `given` means, where Docker has one of its
/// own; `given` itself for all others.
pub fn normalised(given: &str) -> &str {
    match given {
        DOCKER_MANIFEST => MANIFEST,
        DOCKER_INDEX => INDEX,
        DOCKER_CONFIG => CONFIG,
        DOCKER_LAYER_GZIP => LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => LAYER_ZSTD,
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER_TAR,
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => LAYER_FOREIGN,
        other => other,
    }
}

/// Whether a layer of this type is not for registries. layer.md, "Non-Distributable Layers":
/// "Implementations SHOULD NOT upload layers tagged with this media type".
pub fn is_foreign(given: &str) -> bool {
    normalised(given).starts_with("application/vnd.oci.image.layer.nondistributable.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_types_become_ocis_and_foreign_layers_are_known_by_either_name() {
        assert_eq!(normalised(DOCKER_LAYER_GZIP), LAYER_GZIP);
        assert_eq!(normalised(LAYER_ZSTD), LAYER_ZSTD);
        assert!(is_foreign("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
        assert!(is_foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"));
        assert!(!is_foreign(LAYER_GZIP) && !is_foreign(DOCKER_LAYER_GZIP));
    }
}
