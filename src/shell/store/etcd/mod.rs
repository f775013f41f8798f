//! The implementation for several controllers: one etcd that all of them use.
//!
//! `client` speaks to it. `keeper` keeps this controller's lease and its locks, one a server; `share` decides which it should have. `journals` and
//! `records` keep what files keep for a single controller: whatever is about a server is written by a transaction that compares the server's lock
//! with the token under which it was taken, so that nobody writes who has lost it.

pub mod address;
pub mod approval;
pub mod client;
pub mod fleet;
pub mod journals;
pub mod keeper;
pub mod live;
pub mod pack;
pub mod records;
pub mod share;
pub mod views;
pub mod wire;

pub use address::{AddressError, EtcdAddress, TlsFiles};
pub use client::{Client, EtcdError};
pub use journals::EtcdJournals;
pub use keeper::{Held, Holding, Shares};
pub use records::EtcdRecords;
pub use views::Views;
