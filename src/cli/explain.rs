//! Which exit status each module's errors have.

use std::io;

use super::error::{ExitKind, Explain};
use crate::oci::LayoutError;
use crate::registry::{self, ErrorKind, SourceError};
use crate::{apt, assemble, cache, changeset, diff, doctor, export, init, lock, plan, python, rebase, store};

/// An error whose status depends on which one it is.
macro_rules! explain {
    ($error:ty, $self:ident => $exit:expr) => {
        impl Explain for $error {
            fn hint(&self) -> Option<String> {
                self.hint()
            }

            fn exit(&$self) -> ExitKind {
                $exit
            }
        }
    };
}

explain!(store::Error, self => match self {
    Self::Damaged { .. } | Self::Mismatch { .. } => ExitKind::Integrity,
    _ => ExitKind::Store,
});

explain!(registry::Error, self => match (self, self.kind()) {
    (Self::OriginStore { source, .. }, _) => source.exit(),
    (Self::OriginRepository { source, .. }, _) => source.exit(),
    (Self::OriginMissing { .. }, _) => ExitKind::Store,
    (Self::Origin { .. }, _) => ExitKind::Integrity,
    (_, ErrorKind::Local) => ExitKind::Other,
    (_, ErrorKind::Authentication) => ExitKind::Access,
    (_, ErrorKind::Network | ErrorKind::NotFound | ErrorKind::Refused) => ExitKind::Network,
    (_, ErrorKind::Integrity) => ExitKind::Integrity,
});

explain!(init::Error, self => match self {
    Self::Flavour { .. } | Self::Cuda { .. } | Self::Python { .. } | Self::PythonOfCuda { .. } | Self::User { .. } => {
        ExitKind::Usage
    }
    Self::UnknownPython { .. } | Self::UnknownKind { .. } | Self::Selected { .. } => ExitKind::Usage,
    Self::Syntax { .. } | Self::Depth { .. } | Self::NoPython { .. } | Self::NotAccepted { .. } => ExitKind::Recipe,
    Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::InvalidData => ExitKind::Recipe,
    Self::Write { .. } => ExitKind::Store,
    Self::Directory { .. } | Self::Unreadable { .. } | Self::Exists { .. } => ExitKind::Other,
});

explain!(registry::serve::Error, self => ExitKind::Network);

explain!(SourceError, self => match self {
    Self::Registry(error) => error.exit(),
    Self::Layout(LayoutError::Missing { .. }) => ExitKind::Other,
    Self::Layout(_) | Self::Manifest { .. } | Self::Config { .. } => ExitKind::Integrity,
    Self::Keep(error) => error.exit(),
    Self::Interrupted { .. } => ExitKind::Other,
});

explain!(python::index::Error, self => match self {
    Self::Download(error) => error.exit(),
    Self::NoIndex | Self::Url { .. } | Self::Local { .. } => ExitKind::Recipe,
    Self::OtherHash { .. } => ExitKind::Integrity,
    _ => ExitKind::Network,
});

explain!(registry::download::Error, self => match self {
    Self::Keep { source, .. } => source.exit(),
    Self::Length { .. } => ExitKind::Integrity,
    _ => ExitKind::Network,
});

explain!(changeset::Error, self => match self {
    Self::Layer(error) => error.exit(),
    Self::Venv(changeset::venv::VenvError::Store(error)) => error.exit(),
    Self::Venv(changeset::venv::VenvError::Version { .. }) => ExitKind::Recipe,
    Self::Venv(changeset::venv::VenvError::Wheels(python::tree::Error::Layer(error))) => error.exit(),
    Self::Venv(changeset::venv::VenvError::Interpreter(python::standalone::Error::Layer(error))) => error.exit(),
    Self::Venv(changeset::venv::VenvError::Interpreter(python::standalone::Error::Spool { .. })) => ExitKind::Store,
    Self::Venv(_) => ExitKind::Integrity,
    Self::Run(changeset::run::Error::Failed { .. }) => ExitKind::Command,
    Self::Run(changeset::run::Error::Sandbox(error)) | Self::Sandbox(error) => error.exit(),
    Self::Apt(error) => match error {
        changeset::apt::AptError::Store(error) => error.exit(),
        changeset::apt::AptError::Layer(error) => error.exit(),
        changeset::apt::AptError::Sandbox(error) => error.exit(),
        changeset::apt::AptError::Io { .. } => ExitKind::Store,
        changeset::apt::AptError::NotDownloaded { .. } => ExitKind::Integrity,
        changeset::apt::AptError::Install { .. } => ExitKind::Command,
    },
    Self::Run(changeset::run::Error::Given(changeset::given::Error::Io { .. })) => ExitKind::Store,
    Self::Source(error) => match error {
        changeset::source::Error::Build { .. } => ExitKind::Command,
        changeset::source::Error::Sandbox(error) => error.exit(),
        changeset::source::Error::Store(error) => error.exit(),
        changeset::source::Error::Io { .. } => ExitKind::Store,
        changeset::source::Error::Wheel(_) | changeset::source::Error::Venv(_) => ExitKind::Integrity,
        _ => ExitKind::Recipe,
    },
    Self::Bytecode(error) => match error {
        changeset::bytecode::Error::Compile { .. } => ExitKind::Command,
        changeset::bytecode::Error::Sandbox(error) => error.exit(),
        changeset::bytecode::Error::Io { .. } => ExitKind::Store,
        changeset::bytecode::Error::Wheel(_) | changeset::bytecode::Error::Venv(_) => ExitKind::Integrity,
    },
    Self::Account(_) | Self::Files(_) | Self::Timezone(_) | Self::Run(_) => ExitKind::Recipe,
});

