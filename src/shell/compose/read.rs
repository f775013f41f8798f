//! What Compose makes of the files that services declare: read last, as values from elsewhere are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use saphyr_parser::Parser;
use serde_json::Value;

use super::{INSTALL, Program};
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer, DesiredState, Endpoint};
use crate::core::manifest::Base;
use crate::core::plan::Reason;
use crate::core::workload::stack::{self, Additions, Made, Model, Paths, Stack, Unmade};
use crate::core::workload::stack_file::ContentOrigin;
use crate::shell::engine::connect::{ContextEnvironment, ContextTarget, context};
use crate::shell::program::{ask, tell};

/// Bytes of a compose file.
const LARGEST_FILE: u64 = 1 << 20;
/// Of one compose file, that it names.
const FURTHER_FILES: usize = 64;
/// Files that are read at once. Each is a few short-lived processes.
const AT_ONCE: usize = 4;
/// After these words Compose quotes what it could not read.
const QUOTING: &[&str] = &["unterminated quoted value", "in variable name near"];
/// Values of variables that are shorter are no secrets, and words of messages.
const SECRET: usize = 4;

/// Has Compose read every file of what is planned for. One that cannot be read says why; whatever needs it is refused.
///
/// `base`: where the files are.
pub fn read(desired: &mut DesiredState, base: &Base) {
    let set = desired.set.clone();
    let declares =
        |server: &DesiredServer| server.destinations.iter().flat_map(|it| &it.members).any(|it| it.stack.is_some());
    let servers: Vec<&mut DesiredServer> =
        desired.servers.values_mut().filter(|server| declares(server)).map(Arc::make_mut).collect();
    if servers.is_empty() {
        return;
    }
    let program = Program::find();
    let mut work = Vec::new();
    for server in &servers {
        // The files of a commit go when the next one is in force: a container cannot have them mounted.
        let local = base.part().is_none() && is_local(&server.endpoint);
        for destination in &server.destinations {
            work.extend(
                destination
                    .members
                    .iter()
                    .filter(|it| it.stack.is_some())
                    .map(|it| (*server as &DesiredServer, destination, it, local)),
            );
        }
    }
    let make = |(server, destination, member, local): &(&DesiredServer, &DesiredDestination, &DesiredMember, bool)| {
        let stack = member.stack.as_deref()?;
        let program = program.as_ref().map_err(|found| Unmade {
            reason: Reason::ComposeMissing,
            message: format!("The stack {} needs Docker Compose: {found}.", stack.project),
            hint: INSTALL.to_owned(),
            line: None,
            unread: false,
        });
        let made = match program {
            Ok(program) => {
                Making { program, base, set: &set, server, destination, member, stack, local: *local }.make()
            }
            Err(missing) => Err(missing),
        };
        Some(Arc::new(Stack { made, ..stack.clone() }))
    };
    let share = work.len().div_ceil(AT_ONCE).max(1);
    let made: Vec<Option<Arc<Stack>>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            work.chunks(share).map(|part| scope.spawn(|| part.iter().map(make).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut made = made.into_iter();
    for server in servers {
        for member in server.destinations.iter_mut().flat_map(|it| &mut it.members).filter(|it| it.stack.is_some()) {
            if let Some(Some(stack)) = made.next() {
                member.stack = Some(stack);
            }
        }
    }
}

/// Gives stacks what was made of them in `declared`, and reads nothing: one that is another there stays without.
pub fn lend(desired: &mut DesiredState, declared: &DesiredState) {
    for (key, server) in &mut desired.servers {
        if server.destinations.iter().flat_map(|it| &it.members).all(|it| it.stack.is_none()) {
            continue;
        }
        let known = declared.servers.get(key);
        for destination in &mut Arc::make_mut(server).destinations {
            let known = known.and_then(|it| it.destinations.iter().find(|it| it.key == destination.key));
            for member in destination.members.iter_mut().filter(|it| it.stack.is_some()) {
                let known = known.and_then(|it| it.members.iter().find(|it| is_the_same_stack(it, member)));
                let Some(stack) = member.stack.as_mut().map(Arc::make_mut) else { continue };
                stack.made = match known.and_then(|it| it.stack.as_ref()) {
                    Some(known) => known.made.clone(),
                    None => Err(Unmade {
                        reason: Reason::ComposeInvalid,
                        message: format!(
                            "The stack {} is not declared like this by the manifests in force, and no file is read for a request.",
                            stack.project
                        ),
                        hint: "`landfall diff` reads the compose file, where it is".to_owned(),
                        line: None,
                        unread: false,
                    }),
                };
            }
        }
    }
}

/// Whether what is made of the one is what is made of the other. A request has no directory that the file could be seen from.
fn is_the_same_stack(declared: &DesiredMember, asked: &DesiredMember) -> bool {
    let (Some(declared_stack), Some(stack)) = (&declared.stack, &asked.stack) else { return false };
    let same_file = |declared: &str, asked: &str| {
        Path::new(declared).ends_with(asked.trim_start_matches("./").trim_start_matches("../"))
    };
    let same_variables = match (&declared_stack.env_file, &stack.env_file) {
        (None, None) => true,
        (Some(declared), Some(asked)) => same_file(declared, asked),
        _ => false,
    };
    declared.resource == asked.resource
        && (declared.connect, &declared.endpoint.aliases) == (asked.connect, &asked.endpoint.aliases)
        && declared_stack.project == stack.project
        && declared_stack.routes == stack.routes
        && declared_stack.target_ports == stack.target_ports
        && same_file(&declared_stack.file, &stack.file)
        && same_variables
}

/// The stacks that are brought up, once for each member that has one.
fn stacks(desired: &DesiredState) -> impl Iterator<Item = &Stack> {
    let members = desired.destinations().flat_map(|(_, destination)| &destination.members);
    members.filter_map(|member| member.stack.as_deref())
}

/// The compose files with their files of variables, as manifests name them.
pub fn files(desired: &DesiredState) -> BTreeSet<(String, Option<String>)> {
    stacks(desired).map(|stack| (stack.file.clone(), stack.env_file.clone())).collect()
}

/// The files of this machine that the stacks are made of, as far as their compose files name them.
pub fn inputs(desired: &DesiredState) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    for stack in stacks(desired) {
        let file = PathBuf::from(&stack.file);
        let beside = |name: &str| file.parent().unwrap_or(Path::new("")).join(name);
        found.insert(stack.env_file.as_ref().map_or_else(|| beside(".env"), PathBuf::from));
        let mut text = String::new();
        let _ = std::fs::File::open(&file).and_then(|open| open.take(LARGEST_FILE).read_to_string(&mut text));
        // Files of variables, configurations, and whatever is included or extended: words that are names of files.
        let named = words(&text).filter(|word| word.contains(['.', '/']) && !word.ends_with('/')).map(beside);
        found.extend(named.filter(|path| path.is_file()).take(FURTHER_FILES));
        found.insert(file);
    }
    found.into_iter().collect()
}

/// What may be names of files in a compose file.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "\"'[]{},:".contains(c)).filter(|word| !word.is_empty())
}

