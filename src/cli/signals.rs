//! SIGINT and SIGTERM: what is under way comes to a point that the next run goes on
//! from, and the process ends within a second, whatever hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::{Colour, ExitKind, Failure};

/// How long uploads may take to end in order.
pub const GRACE: Duration = Duration::from_millis(400);
/// How long all else may take: then the process is ended from outside of what hangs.
const LAST: Duration = Duration::from_millis(950);

/// Hears signals on a thread of its own: a system call that blocks, such as the lock
/// of a store that is being collected, must not keep them off. Dropped, it listens no
/// more.
pub struct Signals {
    heard: watch::Receiver<Option<ExitKind>>,
}

/// Whether the failure that ends the process was shown.
static SAID: AtomicBool = AtomicBool::new(false);

/// Whether the caller is to show the failure that ends the process: it is shown once.
pub fn may_say() -> bool {
    !SAID.swap(true, Ordering::Relaxed)
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system has no room for handlers or threads.
    pub fn listen() -> Result<Self, Failure> {
        let failed = |source| Failure::new(ExitKind::Other, source);
        let (tell, heard) = watch::channel(None);
        let (ready, listening) = mpsc::channel();
        let listener = std::thread::Builder::new().name("signals".to_owned());
        listener.spawn(move || listen(&ready, &tell)).map_err(failed)?;
        // without an answer the thread has died, which says nothing
        listening.recv().unwrap_or(Ok(())).map_err(failed)?;
        Ok(Self { heard })
    }

    /// Waits for a signal.
    pub async fn heard(&self) -> ExitKind {
        let mut heard = self.heard.clone();
        let kind = heard.wait_for(Option::is_some).await.ok().and_then(|kind| *kind);
        match kind {
            Some(kind) => kind,
            None => std::future::pending().await,
        }
    }
}

/// The failure that a signal is.
pub fn failure(kind: ExitKind) -> Failure {
    let what = if kind == ExitKind::Interrupted { "interrupted" } else { "terminated" };
    Failure::new(kind, what).hint("what was finished is kept: the same command goes on from there")
}

fn listen(ready: &mpsc::Sender<std::io::Result<()>>, tell: &watch::Sender<Option<ExitKind>>) {
    let heard = |kind| {
        tell.send_replace(Some(kind));
        std::thread::sleep(LAST);
        if may_say() {
            failure(kind).show(&mut std::io::stderr(), Colour::of_stderr());
        }
        std::process::exit(kind as i32);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let signals = signal(SignalKind::interrupt()).and_then(|it| Ok((it, signal(SignalKind::terminate())?)));
        let (mut interrupt, mut terminate) = match signals {
            Ok(signals) => signals,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let _ = ready.send(Ok(()));
        tokio::select! {
            _ = interrupt.recv() => heard(ExitKind::Interrupted),
            _ = terminate.recv() => heard(ExitKind::Terminated),
            () = tell.closed() => {}
        }
    });
}
