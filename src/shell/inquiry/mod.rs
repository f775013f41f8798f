//! What is asked of servers when somebody wants to know it, and by no pass: what keeps requests from their applications, what containers print, and
//! what they use. Commands and the page ask alike.

pub mod doctor;
pub mod logs;
pub mod usage;
