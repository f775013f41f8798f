//! `mcp`: the commands that read, as tools of the Model Context Protocol.
//!
//! Each tool is its command: arguments become a command line that [`ReadOnly`] parses, and what the command prints is the answer. There is
//! no way from here to a command that changes something, for [`ReadOnly`] has none.

mod lines;

use std::sync::Arc;

use clap::Parser;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::args::{ServerArgs, SetArgs, StateArgs, text};
use super::repository::SourceArgs;
use super::{Context, Error, Exit, describe, diff, doctor, drift, explain, get};

/// Tools that run at the same time; each looks at servers.
const AT_ONCE: usize = 4;
/// Bytes of one answer. What reads it has a context of limited size.
const LARGEST: usize = 512 * 1024;
/// Bytes of one argument.
const LONGEST: usize = 1024;

/// Serves the commands that read to an assistant, over standard input and output
///
/// Speaks the Model Context Protocol. The tools are `list`, `describe`, `diff`, `drift`, `doctor` and `explain`; none of them changes
/// anything. Which manifests and which set they are about is said here, and no tool reads other files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, for a client's configuration:\n  \
    {\"mcpServers\": {\"landfall\": {\"command\": \"landfall\", \"args\": [\"mcp\", \"-f\", \"/srv/manifests\"]}}}")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    if args.source.manifests.paths().iter().any(|path| path.as_os_str() == "-") {
        return Err(Error::new("standard input is for the protocol").hint("name a file or a directory with -f"));
    }
    let tools = Tools { shared: Arc::new(Shared::new(args)?), turns: Arc::new(Semaphore::new(AT_ONCE)) };
    context.block_on(async {
        let failed =
            |error: &dyn std::error::Error| Error::new("the client does not speak the protocol").caused_by(error);
        let lines = lines::Lines::new(tokio::io::stdin(), tokio::io::stdout());
        let running = tools.serve(lines).await.map_err(|error| failed(&error))?;
        running.waiting().await.map_err(|error| failed(&error))?;
        Ok(Exit::Done)
    })?
}

/// The only commands that there are for tools.
#[derive(Debug, Parser)]
#[command(name = "landfall", no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
enum ReadOnly {
    Get(get::Args),
    Describe(describe::Args),
    Diff(diff::Args),
    Drift(drift::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
}

impl ReadOnly {
    fn run(&self, context: &Context) -> Result<Exit, Error> {
        match self {
            Self::Get(args) => get::run(args, context),
            Self::Describe(args) => describe::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Drift(args) => drift::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Explain(args) => explain::run(args, context),
        }
    }
}

/// What every command is given.
struct Shared {
    manifests: Vec<String>,
    set: Vec<String>,
    servers: Vec<String>,
    state: Vec<String>,
}

impl Shared {
    fn new(args: &Args) -> Result<Self, Error> {
        Ok(Self {
            manifests: args.source.flags()?,
            set: vec![format!("--set={}", args.set.set)],
            servers: vec![
                format!("--timeout={}ms", args.servers.timeout.as_millis()),
                format!("--concurrency={}", args.servers.concurrency),
            ],
            state: match &args.state.state {
                Some(path) => vec![format!("--state={}", text(path)?)],
                None => Vec::new(),
            },
        })
    }
}

/// Shows the declared servers, destinations, applications, databases and services with their status as observed now, without their specs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// `server`, `destination`, `application`, `database` or `service`, several with commas between, or `all`
    #[serde(default = "all")]
    kind: String,
    /// Name of one object, or NAMESPACE/NAME
    name: Option<String>,
    /// Only objects of this namespace
    namespace: Option<String>,
    /// Only objects with these labels, as for kubectl: `app=web,tier!=db`
    selector: Option<String>,
    /// Only what is on this server
    server: Option<String>,
}

fn all() -> String {
    "all".to_owned()
}

