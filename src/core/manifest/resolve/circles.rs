//! Resources that wait for each other: none of them would ever be the first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problem, Resolver, Step};
use crate::core::api::ObjectKey;

/// What each resource waits for, with its number in `dependsOn`.
type Needs = BTreeMap<ObjectKey, Vec<(usize, ObjectKey)>>;

/// A circle: the resources on it in the order in which each waits for the next, and the number by which the last one waits for the first.
type Circle<'a> = (Vec<&'a ObjectKey>, usize);

impl Resolver<'_> {
    /// Reports each circle once, at the reference that closes it.
    pub(super) fn circles(&mut self) {
        let needs = std::mem::take(&mut self.needs);
        for (circle, number) in circles(&needs) {
            let (Some(first), Some(last)) = (circle.first(), circle.last()) else { continue };
            let Some(at) = self.at(last) else { continue };
            let path = [Step::Key("spec"), "dependsOn".into(), number.into()];
            if circle.len() == 1 {
                self.report(at, &path, |span| Problem::new(span, "a resource cannot wait for itself"));
                continue;
            }
            let names: Vec<String> = circle.iter().chain([first]).map(ToString::to_string).collect();
            self.report(at, &path, |span| {
                Problem::new(span, format!("these wait for each other: {}", names.join(" → ")))
                    .hint("leave out one `dependsOn` of them: none could be started first")
            });
        }
    }
}

/// By a walk in depth that keeps its path, not by recursion: a chain may be as long as there are resources.
fn circles(needs: &Needs) -> Vec<Circle<'_>> {
    let mut found = Vec::new();
    let mut done: BTreeSet<&ObjectKey> = BTreeSet::new();
    for root in needs.keys() {
        let mut path: Vec<(&ObjectKey, usize)> = vec![(root, 0)];
        let mut places: BTreeMap<&ObjectKey, usize> = BTreeMap::from([(root, 0)]);
        while let Some((key, next)) = path.last_mut() {
            let needed = needs.get(*key).filter(|_| !done.contains(*key)).and_then(|needed| needed.get(*next));
            let Some((number, needed)) = needed else {
                places.remove(*key);
                done.insert(*key);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(start) = places.get(needed) {
                found.push((path.iter().skip(*start).map(|(key, _)| *key).collect(), *number));
            } else if !done.contains(needed) {
                places.insert(needed, path.len());
                path.push((needed, 0));
            }
        }
    }
    found
}
