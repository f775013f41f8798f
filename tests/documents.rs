//! What the README, the documentation and the examples say is held against the program. `UPDATE_DOCS=1` writes the generated parts anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use landfall::core::api::{
    ApplicationSpec, DatabaseSpec, DestinationSpec, Kind, NotifierSpec, ServerSpec, ServiceSpec,
};
use landfall::core::manifest::{self, Diagnostic, Source};
use landfall::core::plan::{Cause, NoteKind, Reason};
use landfall::shell::sources;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `directory` with that extension, relative to the repository.
pub(crate) fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", "md");
    pages.extend(files("manifests", "md"));
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    pages
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect()
}

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; fails where it differs, unless asked to update.
pub(crate) fn generated(path: &str, name: &str, content: &str) {
    let text = read(path);
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (present, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} has no {end}"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(path), format!("{before}{begin}{content}{end}{after}")).unwrap();
    } else {
        assert!(
            present == content,
            "{path}, {name}: not up to date, UPDATE_DOCS=1 writes it anew. It should be:\n{content}"
        );
    }
}

#[test]
fn every_directory_of_manifests_is_valid_supported_and_listed() {
    let list = read("manifests/README.md");
    let directories: BTreeSet<PathBuf> =
        files("manifests", "yaml").iter().map(|file| file.parent().unwrap().to_owned()).collect();
    assert!(directories.len() >= 7, "{directories:?}");
    for directory in directories {
        sources::load(&[root().join(&directory)], &mut std::io::empty())
            .unwrap_or_else(|problems| panic!("{}", rendered(&problems)));
        let link = format!("]({})", directory.strip_prefix("manifests").unwrap().display());
        assert!(list.contains(&link), "manifests/README.md does not mention {}", directory.display());
    }
}

/// A block of YAML that begins with `apiVersion:` is a manifest, and a reader will copy it.
#[test]
fn every_manifest_in_the_documentation_is_valid() {
    let mut seen = 0;
    for page in pages() {
        let text = read(page.to_str().unwrap());
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if !block.lines().any(|line| line.starts_with("apiVersion:")) {
                continue;
            }
            seen += 1;
            let source = Source { name: page.display().to_string(), bytes: block.as_bytes().to_vec() };
            if let Err(problems) = manifest::load(&[source]) {
                // A page shows one object at a time; what it refers to may stand elsewhere.
                let problems: Vec<Diagnostic> =
                    problems.into_iter().filter(|problem| !problem.message.starts_with("there is no ")).collect();
                assert!(problems.is_empty(), "{}:\n{}", page.display(), rendered(&problems));
            }
        }
    }
    assert!(seen >= 5, "found {seen} manifests in the documentation");
}