/// Whether paths of this machine are paths of the server.
fn is_local(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix { .. } => true,
        Endpoint::Tcp { .. } | Endpoint::Ssh { .. } => false,
        Endpoint::Context { name } => {
            matches!(context::resolve(name, &ContextEnvironment::of_process()), Ok(ContextTarget::Unix { .. }))
        }
    }
}

struct Making<'a> {
    program: &'a Program,
    base: &'a Base,
    set: &'a str,
    server: &'a DesiredServer,
    destination: &'a DesiredDestination,
    member: &'a DesiredMember,
    stack: &'a Stack,
    local: bool,
}

impl Making<'_> {
    fn make(&self) -> Result<Made, Unmade> {
        let stack = self.stack;
        let (file, text) = self.file()?;
        let directory = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let variables = stack.env_file.as_ref().map(|path| self.absolute(path)).transpose()?;
        let secrets = secrets(variables.as_deref().unwrap_or(&directory.join(".env")));
        let question = |further: &[&str]| {
            let mut command = self.compose(&file, &directory);
            command.args(variables.iter().flat_map(|path| ["--env-file".as_ref(), path.as_os_str()]));
            command.args(["config", "--format", "json"]).args(further);
            let answer = ask(&mut command)
                .map_err(|error| self.invalid(format!("{} cannot be run: {error}", self.program.name()), None))?;
            if !answer.success {
                return Err(self.refusal(&masked(&answer.stderr, &secrets), &text, &file));
            }
            let model: Value = serde_json::from_str(&answer.stdout)
                .map_err(|_| self.invalid(format!("what {} makes of it is no JSON", self.program.name()), None))?;
            Ok((model, answer.stderr))
        };
        let (model, said) = question(&[])?;
        if model.get("services").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
            return Err(self.invalid("it has no services".to_owned(), None));
        }
        let paths = if self.local { None } else { Some(question(&["--no-path-resolution"])?.0) };
        let of_commit = self.base.part().is_some();
        let paths = paths.as_ref().map(|model| Paths { model, of_commit });
        let mut findings = stack::findings(stack, &text, &model, paths, &said);
        findings.sort_by_key(|finding| !finding.refused);
        let builds = model["services"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(_, it)| it.get("build").is_some_and(|build| !build.is_null()));
        let routes = self.server.proxy.as_ref().filter(|_| self.destination.proxy && stack.is_routed());
        let additions = Additions {
            set: self.set,
            object: &self.member.resource,
            destination: &self.destination.key,
            aliases: self.member.connect.then_some(self.member.endpoint.aliases.as_slice()),
            proxy: routes.map(|proxy| proxy.proxy_type),
        };
        let on_swarm = Arc::new(stack.for_swarm(&text, &model, &additions, &content));
        let completed = stack.completed(model, &additions);
        let hashes = self.hashes(&completed, &directory)?;
        Ok(Made {
            services: stack::services(&completed, &stack.project, &hashes),
            networks: stack::networks(&completed),
            volumes: stack::volumes(&completed),
            model: Model::new(&completed),
            findings,
            version: self.program.version.clone(),
            directory: self.base.lasting().unwrap_or(&directory).display().to_string(),
            builds,
            on_swarm,
        })
    }

    fn compose(&self, file: &Path, directory: &Path) -> Command {
        let mut command = self.program.command();
        command.current_dir(directory).arg("-f").arg(file).args(["-p", &self.stack.project]);
        command.arg("--project-directory").arg(directory).args(["--ansi", "never"]);
        command
    }

    fn file(&self) -> Result<(PathBuf, String), Unmade> {
        let file = self.absolute(&self.stack.file)?;
        let mut text = String::new();
        let read = std::fs::File::open(&file).and_then(|open| open.take(LARGEST_FILE + 1).read_to_string(&mut text));
        match read {
            Ok(_) if text.len() as u64 > LARGEST_FILE => Err(self.invalid("it is larger than 1 MiB".to_owned(), None)),
            Ok(_) => Ok((file, text)),
            Err(error) => Err(self.invalid(format!("it cannot be read: {}", plain(&error)), None)),
        }
    }

    fn absolute(&self, path: &str) -> Result<PathBuf, Unmade> {
        let place = self.base.path(path);
        place.and_then(|place| std::fs::canonicalize(place).map_err(|error| plain(&error))).map_err(|why| Unmade {
            reason: Reason::ComposeInvalid,
            message: format!("{path}, which {} names, cannot be read: {why}.", self.member.resource),
            hint: "`compose.file` and `compose.envFile` are paths from the manifest's own directory".to_owned(),
            line: None,
            unread: true,
        })
    }

    /// What Compose says each service is like: on a container it says so in a label.
    fn hashes(&self, completed: &Value, directory: &Path) -> Result<BTreeMap<String, String>, Unmade> {
        let failed = |what: &str| self.invalid(format!("what was made of it cannot be read again: {what}"), None);
        let mut command = self.compose(Path::new("-"), directory);
        // Nothing is left to be filled in.
        command.args(["--env-file", "/dev/null", "config", "--hash", "*"]);
        let answer = tell(&mut command, completed.to_string()).map_err(|error| failed(&error.to_string()))?;
        if !answer.success {
            return Err(failed(&last_line(&answer.stderr)));
        }
        let pairs = answer.stdout.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(service, hash)| (service.to_owned(), hash.trim().to_owned())).collect())
    }

    fn invalid(&self, what: String, line: Option<usize>) -> Unmade {
        Unmade {
            reason: Reason::ComposeInvalid,
            message: format!("{}: {what}.", self.stack.place(line)),
            hint: format!("docker compose -f {} config", self.stack.file),
            line,
            unread: false,
        }
    }

    /// What Compose has against the file, with the line where that can be told.
    fn refusal(&self, said: &str, text: &str, file: &Path) -> Unmade {
        let shown = last_line(said).replace(&file.display().to_string(), &self.stack.file);
        let shown = match self.base.part() {
            Some(_) => shown.replace(&format!("{}/", self.base.root().display()), ""),
            None => shown,
        };
        // Of syntax Compose counts the lines of the block, and not of the file.
        if let Some((line, what)) = syntax(text) {
            return self.invalid(format!("it is no YAML: {what}"), Some(line));
        }
        let shown = shown.strip_prefix(&format!("validating {}:", self.stack.file)).unwrap_or(&shown).trim().to_owned();
        let line = stack::line_of_complaint(text, &shown);
        self.invalid(shown.trim_end_matches('.').to_owned(), line)
    }
}

