//! Which backups go when there are more than are to be kept.

/// The names of backups, which are their times, oldest first: those beyond the `keep` newest. None goes where nothing is said.
pub fn superseded(mut names: Vec<String>, keep: Option<u32>) -> Vec<String> {
    let Some(keep) = keep else { return Vec::new() };
    names.sort();
    // The newest stays whatever is said.
    let keep = (keep as usize).max(1);
    names.truncate(names.len().saturating_sub(keep));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_without_a_number_all_of_them() {
        let names = || ["20260103T000000Z", "20260101T000000Z", "20260102T000000Z"].map(str::to_owned).to_vec();
        assert_eq!(superseded(names(), Some(2)), ["20260101T000000Z"]);
        assert_eq!(superseded(names(), Some(0)), ["20260101T000000Z", "20260102T000000Z"]);
        assert!(superseded(names(), None).is_empty());
        assert!(superseded(names(), Some(9)).is_empty());
    }
}