explain!(crate::layer::Error, self => match self {
    Self::Store(error) => error.exit(),
    Self::Io { .. } => ExitKind::Store,
    Self::Content { .. } => ExitKind::Integrity,
    Self::Path { .. } | Self::Parent { .. } => ExitKind::Recipe,
    Self::Order { .. } | Self::Unfinished { .. } | Self::Parts { .. } => ExitKind::Other,
});

explain!(crate::sandbox::Error, self => match self {
    Self::Io { .. } => ExitKind::Store,
    Self::Step { .. } => ExitKind::Command,
    _ => ExitKind::Sandbox,
});

explain!(crate::run::Error, self => match self {
    Self::Program { source, .. } => match source.kind() {
        std::io::ErrorKind::NotFound => ExitKind::NotFound,
        _ => ExitKind::NotExecutable,
    },
    Self::Sandbox(error) => error.exit(),
    Self::State { .. } => ExitKind::Store,
    Self::Project { .. } => ExitKind::Recipe,
    Self::Listen { .. } | Self::Owner { .. } => ExitKind::Sandbox,
    _ => ExitKind::Usage,
});

explain!(crate::run::TestError, self => match self {
    Self::Failed { .. } => ExitKind::Test,
    Self::Container { source, .. } => match source.exit() {
        ExitKind::Usage | ExitKind::NotFound | ExitKind::NotExecutable => ExitKind::Recipe,
        exit => exit,
    },
});

explain!(crate::gpu::Error, self => match self {
    Self::Selection { .. } | Self::Unknown { .. } | Self::Ambiguous { .. } => ExitKind::Usage,
    _ => ExitKind::Other,
});

explain!(crate::sandbox::ExtractError, self => match self {
    Self::Store(error) => error.exit(),
    Self::Missing { .. } | Self::Io { .. } | Self::Entry { .. } | Self::Xattrs { .. } => ExitKind::Store,
    Self::Openat2 { .. } => ExitKind::Sandbox,
    _ => ExitKind::Integrity,
});

explain!(cache::Error, self => match self {
    Self::Store(error) => error.exit(),
    Self::Read { source, .. }
    | Self::Keep { source, .. }
    | Self::List { source, .. }
    | Self::NoDeletion { source, .. }
    | Self::Remove { source, .. } => source.exit(),
    Self::KeyFile { .. } | Self::Key { .. } => ExitKind::Usage,
    Self::NotPinned { .. } => ExitKind::Recipe,
    Self::Encode { .. } => ExitKind::Other,
});

explain!(crate::export::venv::Error, self => match self {
    Self::Store(error) => error.exit(),
    Self::Export(error) => error.exit(),
    Self::Venv(changeset::venv::VenvError::Store(error)) => error.exit(),
    Self::Unpack(python::unpack::Error::Write { .. }) | Self::Io { .. } => ExitKind::Store,
    Self::Venv(_) | Self::Wheels(_) | Self::Unpack(_) | Self::Interpreter(_) => ExitKind::Integrity,
    Self::Rootfs(error) => error.exit(),
    Self::Name { .. } | Self::NotOurs { .. } | Self::InTheWay { .. } | Self::SeveralVenvs { .. } => ExitKind::Usage,
    Self::Platform { .. } | Self::NoPackages { .. } | Self::EmptyVenv { .. } => ExitKind::Other,
    Self::NoPython { .. } | Self::OtherPython { .. } => ExitKind::Other,
});

explain!(plan::Error, self => match self {
    Self::Changeset(error) => error.exit(),
    Self::Store(error) => error.exit(),
    Self::Registry(error) => error.exit(),
    Self::Cache(error) => error.exit(),
    Self::Kind { .. } | Self::TooManyLayers { .. } => ExitKind::Recipe,
});