#[test]
fn links_within_the_documentation_lead_somewhere() {
    let mut dead = String::new();
    for page in pages() {
        let text = read(page.to_str().unwrap());
        let pictures = ["<img ", "<source "].into_iter().flat_map(|tag| text.split(tag).skip(1));
        let pictures = pictures.filter_map(|tag| tag.split_once("src")?.1.split('"').nth(1));
        let links = text.split("](").skip(1).map(|link| link.split(')').next().unwrap());
        for target in links.chain(pictures) {
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { root().join(&page) } else { root().join(&page).parent().unwrap().join(file) };
            if !path.exists() {
                writeln!(dead, "{}: {target}", page.display()).unwrap();
            } else if !anchor.is_empty() && !anchors(&fs::read_to_string(&path).unwrap()).contains(anchor) {
                writeln!(dead, "{}: {target}: no such heading", page.display()).unwrap();
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{dead}");
}

/// The first block of that language that contains a text.
pub(crate) fn block(path: &str, language: &str, containing: &str) -> String {
    let text = read(path);
    let fence = format!("```{language}\n");
    let mut blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    let found = blocks.find(|block| block.contains(containing)).map(str::to_owned);
    found.unwrap_or_else(|| panic!("{path} has no {language} with {containing:?}"))
}

/// Nothing is started: the unit is read as systemd reads it.
#[test]
fn the_unit_file_is_one_and_gives_away_little() {
    let unit = block("docs/operating.md", "ini", "landfall.service");
    // The one path that is not there on a machine without an installation.
    let installed = "/usr/local/bin/landfall";
    assert!(unit.contains(&format!("ExecStart={installed} run ")), "{unit}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("landfall.service");
    fs::write(&file, unit.replace(installed, env!("CARGO_BIN_EXE_landfall"))).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = std::process::Command::new("systemd-analyze")
            .args(arguments)
            .arg(&file)
            .env("SYSTEMD_LOG_COLOR", "0")
            .output()
            .expect("systemd-analyze starts (scripts/test installs it)");
        let says = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        (output.status.success(), says)
    };
    // An option that it does not know is no error to it, and is said.
    assert_eq!(analyze(&["verify", "--man=no"]), (true, String::new()));
    // From 0 to 100; without any protection a service has 96.
    let (harmless, says) = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=20"]);
    assert!(harmless, "{says}");

    // What it is started with is what the program takes.
    let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let arguments: Vec<&str> = started.split_whitespace().skip(1).chain(["--help"]).collect();
    crate::cli::run::landfall(directory.path(), arguments).expect(0);
}

/// Headings as the forges turn them into anchors.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn every_reason_is_explained() {
    let page = read("docs/reference/reasons.md");
    for reason in words::<Reason>() {
        assert!(page.contains(&format!("\n### {reason}\n")), "docs/reference/reasons.md does not explain {reason}");
    }
    let json = read("docs/reference/plan-json.md");
    for word in words::<Cause>().into_iter().chain(words::<NoteKind>()) {
        assert!(json.contains(&format!("`{word}`")), "docs/reference/plan-json.md does not explain {word}");
    }
}

/// All variants, as serde names them when it is given none of them.
fn words<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_value::<T>(Value::from("?")).err().expect("no variant is called ?").to_string();
    let words: Vec<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(words.len() > 3, "{error}");
    words
}

#[test]
fn the_field_tables_are_those_of_the_schema() {
    for kind in Kind::ALL {
        let schema = match kind {
            Kind::Server => schemars::schema_for!(ServerSpec),
            Kind::Destination => schemars::schema_for!(DestinationSpec),
            Kind::Application => schemars::schema_for!(ApplicationSpec),
            Kind::Database => schemars::schema_for!(DatabaseSpec),
            Kind::Service => schemars::schema_for!(ServiceSpec),
            Kind::Notifier => schemars::schema_for!(NotifierSpec),
        };
        let schema = schema.to_value();
        let mut table = "| field | type | default | |\n|---|---|---|---|\n".to_owned();
        rows(&schema, &schema, "", &mut table);
        generated(&format!("docs/reference/{}.md", kind.as_str().to_lowercase()), "fields", &table);
    }
}

fn rows(whole: &Value, object: &Value, prefix: &str, table: &mut String) {
    let none = Vec::new();
    let required = object["required"].as_array().unwrap_or(&none);
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let schema = resolved(whole, field);
        let description = field["description"].as_str().or(schema["description"].as_str()).unwrap_or_default();
        let default = match field.get("default") {
            _ if required.contains(&Value::from(name.as_str())) => "*required*".to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(Value::Array(items)) if items.is_empty() => String::new(),
            Some(Value::Object(fields)) if fields.is_empty() => String::new(),
            // A default that is a structure is what the rows below say.
            Some(Value::Object(_)) => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        let description = description.replace('\n', " ").replace('|', "\\|");
        writeln!(table, "| `{prefix}{name}` | {} | {default} | {description} |", type_name(whole, schema)).unwrap();
        let element = resolved(whole, schema.get("items").unwrap_or(schema));
        let dots = if schema.get("items").is_some() { "[]." } else { "." };
        rows(whole, element, &format!("{prefix}{name}{dots}"), table);
    }
}

/// Follows a reference, and takes the one alternative that is not null.
fn resolved<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(whole, whole.pointer(reference.trim_start_matches('#')).expect("a definition"));
    }
    match schema["anyOf"].as_array() {
        Some(any) => resolved(whole, any.iter().find(|one| one["type"] != "null").expect("an alternative")),
        None => schema,
    }
}

fn type_name(whole: &Value, schema: &Value) -> String {
    let values = |list: &Value| {
        let words = list.as_array().into_iter().flatten();
        words.filter_map(|value| value.as_str().map(|word| format!("`{word}`"))).collect::<Vec<_>>().join(", ")
    };
    if schema.get("enum").is_some() {
        return values(&schema["enum"]);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let words = one_of.iter().flat_map(|one| match one.get("const") {
            Some(word) => vec![word.clone()],
            None => one["enum"].as_array().cloned().unwrap_or_default(),
        });
        return values(&words.collect());
    }
    let name = match &schema["type"] {
        Value::Array(names) => names[0].as_str().unwrap_or_default(),
        name => name.as_str().unwrap_or_default(),
    };
    match name {
        "array" => format!("list of {}", type_name(whole, resolved(whole, &schema["items"]))),
        "object" if schema.get("properties").is_none() => {
            format!("map to {}", type_name(whole, resolved(whole, &schema["additionalProperties"])))
        }
        name => name.to_owned(),
    }
}

