//! Backups as values: what an archive says of itself, and what each database engine is asked to write and read.

pub mod address;
pub mod database;
pub mod policy;
pub mod retention;

use serde::{Deserialize, Serialize};

use crate::core::api::{DatabaseEngine, ObjectKey};

/// The format of the archives that this version writes.
pub const FORMAT: &str = "landfall-backup/v1";
/// Name of the file that makes a directory a backup. It is written last.
pub const MANIFEST: &str = "manifest.json";

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: String,
    /// `Kind/namespace/name`
    pub object: String,
    /// `namespace/name`
    pub server: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// Of Landfall.
    pub version: String,
    pub consistency: Consistency,
    /// Of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    pub parts: Vec<Part>,
    /// What was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How the data was kept from changing while it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// By a snapshot of the engine's own.
    Snapshot,
    /// Nothing that writes to the volumes ran.
    Stopped,
    /// Not at all: files may be from different moments.
    Live,
}

/// Of which engine a dump is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseFacts {
    pub engine: DatabaseEngine,
    /// As the server says it.
    pub server_version: String,
    /// The image of the container, as it was named.
    pub image: String,
    /// Tables, collections or keys just before the dump, as `database.schema.table`.
    pub tables: Vec<String>,
}

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Within the archive's directory.
    pub file: String,
    #[serde(flatten)]
    pub content: Content,
    pub encrypted: bool,
    /// Bytes of the file.
    pub size: u64,
    /// Of the file, hexadecimal.
    pub sha256: String,
    /// Bytes before compression.
    pub content_size: u64,
    /// Before compression, hexadecimal.
    pub content_sha256: String,
}

/// What is in a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// What belongs to no database: roles, for example.
    Globals,
    /// One database, or all of an engine that dumps them together.
    Dump { database: String },
    /// The files of a volume, as a tar archive.
    Volume {
        name: String,
        /// Files, directories, links.
        entries: u64,
        /// Of names, owners, modes, times, capabilities and content, in whatever order they are archived.
        tree: String,
        /// The same with all extended attributes, where they were read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attributes: Option<String>,
    },
}

impl Content {
    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Content::Globals => "roles and settings".to_owned(),
            Content::Dump { database } if database.is_empty() => "all databases".to_owned(),
            Content::Dump { database } => format!("database {database}"),
            Content::Volume { name, .. } => format!("volume {name}"),
        }
    }
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("it is no manifest of a backup: {0}")]
    Unreadable(String),
    #[error("it has the format {0}, and this version of Landfall reads {FORMAT}")]
    Format(String),
    #[error("it names the file {0:?}, which is not within the archive")]
    File(String),
    #[error("its object {0:?} is none")]
    Object(String),
}

impl Manifest {
    /// Read and checked: a name from it is used as a path.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_str).unwrap_or_default();
        if format != FORMAT {
            return Err(ManifestError::Format(format.to_owned()));
        }
        let manifest: Self =
            serde_json::from_value(value).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        for part in &manifest.parts {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if part.file.starts_with('.') || part.file.is_empty() || !part.file.chars().all(plain) {
                return Err(ManifestError::File(part.file.clone()));
            }
        }
        manifest.object.parse::<ObjectKey>().map_err(|_| ManifestError::Object(manifest.object.clone()))?;
        Ok(manifest)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Bytes before compression.
    pub fn content_size(&self) -> u64 {
        self.parts.iter().map(|part| part.content_size).sum()
    }

    pub fn is_encrypted(&self) -> bool {
        self.parts.iter().any(|part| part.encrypted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(file: &str) -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            object: "Application/shop/web".to_owned(),
            server: "default/edge".to_owned(),
            created: "2026-11-29T12:00:00Z".to_owned(),
            version: "0.2.0".to_owned(),
            consistency: Consistency::Stopped,
            database: None,
            parts: vec![Part {
                file: file.to_owned(),
                content: Content::Volume {
                    name: "uploads".to_owned(),
                    entries: 3,
                    tree: "00".to_owned(),
                    attributes: None,
                },
                encrypted: false,
                size: 1,
                sha256: "00".to_owned(),
                content_size: 2,
                content_sha256: "00".to_owned(),
            }],
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = manifest("volume-0.tar.zst");
        let text = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&text), Ok(manifest));
    }

    #[test]
    fn a_manifest_leads_nowhere_out_of_its_directory() {
        for file in ["../../etc/shadow", "/etc/shadow", "", ".hidden", "a/b"] {
            let text = serde_json::to_vec(&manifest(file)).unwrap();
            assert_eq!(Manifest::parse(&text), Err(ManifestError::File(file.to_owned())));
        }
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let newer = br#"{"format": "landfall-backup/v9"}"#;
        assert_eq!(Manifest::parse(newer), Err(ManifestError::Format("landfall-backup/v9".to_owned())));
        assert!(matches!(Manifest::parse(b"{\"for"), Err(ManifestError::Unreadable(_))));
    }
}
