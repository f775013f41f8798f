//! Calls for what Landfall runs, as people read them.

use std::fmt;

use crate::core::workload::compare::Difference;

/// More than these are counted.
const SHOWN: usize = 8;

pub(crate) fn list(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    write!(f, " ({}", shown.join("; "))?;
    match differences.len().saturating_sub(SHOWN) {
        0 => f.write_str(")"),
        more => write!(f, "; and {more} more)"),
    }
}