/// What a secret or a config of a stack holds.
fn content(origin: ContentOrigin<'_>) -> Result<Vec<u8>, String> {
    let path = match origin {
        ContentOrigin::File(path) => path,
        ContentOrigin::Variable(name) => {
            let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?;
            return Ok(value.into_bytes());
        }
    };
    let mut content = Vec::new();
    let open = std::fs::File::open(path).map_err(|error| plain(&error))?;
    open.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(|error| plain(&error))?;
    if content.len() as u64 > LARGEST_FILE {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(content)
}

/// Where the file is no YAML, and why.
fn syntax(text: &str) -> Option<(usize, String)> {
    Parser::new_from_str(text)
        .find_map(|event| event.err())
        .map(|error| (error.marker().line(), error.info().to_owned()))
}

/// What a program said last that is no warning.
fn last_line(said: &str) -> String {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("level=warning"));
    lines.next_back().unwrap_or("it says nothing").chars().take(2000).collect()
}

/// Values of a file of variables.
fn secrets(file: &Path) -> BTreeSet<String> {
    let mut text = String::new();
    let _ = std::fs::File::open(file).and_then(|open| open.take(LARGEST_FILE).read_to_string(&mut text));
    let values = text
        .lines()
        .filter_map(|line| line.split_once(['=', ':']))
        .map(|(_, value)| value.trim().trim_matches(['"', '\'']));
    values.filter(|value| value.len() >= SECRET).map(str::to_owned).collect()
}

