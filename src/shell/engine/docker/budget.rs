//! What an answer may come to in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::wire::Odd;

/// Bytes of all entries of all lists and mappings of one answer, strings not counted: their number is bounded by the answer's. Ten thousand
/// containers take some thirty megabytes.
const MOST: usize = 128 << 20;

thread_local! {
    /// Of the answer that this thread decodes. Deserializing is one call that nothing interrupts, and derived code passes nothing along.
    static LEFT: Cell<usize> = const { Cell::new(MOST) };
}

/// What is decoded from now on belongs to another answer.
pub(super) fn begin() {
    LEFT.set(MOST);
}

/// Decodes one answer.
pub(super) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    begin();
    serde_json::from_slice(bytes)
}

fn spend<T, E: Error>() -> Result<(), E> {
    let left = LEFT.get().checked_sub(size_of::<T>());
    LEFT.set(left.ok_or_else(|| E::custom("it has more entries than any server can have"))?);
    Ok(())
}

/// A part of an answer: absent and null are its default.
pub(super) trait Part: Default + DeserializeOwned {
    fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}

impl Part for String {}
impl Part for bool {}
impl Part for i64 {}
impl Part for u64 {}
impl<T: DeserializeOwned> Part for Option<T> {}

impl<T: DeserializeOwned> Part for Vec<T> {
    fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries(Vec::new()))
    }
}

impl<T: DeserializeOwned> Part for BTreeMap<String, T> {
    fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries(BTreeMap::new()))
    }
}

/// What is collected.
struct Entries<C>(C);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<Vec<T>> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        while let Some(entry) = entries.next_element()? {
            spend::<T, _>()?;
            self.0.push(entry);
        }
        Ok(self.0)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<BTreeMap<String, T>> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        while let Some((key, value)) = entries.next_entry()? {
            spend::<(String, T), _>()?;
            self.0.insert(key, value);
        }
        Ok(self.0)
    }
}

/// A list as the whole of an answer, each entry turned into what is kept of it before the next one is read.
#[derive(Debug)]
pub(super) struct List<W, T> {
    pub(super) entries: Vec<T>,
    of: PhantomData<W>,
}

impl<'de, W: Deserialize<'de>, T: TryFrom<W, Error = Odd>> Deserialize<'de> for List<W, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Kept(Self { entries: Vec::new(), of: PhantomData }))
    }
}

struct Kept<W, T>(List<W, T>);

impl<'de, W: Deserialize<'de>, T: TryFrom<W, Error = Odd>> Visitor<'de> for Kept<W, T> {
    type Value = List<W, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        while let Some(entry) = entries.next_element()? {
            spend::<T, _>()?;
            self.0.entries.push(T::try_from(entry).map_err(A::Error::custom)?);
        }
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observed::{ObservedContainer, ObservedNetwork};
    use crate::shell::engine::docker::wire::{InspectedContainer, ListedContainer, Network};

    type Containers = List<ListedContainer, ObservedContainer>;
    type Networks = List<Network, ObservedNetwork>;

    fn many(count: usize, entry: impl Fn(usize) -> String) -> String {
        (0..count).map(entry).collect::<Vec<_>>().join(",")
    }

    /// A server with nothing on it says so.
    #[test]
    fn null_is_no_list() {
        assert!(decoded::<Containers>(b"null").is_err());
        assert!(decoded::<Containers>(b"[]").unwrap().entries.is_empty());
    }

    #[test]
    fn few_bytes_that_would_be_much_memory_are_refused() {
        let id = "0".repeat(64);
        let networks = many(500_000, |number| format!(r#""{number}":{{}}"#));
        let list = format!(r#"[{{"Id":"{id}","NetworkSettings":{{"Networks":{{{networks}}}}}}}]"#);
        let error = decoded::<Containers>(list.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("it has more entries than any server can have"), "{error}");
        let inspected = decoded::<InspectedContainer>(&list.as_bytes()[1..list.len() - 1]);
        let error = inspected.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("it has more entries than any server can have"), "{error}");
    }

    #[test]
    fn a_server_with_ten_thousand_containers_and_networks_is_read() {
        let labels = many(30, |number| format!(r#""com.example.label-{number}":"value""#));
        let endpoints = many(4, |number| format!(r#""net-{number}":{{"NetworkID":"{number:064x}"}}"#));
        let container = |number| {
            format!(
                r#"{{"Id":"{number:064x}","Labels":{{{labels}}},"NetworkSettings":{{"Networks":{{{endpoints}}}}}}}"#
            )
        };
        let containers = decoded::<Containers>(format!("[{}]", many(10_000, container)).as_bytes()).unwrap();
        assert_eq!(containers.entries.len(), 10_000);
        assert_eq!((containers.entries[7].labels.len(), containers.entries[7].endpoints.len()), (30, 4));
        let network = |number| format!(r#"{{"Id":"{number:064x}","Scope":"local"}}"#);
        let networks = decoded::<Networks>(format!("[{}]", many(10_000, network)).as_bytes()).unwrap();
        assert_eq!(networks.entries.len(), 10_000);
    }
}
