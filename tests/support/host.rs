//! What this machine gives to steps that run on a root filesystem, for tests that use
//! the library.

use std::collections::BTreeMap;
use std::sync::Arc;

use dlpack::progress::Progress;
use dlpack::sandbox::Host;
use dlpack::store::Store;

/// As the command line makes it for `store`.
pub fn host(store: &Store, progress: Progress) -> Arc<Host> {
    Arc::new(Host {
        program: env!("CARGO_BIN_EXE_dlpack").into(),
        scratch: store.scratch(),
        caches: store.caches(),
        logs: store.logs(),
        secrets: BTreeMap::new(),
        shell_on_failure: false,
        progress,
    })
}