fn masked(text: &str, secrets: &BTreeSet<String>) -> String {
    let text = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
    text.lines().map(without_values).collect::<Vec<_>>().join("\n")
}

/// Of what Compose cannot read in a file of variables, it shows the rest of the line or of the file.
fn without_values(line: &str) -> String {
    let shown = QUOTING.iter().filter_map(|words| line.find(words).map(|at| at + words.len())).min();
    match shown.and_then(|at| line.get(..at)) {
        Some(before) => format!("{before} ***"),
        None => line.to_owned(),
    }
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compose_quotes_of_a_file_of_variables_is_not_shown() {
        let none = BTreeSet::new();
        for (said, shown) in [
            (
                "failed to read v.env: line 2: unterminated quoted value \"s3cret",
                "failed to read v.env: line 2: unterminated quoted value ***",
            ),
            (
                "failed to read .env: line 1: unexpected character \"!\" in variable name near \"A!=s3cret\\nB=s3cret\"",
                "failed to read .env: line 1: unexpected character \"!\" in variable name near ***",
            ),
            ("services.web.image must be a string", "services.web.image must be a string"),
        ] {
            assert_eq!(masked(said, &none), shown);
        }
        assert_eq!(masked("level=warning A\nno s3cret", &["s3cret".to_owned()].into()), "level=warning A\nno ***");
    }
}
