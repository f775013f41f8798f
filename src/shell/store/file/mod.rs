//! The first implementation: files in the state directory of one machine.

pub mod journals;
pub mod lock;
pub mod records;

pub use journals::FileJournals;
pub use records::FileRecords;

/// Does what waits for the disk, or for the turn of another process, off the threads that everything else runs on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends: nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The same for what is a matter of moments, without a change of the order that things are done in: where there are other threads for everything else.
fn in_place<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