/// Shows everything about one object: what is declared, what there is, what is outstanding or blocked, what happened to it, and what to do next.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Describe {
    /// `server`, `destination`, `application`, `database`, `service` or `notifier`
    kind: String,
    /// Name of the object, or NAMESPACE/NAME
    name: String,
    /// Namespace of the object
    namespace: Option<String>,
}

/// Plans: the operations that `apply` would carry out and why, and what would be refused. Nothing is changed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Diff {
    /// Only objects of this namespace
    namespace: Option<String>,
    /// Only objects with these labels, as for kubectl
    selector: Option<String>,
    /// Plan the removal of what the set owns and the manifests no longer declare, too
    #[serde(default)]
    prune: bool,
}

/// Reports what moved away from the manifests and since when, and what is on the servers that no manifest declares.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Drift {
    /// Only objects of this namespace
    namespace: Option<String>,
    /// Only objects with these labels, as for kubectl
    selector: Option<String>,
}

/// Explains a 502, 503, 504 or 404 behind the proxy: each cause that the Engine API shows, and the command that fixes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Doctor {
    /// A declared server, destination, application or service: NAME, NAMESPACE/NAME or KIND/NAME. Absent: all servers
    object: Option<String>,
    /// Namespace of the object
    namespace: Option<String>,
    /// Also what may be a cause and may be none
    #[serde(default)]
    possible: bool,
}

/// Explains a kind or a field of a manifest.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// Kind, and the names of fields, apart by dots: `destination`, `destination.spec.network.mtu`
    path: String,
}

/// A command line, and whether it prints JSON.
struct Line {
    words: Vec<String>,
    json: bool,
}

impl Line {
    fn new(command: &str, json: bool) -> Self {
        let format = json.then(|| "--output=json".to_owned());
        Self { words: std::iter::once(command.to_owned()).chain(format).collect(), json }
    }

    fn with(mut self, words: &[&[String]]) -> Self {
        self.words.extend(words.iter().copied().flatten().cloned());
        self
    }

    /// Never more than the value of that flag.
    fn flag(mut self, name: &str, value: Option<&String>) -> Self {
        self.words.extend(value.map(|value| format!("--{name}={value}")));
        self
    }

    fn switch(mut self, name: &str, on: bool) -> Self {
        self.words.extend(on.then(|| format!("--{name}")));
        self
    }

    /// Never taken for a flag.
    fn named<'a>(mut self, values: impl IntoIterator<Item = &'a String>) -> Self {
        self.words.push("--".to_owned());
        self.words.extend(values.into_iter().cloned());
        self
    }
}

/// A tool: its name, its title, the arguments that it takes, and the command line that it is.
struct ToolKind {
    name: &'static str,
    title: &'static str,
    schema: fn() -> schemars::Schema,
    line: fn(JsonObject, &Shared) -> Result<Line, String>,
}

