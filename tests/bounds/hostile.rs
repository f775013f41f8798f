//! Names, labels and messages that are commands to a terminal, or markup to a page: from servers, manifests and repositories.

use landfall::core::printable::is_obeyed;
use serde_json::{Value, json};

use super::stand_in::{Answer, ok, stand_in};
use crate::cli::run::Ran;
use crate::cli::world::{SHOP, World, server};

/// What a terminal would obey or what would be markup, one of each kind.
const NAMES: &[&str] = &[
    "a\u{1b}[31mred",
    "b\u{1b}]0;title\u{7}",
    "c\u{9b}2J\u{9d}52;c;AAAA\u{9c}",
    "web\u{202e}gnp.exe",
    "d\u{2066}x\u{2069}\u{200f}",
    "e\r\n+ forged line",
    "f\u{8}\u{8}\u{7f}\u{85}\u{2028}",
    "g`<img src=x onerror=alert(1)>`",
    "h``` <script>alert(1)</script>",
    "i\u{1b}P$q\u{1b}\\ \u{fdd0}\u{f0000}b\u{fffe}",
];

fn id(digit: char, number: usize) -> String {
    format!("{digit}{number:063}")
}

/// Every word that an engine says is hostile.
fn hostile(method: &str, path: &str) -> Answer {
    let all = NAMES.join(" ");
    let label = |number: usize| json!({ NAMES[number]: all, "com.docker.compose.project": NAMES[number] });
    let network = |(number, name): (usize, &&str)| {
        json!({
            "Id": id('a', number), "Name": name, "Driver": "bridge", "Scope": "local", "Created": "2026-01-01T00:00:00Z",
            "IPAM": { "Config": [{ "Subnet": format!("10.9.{number}.0/24") }] }, "Options": label(number), "Labels": label(number),
        })
    };
    let endpoints = |number: usize| {
        json!({ "Networks": { NAMES[number]: {
            "NetworkID": id('a', number), "EndpointID": id('e', number), "IPAddress": format!("10.9.{number}.2"),
            "Aliases": [NAMES[number]], "IPAMConfig": {},
        } } })
    };
    match (method, path) {
        ("GET", "/info") => ok(json!({
            "ID": all, "Name": all, "ServerVersion": "20.10.24\u{1b}[2J", "OperatingSystem": all, "OSType": "linux",
            "Swarm": { "LocalNodeState": "inactive" },
        })),
        ("GET", "/networks") => ok(Value::from_iter(NAMES.iter().enumerate().map(network))),
        ("GET", path) if path.starts_with("/containers/json") => ok(Value::from_iter((0..NAMES.len()).map(|number| {
            json!({
                "Id": id('c', number), "Names": [format!("/{}", NAMES[number])], "Image": all, "State": "running",
                "Labels": label(number), "HostConfig": { "NetworkMode": NAMES[number] }, "NetworkSettings": endpoints(number),
            })
        }))),
        ("GET", path) if path.starts_with("/containers/") => {
            let number = path[13..76].parse().unwrap_or(0);
            ok(json!({
                "Id": id('c', number), "Name": format!("/{}", NAMES[number]), "Image": all,
                "State": { "Status": "running", "Error": all }, "Config": { "Image": all, "Labels": label(number) },
                "HostConfig": { "NetworkMode": NAMES[number] }, "NetworkSettings": endpoints(number),
            }))
        }
        ("GET", path) if path.starts_with("/events") && !path.contains("until") => Answer::Silence,
        ("GET", "/volumes") => ok(json!({ "Volumes": [] })),
        _ => Answer::Body(500, json!({ "message": all }).to_string()),
    }
}

#[track_caller]
fn clean(arguments: &str, ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let found: Vec<char> = text.chars().filter(|character| is_obeyed(*character)).collect();
        assert!(found.is_empty(), "{arguments}: {found:?}\n{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("+ forged")), "{arguments}\n{text}");
    }
}

/// A command of a workflow is a line that begins with it: there is none but Landfall's, and nothing of others ends one.
#[track_caller]
fn commands_of_a_workflow(ran: &Ran) {
    let own = ["::error ", "::warning ", "::error::", "::warning::"];
    let foreign = ran.stdout.lines().find(|line| !own.iter().any(|begin| line.starts_with(begin)));
    assert_eq!(foreign, None, "{ran}");
}