explain!(apt::base::Error, self => match self {
    Self::Release(apt::release::Error::Download(error)) => error.exit(),
    Self::Release(apt::release::Error::NoRelease { .. }) => ExitKind::Network,
    Self::Release(_) => ExitKind::Integrity,
    Self::Index(apt::index::Error::Download(error)) => error.exit(),
    Self::Index(apt::index::Error::Store(error)) => error.exit(),
    Self::Index(apt::index::Error::Unpack { .. }) => ExitKind::Integrity,
    _ => ExitKind::Recipe,
});

explain!(apt::made::Error, self => match self {
    Self::Unpack(apt::unpacked::Error::Spool { .. }) => ExitKind::Store,
    Self::Unpack(_) => ExitKind::Integrity,
    Self::Store(error) => error.exit(),
    Self::Layer(error) => error.exit(),
    Self::Extract(error) => error.exit(),
    Self::Sandbox(_) | Self::Configure { .. } => ExitKind::Sandbox,
    Self::NotDownloaded { .. } => ExitKind::Store,
});

explain!(doctor::Error, self => ExitKind::Other);

explain!(lock::base::Error, self => match self {
    Self::Source(error) => error.exit(),
    Self::Store(error) => error.exit(),
    Self::Extract(error) => error.exit(),
    Self::Archive(error) => error.exit(),
    Self::Made(error) => error.exit(),
    Self::Download(error) => error.exit(),
    Self::Mirrors(_) => ExitKind::Usage,
    Self::Keys(_) | Self::Reference { .. } | Self::Platform { .. } | Self::OtherPlatform { .. } => ExitKind::Recipe,
    Self::OtherConfig { .. } | Self::NoSource { .. } => ExitKind::Recipe,
    _ => ExitKind::Integrity,
});

explain!(lock::Error, self => match self {
    Self::Base(error) => error.exit(),
    Self::Index(error) => error.exit(),
    Self::Store(error) => error.exit(),
    Self::Http(_) => ExitKind::Network,
    Self::Apt(error) => match error {
        lock::AptError::Sandbox(error) => error.exit(),
        lock::AptError::Mirrors(_) => ExitKind::Usage,
        lock::AptError::Io { .. } => ExitKind::Store,
        _ => ExitKind::Recipe,
    },
    Self::Wheel(_) => ExitKind::Integrity,
    Self::Resolve(error) => match error {
        python::resolve::Error::Uv(python::uv::Error::Refused { .. }) => ExitKind::Recipe,
        python::resolve::Error::Uv(_) => ExitKind::Other,
        _ => ExitKind::Recipe,
    },
    Self::Interrupted { .. } => ExitKind::Other,
    Self::Write { .. } => ExitKind::Store,
    _ => ExitKind::Recipe,
});

explain!(diff::Error, self => match self {
    Self::Source(error) => error.exit(),
    Self::Store(error) => error.exit(),
    Self::Read(_) | Self::NoDiffId { .. } | Self::TooManyNames { .. } => ExitKind::Integrity,
    Self::Interrupted { .. } => ExitKind::Other,
});

explain!(export::Error, self => match self {
    Self::Store(error) => error.exit(),
    Self::Layer(error) => error.exit(),
    Self::Read(_) | Self::DiffIds { .. } => ExitKind::Integrity,
    Self::TooManyOwners { .. } | Self::InTheWay { .. } => ExitKind::Other,
    Self::Missing { .. } | Self::Write { .. } => ExitKind::Store,
    Self::Exists { .. } | Self::Terminal | Self::Stdout { .. } => ExitKind::Usage,
    Self::Encode { .. } | Self::Stopped { .. } => ExitKind::Other,
});

explain!(rebase::Error, self => match self {
    Self::Base(error) => error.exit(),
    Self::Layers { .. } => ExitKind::Integrity,
    _ => ExitKind::Recipe,
});

explain!(assemble::Error, self => match self {
    Self::Plan(error) => error.exit(),
    Self::Cache(error) => error.exit(),
    Self::Layer { source, .. } => source.exit(),
    Self::Extract(error) => error.exit(),
    Self::Index(error) => error.exit(),
    Self::Wheels(error) => error.exit(),
    Self::Package(error) => error.exit(),
    Self::Mirrors(_) => ExitKind::Usage,
    Self::Base(error) => error.exit(),
    Self::Source(error) => error.exit(),
    Self::Store(error) => error.exit(),
    Self::Write(error) => error.exit(),
    Self::Registry(error) => error.exit(),
    Self::Read(_) => ExitKind::Integrity,
    Self::NoSecret { .. } => ExitKind::Usage,
    Self::Platform { .. } | Self::NoIndexes { .. } => ExitKind::Recipe,
    Self::Manifest(_) | Self::Config { .. } | Self::NestedIndex { .. } | Self::NotAnImage { .. } => ExitKind::Integrity,
    Self::Gone { .. } => ExitKind::Store,
    Self::Untested { .. } => ExitKind::Test,
    Self::Thread { .. } | Self::Encode(_) => ExitKind::Other,
});