const TOOLS: [ToolKind; 6] = [
    ToolKind {
        name: "list",
        title: "List declared objects",
        schema: || schema_for!(List),
        line: |arguments, shared| {
            let asked: List = read(arguments)?;
            Ok(Line::new("get", true)
                .with(&[&shared.manifests, &shared.set, &shared.servers, &shared.state])
                .flag("namespace", asked.namespace.as_ref())
                .flag("selector", asked.selector.as_ref())
                .flag("server", asked.server.as_ref())
                .named([&asked.kind].into_iter().chain(&asked.name)))
        },
    },
    ToolKind {
        name: "describe",
        title: "Describe an object",
        schema: || schema_for!(Describe),
        line: |arguments, shared| {
            let asked: Describe = read(arguments)?;
            Ok(Line::new("describe", false)
                .with(&[&shared.manifests, &shared.set, &shared.servers, &shared.state])
                .flag("namespace", asked.namespace.as_ref())
                .named([&asked.kind, &asked.name]))
        },
    },
    ToolKind {
        name: "diff",
        title: "Plan, and change nothing",
        schema: || schema_for!(Diff),
        line: |arguments, shared| {
            let asked: Diff = read(arguments)?;
            Ok(Line::new("diff", true)
                .with(&[&shared.manifests, &shared.set, &shared.servers, &shared.state])
                .flag("namespace", asked.namespace.as_ref())
                .flag("selector", asked.selector.as_ref())
                .switch("prune", asked.prune))
        },
    },
    ToolKind {
        name: "drift",
        title: "Report drift",
        schema: || schema_for!(Drift),
        line: |arguments, shared| {
            let asked: Drift = read(arguments)?;
            Ok(Line::new("drift", true)
                .with(&[&shared.manifests, &shared.set, &shared.servers, &shared.state])
                .flag("namespace", asked.namespace.as_ref())
                .flag("selector", asked.selector.as_ref()))
        },
    },
    ToolKind {
        name: "doctor",
        title: "Explain an unreachable application",
        schema: || schema_for!(Doctor),
        line: |arguments, shared| {
            let asked: Doctor = read(arguments)?;
            Ok(Line::new("doctor", true)
                .with(&[&shared.manifests, &shared.set, &shared.servers])
                .flag("namespace", asked.namespace.as_ref())
                .switch("possible", asked.possible)
                .named(&asked.object))
        },
    },
    ToolKind {
        name: "explain",
        title: "Explain a field",
        schema: || schema_for!(Explain),
        line: |arguments, _| {
            let asked: Explain = read(arguments)?;
            Ok(Line::new("explain", false).named([&asked.path]))
        },
    },
];

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, String> {
    if let Some((name, _)) = arguments.iter().find(|(_, it)| it.as_str().is_some_and(|text| text.len() > LONGEST)) {
        return Err(format!("`{name}` is longer than {LONGEST} bytes"));
    }
    serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())
}

impl ToolKind {
    fn tool(&self) -> Tool {
        let Value::Object(mut schema) = (self.schema)().to_value() else { return Tool::default() };
        let description =
            schema.remove("description").and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
        schema.remove("title");
        // Nothing is changed, asking again changes nothing either, and servers are not the open world.
        let hints =
            ToolAnnotations::from_raw(Some(self.title.to_owned()), Some(true), Some(false), Some(true), Some(false));
        Tool::new(self.name, description, schema).with_annotations(hints)
    }
}

#[derive(Clone)]
struct Tools {
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let own = Implementation::new("landfall", env!("CARGO_PKG_VERSION")).with_title("Landfall");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_server_info(own).with_instructions(
            "Landfall keeps the Docker networks (destinations) of servers, their reverse proxy and their members the way manifests \
             declare them. These tools look at the servers and change nothing. Begin with `list`, or with `drift` when something is \
             wrong, and with `doctor` when an address answers with 502, 503, 504 or 404.",
        )
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.iter().map(ToolKind::tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let unknown = || ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None);
        let tool = TOOLS.iter().find(|tool| tool.name == request.name).ok_or_else(unknown)?;
        let closed = |error: &dyn std::fmt::Display| ErrorData::internal_error(error.to_string(), None);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| closed(&error))?;
        let line = match (tool.line)(request.arguments.unwrap_or_default(), &self.shared) {
            Ok(line) => line,
            // For whoever wrote the arguments, who can correct them.
            Err(wrong) => return Ok(refused(format!("the arguments of `{}`: {wrong}", tool.name)).into()),
        };
        let answer = tokio::task::spawn_blocking(move || {
            let answer = answer(&line);
            drop(turn);
            answer
        });
        answer.await.map(Into::into).map_err(|error| closed(&error))
    }
}

