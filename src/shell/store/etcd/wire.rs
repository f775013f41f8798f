//! The messages of etcd's JSON gateway: bytes in base64, 64-bit numbers as strings, and what is zero or empty left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
    /// A number of 64 bits without a sign, as text.
    pub(super) cluster_id: String,
}

/// A key and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pair {
    #[serde(deserialize_with = "bytes")]
    key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    pub value: Vec<u8>,
    #[serde(deserialize_with = "number")]
    pub create_revision: i64,
    #[serde(deserialize_with = "number")]
    pub mod_revision: i64,
    #[serde(deserialize_with = "number")]
    pub lease: i64,
}

impl Pair {
    /// Keys are text; one of somebody else's that is not is like no key of ours.
    pub fn key(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ranged {
    pub(super) header: Header,
    pub(super) kvs: Vec<Pair>,
    pub(super) more: bool,
    #[serde(deserialize_with = "number")]
    pub(super) count: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Txned {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    responses: Vec<Response>,
}

impl Txned {
    /// What was read of each key, in the order in which they were asked for; `None`: it is not there.
    pub(super) fn read(self) -> Vec<Option<Pair>> {
        self.responses.into_iter().map(|it| it.response_range.kvs.into_iter().next()).collect()
    }
}

/// To one request of a transaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Response {
    response_range: Ranged,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Granted {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
}

/// Of a keepalive: zero for a lease that is no more.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alive {
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

/// One message of a stream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Streamed<T: Default> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Refused>,
}

/// Why there is nothing. Streams have other names for the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) error: String,
    pub(super) message: String,
    #[serde(alias = "grpc_code")]
    pub(super) code: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) header: Header,
    pub(super) created: bool,
    pub(super) canceled: bool,
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: i64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    pub(super) kv: Pair,
}

impl Event {
    /// What is there now; `None`: nothing.
    pub(super) fn is_deletion(&self) -> bool {
        self.kind == "DELETE"
    }
}

/// Everything that begins with it: the end of the range.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Keys are ASCII: there is a next byte.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Compare {
    /// The key was created by that revision, and was there ever since; 0: it is not there.
    Created(String, i64),
    /// The key was changed last by that revision; 0: it is not there.
    Modified(String, i64),
    /// The key is under that lease.
    Leased(String, i64),
}

impl Compare {
    fn json(&self) -> Value {
        match self {
            Self::Created(key, revision) => json!({
                "key": encoded(key.as_bytes()), "target": "CREATE", "result": "EQUAL", "create_revision": revision.to_string(),
            }),
            Self::Modified(key, revision) => json!({
                "key": encoded(key.as_bytes()), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string(),
            }),
            Self::Leased(key, lease) => json!({
                "key": encoded(key.as_bytes()), "target": "LEASE", "result": "EQUAL", "lease": lease.to_string(),
            }),
        }
    }
}

/// A change of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put {
        key: String,
        value: Vec<u8>,
        lease: i64,
    },
    Delete {
        key: String,
    },
    /// Every key from the one on, up to the other, which stays.
    DeleteRange {
        from: String,
        to: String,
    },
}

impl Change {
    pub fn put(key: impl Into<String>, value: Vec<u8>) -> Self {
        Self::Put { key: key.into(), value, lease: 0 }
    }

    fn json(&self) -> Value {
        match self {
            Self::Put { key, value, lease } => json!({ "request_put": {
                "key": encoded(key.as_bytes()), "value": encoded(value), "lease": lease.to_string(),
            } }),
            Self::Delete { key } => json!({ "request_delete_range": { "key": encoded(key.as_bytes()) } }),
            Self::DeleteRange { from, to } => json!({ "request_delete_range": {
                "key": encoded(from.as_bytes()), "range_end": encoded(to.as_bytes()),
            } }),
        }
    }
}

/// `otherwise`: keys that are read where a condition does not hold.
pub(super) fn txn(compare: &[Compare], changes: &[Change], otherwise: &[&str]) -> Value {
    let read = |key: &&str| json!({ "request_range": { "key": encoded(key.as_bytes()) } });
    json!({
        "compare": compare.iter().map(Compare::json).collect::<Vec<_>>(),
        "success": changes.iter().map(Change::json).collect::<Vec<_>>(),
        "failure": otherwise.iter().map(read).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_text_and_what_is_zero_does_not_come() {
        let text = r#"{"header":{"revision":"7","raft_term":"2"},"kvs":[{"key":"YS8x","create_revision":"2","value":"aGk="}],"count":"1"}"#;
        let ranged: Ranged = serde_json::from_str(text).unwrap();
        assert_eq!((ranged.header.revision, ranged.count, ranged.more), (7, 1, false));
        let [pair] = ranged.kvs.as_slice() else { panic!("{ranged:?}") };
        assert_eq!((pair.key(), pair.value.as_slice(), pair.create_revision, pair.lease), ("a/1", &b"hi"[..], 2, 0));
        let gone: Streamed<Alive> = serde_json::from_str(r#"{"result":{"header":{},"ID":"123"}}"#).unwrap();
        assert_eq!(gone.result.unwrap().ttl, 0);
        let failed = r#"{"header":{"revision":"7"},"responses":[{"response_range":{"header":{"revision":"7"},"kvs":[{"key":"YS8x"}],"count":"1"}},
            {"response_range":{"header":{"revision":"7"}}}]}"#;
        let failed: Txned = serde_json::from_str(failed).unwrap();
        assert!(!failed.succeeded);
        let keys: Vec<Option<String>> = failed.read().into_iter().map(|it| Some(it?.key().to_owned())).collect();
        assert_eq!(keys, [Some("a/1".to_owned()), None]);
        let refused: Refused = serde_json::from_str(r#"{"error":"no","message":"no","code":9}"#).unwrap();
        assert_eq!((refused.code, refused.message.as_str()), (9, "no"));
    }

    #[test]
    fn a_prefix_ends_before_the_next_byte() {
        assert_eq!(end_of("landfall/shop/"), b"landfall/shop0");
    }
}
