//! Commands run on a root filesystem without privileges.
