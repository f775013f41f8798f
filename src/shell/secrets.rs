//! Values that manifests name and do not hold: read last, from the environment, from files and from files that SOPS has encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::manifest::Base;
use crate::core::workload::{Secret, SecretSource, Workload};
use crate::shell::program::ask;

/// Bytes of one value at most.
const LARGEST: u64 = 1 << 20;
/// Characters of a generated password: 32 of CUID2's alphabet are some 160 bits.
const PASSWORD: u16 = 32;
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Whether a password that is to be generated may be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generate {
    /// A dry run writes nothing: the password counts as there.
    No,
    Yes,
}

/// Reads every value of what is planned for. One that cannot be had stays without, and says why; whatever needs it is refused.
///
/// `base`: where the files are.
pub fn read(desired: &mut DesiredState, base: &Base, generate: Generate) {
    let mut reader = Reader { base, generate, values: BTreeMap::new(), decrypted: BTreeMap::new() };
    let named = |workload: &Workload| workload.container.values().any(|(_, value)| value.is_secret());
    let names = |server: &DesiredServer| {
        let members = server.destinations.iter().flat_map(|it| &it.members);
        members.filter_map(|it| it.workload.as_deref()).any(named)
    };
    let servers = desired.servers.values_mut().filter(|server| names(server)).map(Arc::make_mut);
    for member in servers.flat_map(|server| &mut server.destinations).flat_map(|it| &mut it.members) {
        let Some(workload) = member.workload.as_mut().filter(|workload| named(workload)) else { continue };
        for secret in Arc::make_mut(workload).container.secrets_mut() {
            reader.fill(secret);
        }
    }
}

/// Reads one value, to be shown to whoever has asked for it.
pub fn reveal(source: &SecretSource, base: &Base) -> Result<String, String> {
    let mut reader = Reader { base, generate: Generate::No, values: BTreeMap::new(), decrypted: BTreeMap::new() };
    reader.value(source)
}

/// Values that are not to be had here: the resource that needs each, and why. Nothing is decrypted for that.
pub fn missing(desired: &DesiredState, base: &Base) -> Vec<(ObjectKey, String)> {
    let mut found = BTreeSet::new();
    for member in desired.destinations().flat_map(|(_, destination)| &destination.members) {
        let Some(workload) = member.workload.as_deref() else { continue };
        for (place, value) in workload.container.values() {
            if let Some(why) = value.secret().and_then(|secret| absence(&secret.source, base)) {
                found.insert((member.resource.clone(), format!("the value of {place} is missing: {why}")));
            }
        }
    }
    found.into_iter().collect()
}

fn absence(source: &SecretSource, base: &Base) -> Option<String> {
    let mut reader = Reader { base, generate: Generate::No, values: BTreeMap::new(), decrypted: BTreeMap::new() };
    match source {
        SecretSource::Env(_) | SecretSource::File { .. } => reader.value(source).err(),
        SecretSource::Sops { file, .. } => {
            let found = base.path(file).and_then(|place| fs::metadata(place).map_err(|error| plain(&error)));
            found.err().map(|why| format!("the file {file} cannot be read: {why}"))
        }
        SecretSource::Rendered { within, .. } => absence(within, base),
    }
}

/// The files that values are read from, as manifests name them.
pub fn files(desired: &DesiredState) -> BTreeSet<String> {
    let workloads = desired.destinations().flat_map(|(_, it)| &it.members).filter_map(|it| it.workload.as_deref());
    let secrets = workloads.flat_map(|it| it.container.values()).filter_map(|(_, value)| value.secret());
    secrets.filter_map(|secret| file_of(&secret.source)).map(str::to_owned).collect()
}

fn file_of(source: &SecretSource) -> Option<&str> {
    match source {
        SecretSource::Env(_) => None,
        SecretSource::File { path, .. } => Some(path),
        SecretSource::Sops { file, .. } => Some(file),
        SecretSource::Rendered { within, .. } => file_of(within),
    }
}

/// Gives the values that are asked for what they are in `declared`, and reads nothing: a value that nothing there names stays without.
pub fn lend(desired: &mut DesiredState, declared: &DesiredState) {
    let mut known = BTreeMap::new();
    for workload in declared.destinations().flat_map(|(_, it)| &it.members).filter_map(|it| it.workload.as_deref()) {
        for secret in workload.container.values().filter_map(|(_, value)| value.secret()) {
            known.insert(secret.source.clone(), secret.expose().map(str::to_owned));
        }
    }
    for server in desired.servers.values_mut() {
        let workloads = server.destinations.iter().flat_map(|it| &it.members).filter_map(|it| it.workload.as_deref());
        if !workloads.flat_map(|it| it.container.values()).any(|(_, value)| value.is_secret()) {
            continue;
        }
        let members = Arc::make_mut(server).destinations.iter_mut().flat_map(|it| &mut it.members);
        for secret in
            members.filter_map(|it| it.workload.as_mut()).flat_map(|it| Arc::make_mut(it).container.secrets_mut())
        {
            let value = known.get(&secret.source).cloned().flatten();
            secret.set(
                value.ok_or_else(|| format!("{} is named by no manifest in force, so it is not read", secret.source)),
            );
        }
    }
}

struct Reader<'a> {
    base: &'a Base,
    generate: Generate,
    values: BTreeMap<SecretSource, Result<String, String>>,
    /// Files that SOPS has decrypted, as JSON.
    decrypted: BTreeMap<String, Result<serde_json::Value, String>>,
}