/// `fact_07_…`, `rule_17_…` and `pain_1_and_9_…` say what they prove; the page says what that is.
#[test]
fn each_number_in_the_name_of_a_test_is_on_the_page_of_facts() {
    let page = read("docs/design/facts.md");
    let explained = |kind: &str| -> BTreeSet<u32> {
        let table = page.split(&format!("\n| {kind} | |\n")).nth(1).unwrap_or_else(|| panic!("no table of {kind}s"));
        let rows = table.lines().take_while(|line| line.starts_with('|')).skip(1);
        rows.flat_map(|row| {
            let numbers: Vec<u32> =
                row.split('|').nth(1).unwrap().split('–').map(|it| it.trim().parse().unwrap()).collect();
            numbers[0]..=*numbers.last().unwrap()
        })
        .collect()
    };
    let mut cited = 0;
    for kind in ["fact", "rule", "pain"] {
        let explained = explained(kind);
        for file in files("src", "rs").into_iter().chain(files("tests", "rs")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.strip_prefix(kind)?.strip_prefix('_'));
            for name in names {
                let numbers = name.split('_').map_while(|word| match word {
                    "and" | "to" => Some(None),
                    word => word.parse::<u32>().ok().map(Some),
                });
                for number in numbers.flatten() {
                    cited += 1;
                    assert!(
                        explained.contains(&number),
                        "{}: {kind} {number} is not in docs/design/facts.md",
                        file.display()
                    );
                }
            }
        }
    }
    assert!(cited > 50, "{cited} numbers are cited: the names of tests are not where they were looked for");
}

/// Reasons that events have, by the parts of the program that write them.
#[test]
fn what_an_event_says_is_explained() {
    let audit = read("src/shell/controller/run.rs");
    let audit = audit.split("fn audit(").nth(1).and_then(|it| it.split("\n    }\n").next()).unwrap();
    let deeds = read("src/shell/cli/transfer.rs");
    let deeds = deeds.split("reasons: (").skip(1).filter_map(|it| it.split(')').next());
    let quoted = std::iter::once(audit).chain(deeds).flat_map(|text| text.split('"').skip(1).step_by(2));
    let words: BTreeSet<&str> =
        quoted.filter(|it| it.starts_with(char::is_uppercase) && it.chars().all(char::is_alphanumeric)).collect();
    assert!(words.contains("RestartRequested") && words.contains("RestoreFailed"), "{words:?}");
    for word in words {
        assert!(landfall::core::reasons::explain(word).is_some(), "{word}");
    }
}

/// Words that name no subject: what a user reads says who or what it is.
#[test]
fn what_users_read_names_its_subjects() {
    const VAGUE: [&str; 6] = ["nobody", "somebody", "anybody", "everybody", "someone", "whatever"];
    let is_vague = |text: &str| {
        let mut words = text.split(|it: char| !it.is_ascii_alphabetic());
        words.any(|word| VAGUE.contains(&word.to_ascii_lowercase().as_str()))
    };
    let mut found = Vec::new();
    for path in files("src", "rs").into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = read(path.to_str().unwrap());
        let program = text.split("#[cfg(test)]\nmod ").next().unwrap();
        found.extend(
            literals(program).into_iter().filter(|it| is_vague(it)).map(|it| format!("{}: {it}", path.display())),
        );
    }
    // Those of design are about the program and not for its users; the changelog says what older versions said.
    let for_users = |path: &PathBuf| !path.starts_with("docs/design") && !path.ends_with("CHANGELOG.md");
    let written = pages().into_iter().filter(for_users).chain(
        [
            ("schemas", "json"),
            ("schemas", "yaml"),
            ("manifests", "yaml"),
            ("src/shell/web/page", "html"),
            ("src/shell/web/page", "js"),
        ]
        .into_iter()
        .flat_map(|(directory, extension)| files(directory, extension)),
    );
    for path in written {
        let text = read(path.to_str().unwrap());
        found.extend(text.lines().filter(|it| is_vague(it)).map(|it| format!("{}: {it}", path.display())));
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The strings of a Rust source, without those in comments.
fn literals(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, after) = rest.split_at(at);
        let length = match after.as_bytes() {
            [b'/', b'/', ..] => after.find('\n').unwrap_or(after.len()),
            [b'\'', b'"', b'\'', ..] => 3,
            [b'"', ..] => {
                let hashes = before.bytes().rev().take_while(|it| *it == b'#').count();
                let is_raw = before[..before.len() - hashes].ends_with('r');
                let end = format!("\"{}", "#".repeat(hashes));
                let mut length = 1;
                while let Some(next) = after[length..].find(if is_raw { end.as_str() } else { "\"" }) {
                    length += next;
                    let escapes = after[..length].bytes().rev().take_while(|it| *it == b'\\').count();
                    if is_raw || escapes % 2 == 0 {
                        break;
                    }
                    length += 1;
                }
                found.push(&after[1..length]);
                length + 1
            }
            _ => 1,
        };
        rest = after.get(length..).unwrap_or_default();
    }
    found
}