#[test]
fn what_a_server_says_is_never_obeyed_by_the_terminal() {
    let world = World::new(&(server("PLACE") + SHOP));
    let socket = world.path().join("docker.sock");
    let manifests = server(&format!("unix://{}", socket.display())) + SHOP;
    world.write("manifests/all.yaml", &manifests);
    stand_in(&socket, hostile);
    let mut tried = 0;
    for arguments in [
        "get all",
        "get all -o wide",
        "get all -o json",
        "get all -o yaml",
        "get servers",
        "get server edge -n infra -o json --observed",
        "get server edge -n infra -o yaml --observed",
        "describe server edge -n infra",
        "describe destination web -n shop",
        "describe all",
        "scan edge",
        "scan edge -o json",
        "scan edge -v",
        "drift",
        "drift -o json",
        "drift -o yaml",
        "diff",
        "diff --prune",
        "diff -o json",
        "diff -o yaml",
        "diff -o markdown --prune",
        "drift -o markdown",
        "drift -o junit",
        "drift -o sarif",
        "drift -o github",
        "drift -o gitlab",
        "apply --yes",
        "apply --yes -o json",
        "apply --yes -vvv",
        "events",
        "events -o json",
        "history",
        "graph",
        "graph --observed",
        "graph --observed -o dot",
        "graph --observed -o svg",
        "doctor",
        "doctor --possible -v",
        "doctor -o json",
        "subnets",
        "subnets -o json",
        "get images",
        "get volumes",
        "get all -o name",
        "history -o json",
        "logs application/orders -n shop",
        "wait destination/web -n shop --for=condition=Ready --timeout 1s",
        "delete destination web -n shop --yes",
        "delete destination web -n shop --dry-run -o json",
    ] {
        let ran = world.run(arguments);
        clean(arguments, &ran);
        clean(arguments, &world.run(&format!("{arguments} --color always")).without_colours());
        tried += NAMES.len();
        if arguments.contains("json") && !ran.stdout.is_empty() && !arguments.starts_with("events") {
            serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{arguments}: {error}"));
        }
        if arguments.contains("markdown") {
            assert_eq!(live(&ran.stdout), Vec::<String>::new(), "{}", ran.stdout);
        }
        if arguments.ends_with("github") {
            commands_of_a_workflow(&ran);
        }
        if arguments.ends_with("junit") || arguments.ends_with("svg") {
            assert_eq!(foreign_elements(&ran.stdout), [""; 0], "{arguments}: {}", ran.stdout);
        }
        if arguments.starts_with("graph") {
            // Pictures are for pages, and what draws them takes markup in labels.
            let fence = if arguments.contains("-o") { None } else { Some("```") };
            for markup in ["<img", "<script"].into_iter().chain(fence) {
                assert!(!ran.stdout.contains(markup), "{arguments}: {markup} in {}", ran.stdout);
            }
        }
    }
    println!("{tried} hostile names in what commands print");
}

impl Ran {
    /// Without the colours that are Landfall's own: whatever else is obeyed is left.
    fn without_colours(mut self) -> Self {
        for text in [&mut self.stdout, &mut self.stderr] {
            for own in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[36m"] {
                *text = text.replace(own, "");
            }
        }
        self
    }
}

/// Elements of XML that Landfall does not write; what is no XML at all panics.
fn foreign_elements(xml: &str) -> Vec<String> {
    const OWN: &[&str] = &[
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
        "properties",
        "property",
        "svg",
        "style",
        "title",
        "desc",
        "defs",
        "marker",
        "path",
        "rect",
        "text",
        "tspan",
        "line",
        "g",
        "circle",
        "polygon",
    ];
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let names = document.descendants().filter(roxmltree::Node::is_element).map(|it| it.tag_name().name().to_owned());
    names.filter(|name| !OWN.contains(&name.as_str())).collect()
}

/// What becomes markup of others in a comment of a forge: HTML, pictures, links.
fn live(markdown: &str) -> Vec<String> {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let events =
        Parser::new_ext(markdown, Options::ENABLE_GFM | Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    events
        .filter(|event| {
            matches!(
                event,
                Event::Html(_)
                    | Event::InlineHtml(_)
                    | Event::Start(Tag::Image { .. } | Tag::Link { .. } | Tag::HtmlBlock)
            )
        })
        .map(|event| format!("{event:?}"))
        .collect()
}

#[test]
fn what_files_are_called_and_say_is_never_obeyed_by_the_terminal() {
    let world = World::new("");
    let mut tried = 0;
    for (number, name) in NAMES.iter().enumerate() {
        let content = format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {}, labels: {{ {}: x }} }}\nspec: {{ {}: 1 }}\n",
            json!(name),
            json!(name),
            json!(name)
        );
        world.write(&format!("manifests/{}.yaml", name.replace('/', "")), &content);
        // As it is, which is no YAML.
        world.write(&format!("manifests/raw-{number}.yaml"), &format!("a: {name}\n"));
        tried += 2;
    }
    let formats = ["validate -o github", "validate -o gitlab", "validate -o sarif", "validate -o yaml"];
    for arguments in ["validate", "validate -o json", "diff", "graph", "run --once"].into_iter().chain(formats) {
        let ran = world.run(arguments);
        assert_ne!(ran.code, 0, "{arguments}");
        clean(arguments, &ran);
        if arguments.ends_with("github") {
            commands_of_a_workflow(&ran);
        }
        if arguments.ends_with("gitlab") || arguments.ends_with("sarif") {
            ran.json();
        }
    }
    println!("{tried} hostile files");
}

#[test]
fn what_a_repository_says_is_never_obeyed_by_the_terminal() {
    let world = World::new("");
    for name in NAMES {
        let ran = crate::cli::run::landfall(world.path(), ["diff", "--git", &format!("/nowhere/{name}")]);
        clean(name, &ran);
        let files = format!("{}.yaml", name.replace('/', ""));
        let upstream = crate::support::repository::Upstream::with(&[(&files, &format!("a: {name}\n"))]);
        let ran = crate::cli::run::landfall(world.path(), ["diff", "--git", upstream.bare().to_str().unwrap()]);
        assert_eq!(ran.code, 2, "{ran}");
        clean(name, &ran);
    }
}
