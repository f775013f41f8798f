//! The built binary, as a user and a script meet it.

mod basics;
pub(crate) mod run;