impl Reader<'_> {
    fn fill(&mut self, secret: &mut Secret) {
        let value = self.value(&secret.source.clone());
        secret.set(value);
    }

    fn value(&mut self, source: &SecretSource) -> Result<String, String> {
        if let Some(known) = self.values.get(source) {
            return known.clone();
        }
        let value = match source {
            SecretSource::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
            }
            SecretSource::File { path, generate } => self.file(path, *generate),
            SecretSource::Sops { file, key } => self.sops(file, key),
            SecretSource::Rendered { within, before, after, form } => {
                self.value(within).map(|value| SecretSource::render(before, &value, after, *form))
            }
        };
        self.values.insert(source.clone(), value.clone());
        value
    }

    fn file(&self, path: &str, generate: bool) -> Result<String, String> {
        let unreadable = |why: String| format!("the file {path} cannot be read: {why}");
        if generate && self.base.is_of_commit(path) {
            return Err(format!(
                "a password cannot be generated into the file {path}: it is one of the repository; name an absolute path"
            ));
        }
        let place = self.base.path(path).map_err(unreadable)?;
        match read_file(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && generate => match self.generate {
                Generate::Yes => write_password(&place)
                    .map_err(|error| format!("a password could not be written to the file {path}: {error}")),
                Generate::No => Ok("(generated)".to_owned()),
            },
            read => read.map_err(|error| unreadable(plain(&error))),
        }
    }

    fn sops(&mut self, file: &str, key: &str) -> Result<String, String> {
        let document = self.decrypted.entry(file.to_owned()).or_insert_with(|| decrypt(file, self.base)).clone()?;
        let found = key.split('.').try_fold(&document, |value, part| value.get(part));
        match found {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => Ok(value.to_string()),
            Some(_) => Err(format!("the key {key} of {file} is no single value")),
            None => Err(format!("{file} has no key {key}")),
        }
    }
}

/// One trailing line break is how editors end a file, and no part of the value. A pipe that nothing is written to is not waited for.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    let end = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).map_or(text.len(), str::len);
    text.truncate(end);
    Ok(text)
}

/// Two processes at once agree: the file is made by one of them, and read by the other.
fn write_password(path: &Path) -> io::Result<String> {
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let password = cuid2::CuidConstructor::new().with_length(PASSWORD).create_id();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(format!("{password}\n").as_bytes())?;
            file.sync_all()?;
            Ok(password)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_file(path),
        Err(error) => Err(error),
    }
}

/// `sops` decrypts with whatever keys its own configuration leads to, age among them.
fn decrypt(file: &str, base: &Base) -> Result<serde_json::Value, String> {
    let place = base.path(file).map_err(|why| format!("sops cannot decrypt {file}: {why}"))?;
    let mut command = Command::new("sops");
    command.args(["--decrypt", "--output-type", "json", "--"]).arg(&place);
    let answer = ask(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{file} needs the program `sops`, which is not installed"),
        _ => format!("sops cannot be run: {}", plain(&error)),
    })?;
    if !answer.success {
        let said = answer.stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
        return Err(format!("sops cannot decrypt {file}: {}", said.replace(&*place.to_string_lossy(), file)));
    }
    serde_json::from_str(&answer.stdout).map_err(|_| format!("what sops makes of {file} is no JSON"))
}

fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(generate: Generate) -> Reader<'static> {
        static HERE: std::sync::LazyLock<Base> = std::sync::LazyLock::new(Base::default);
        Reader { base: &HERE, generate, values: BTreeMap::new(), decrypted: BTreeMap::new() }
    }

    #[test]
    fn a_password_is_generated_once_for_its_user_alone_and_a_dry_run_writes_none() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets/orders");
        let source = SecretSource::File { path: path.display().to_string(), generate: true };
        assert!(reader(Generate::No).value(&source).is_ok());
        assert!(!path.exists());
        let password = reader(Generate::Yes).value(&source).unwrap();
        assert_eq!(password.len(), usize::from(PASSWORD));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(reader(Generate::Yes).value(&source), Ok(password));
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_there_is_read_without_its_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let source = SecretSource::File { path: path.display().to_string(), generate: false };
        let said = reader(Generate::Yes).value(&source).unwrap_err();
        assert!(said.contains("token cannot be read: no such file"), "{said}");
        fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(reader(Generate::Yes).value(&source), Ok("hunter2".to_owned()));
        let said = reader(Generate::Yes).value(&SecretSource::Env("LANDFALL_NOT_SET".to_owned())).unwrap_err();
        assert_eq!(said, "the environment variable LANDFALL_NOT_SET is not set");
    }

    #[test]
    fn a_repository_is_no_place_for_a_generated_password() {
        let base = Base::of_commit("/nonexistent".into(), "".into(), "/".into(), None);
        for generate in [Generate::No, Generate::Yes] {
            let mut reader = Reader { base: &base, ..reader(generate) };
            let said = reader.value(&SecretSource::File { path: "a/b".to_owned(), generate: true }).unwrap_err();
            assert!(said.contains("name an absolute path"), "{said}");
        }
    }

    #[test]
    fn a_secret_within_a_text_is_written_as_the_text_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, "p@ss/word").unwrap();
        let file = SecretSource::File { path: path.display().to_string(), generate: false };
        let url = file.within("postgres://app:", "@orders:5432/orders", crate::core::workload::secret::Form::Url);
        assert_eq!(reader(Generate::No).value(&url), Ok("postgres://app:p%40ss%2Fword@orders:5432/orders".to_owned()));
    }
}