/// What the command writes. It failed where there is no data.
fn answer(line: &Line) -> CallToolResult {
    let command = match ReadOnly::try_parse_from(&line.words) {
        Ok(command) => command,
        Err(error) => return refused(error.to_string()),
    };
    let context = Context::capturing();
    let exit = command.run(&context);
    if let Err(error) = &exit {
        context.error(error);
    }
    let written = context.into_captured();
    let said = written.said.trim_end();
    if written.data.is_empty() {
        let text = if said.is_empty() { "there is nothing to show" } else { said };
        let content = vec![ContentBlock::text(text)];
        return match exit {
            Ok(Exit::Done) => CallToolResult::success(content),
            _ => CallToolResult::error(content),
        };
    }
    let (text, data) = match serde_json::from_str(&written.data) {
        Ok(mut data) if line.json => {
            without_specs(&mut data);
            (data.to_string(), Some(data))
        }
        _ => (written.data, None),
    };
    if text.len() > LARGEST {
        return refused(format!(
            "the answer has {} bytes, more than the {LARGEST} that are given at once: ask about one namespace, server or object",
            text.len()
        ));
    }
    let mut content = vec![ContentBlock::text(text)];
    content.extend((!said.is_empty()).then(|| ContentBlock::text(said)));
    let mut result = CallToolResult::success(content);
    result.structured_content = data;
    result
}

/// Manifests may hold what only their readers are to know: values of environment variables, addresses of notifiers.
fn without_specs(data: &mut Value) {
    let Some(object) = data.as_object_mut() else { return };
    if object.contains_key("apiVersion") {
        object.remove("spec");
    }
    if let Some(Value::Array(items)) = object.get_mut("items") {
        items.iter_mut().for_each(without_specs);
    }
}

fn refused(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tool: &str, arguments: Value) -> Result<Line, String> {
        let shared = Shared {
            manifests: vec!["--filename=m".to_owned()],
            set: vec!["--set=default".to_owned()],
            servers: vec!["--timeout=1000ms".to_owned()],
            state: Vec::new(),
        };
        let Value::Object(arguments) = arguments else { unreachable!("an object") };
        (TOOLS.iter().find(|it| it.name == tool).unwrap().line)(arguments, &shared)
    }

    #[test]
    fn no_argument_is_taken_for_a_flag_or_for_another_command() {
        for (tool, arguments) in [
            ("list", serde_json::json!({ "kind": "--filename=/etc/passwd" })),
            ("list", serde_json::json!({ "kind": "destination", "name": "--watch" })),
            ("describe", serde_json::json!({ "kind": "-f", "name": "/etc/passwd" })),
            ("doctor", serde_json::json!({ "object": "--watch=http://192.0.2.1/" })),
            ("explain", serde_json::json!({ "path": "--help" })),
            ("diff", serde_json::json!({ "namespace": "a --prune", "selector": "--prune" })),
        ] {
            let line = line(tool, arguments).unwrap();
            match ReadOnly::try_parse_from(&line.words) {
                Ok(ReadOnly::Get(_) | ReadOnly::Describe(_) | ReadOnly::Doctor(_) | ReadOnly::Explain(_)) => {
                    assert!(line.words.contains(&"--".to_owned()), "{:?}", line.words);
                }
                // Both are values, however they look.
                Ok(ReadOnly::Diff(args)) => assert!(format!("{args:?}").contains("prune: false"), "{args:?}"),
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{error}"),
            }
        }
    }

    #[test]
    fn arguments_that_the_schema_does_not_have_are_refused() {
        assert!(line("list", serde_json::json!({ "knd": "all" })).is_err());
        assert!(line("describe", serde_json::json!({ "kind": "server" })).is_err());
        assert!(line("explain", serde_json::json!({ "path": "x".repeat(LONGEST + 1) })).is_err());
    }

    #[test]
    fn specs_are_left_out_of_objects_and_of_lists() {
        let mut data = serde_json::json!({ "kind": "List", "apiVersion": "landfall/v1", "items": [
            { "apiVersion": "landfall/v1", "kind": "Application", "spec": { "env": { "A": "secret" } }, "status": {} },
        ] });
        without_specs(&mut data);
        assert!(!data.to_string().contains("secret"), "{data}");
        assert!(data["items"][0]["status"].is_object());
    }
}
