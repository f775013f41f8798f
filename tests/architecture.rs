//! Reads the imports and holds every module to its side: the core computes, the shell does IO.
//!
//! A scan over tokens rather than over syntax trees, so that it also sees into macros. Code under `#[cfg(test)]` may do what it likes.

mod planner;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Dependencies that compute and nothing else.
const CORE_CRATES: &[&str] = &[
    "annotate_snippets",
    "croner",
    "hmac",
    "ipnet",
    "jiff",
    "minijinja",
    "quick_junit",
    "regex",
    "saphyr_parser",
    "schemars",
    "secrecy",
    "serde",
    "serde_json",
    "smol_str",
    "serde_yaml",
    "sha2",
    "strsim",
    "thiserror",
];
/// What the standard library has of the world outside.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::env",
    "std::process",
    "std::io",
    "std::os",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::hash::RandomState",
    "std::future",
];
const PRINTING: &[&str] = &["println", "print", "eprintln", "eprint", "dbg"];
const TERMINAL: &[&str] =
    &["std::io::stdin", "std::io::stdout", "std::io::stderr", "std::env::args", "std::env::args_os"];
/// Commands that must not be able to change a server.
const READ_ONLY_COMMANDS: &[&str] =
    &["diff", "drift", "scan", "get", "describe", "doctor", "graph", "subnets", "top", "validate", "mcp"];

#[test]
fn every_module_keeps_to_its_side() {
    let dependencies = dependencies();
    let mut breaches = String::new();
    let files = source_files();
    assert!(files.len() > 10, "the scan found {} files under src/: it does not look where the code is", files.len());
    for file in files {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for breach in breaches_in(&file, &text, &dependencies) {
            writeln!(breaches, "{breach}").unwrap();
        }
    }
    assert!(breaches.is_empty(), "the architecture is breached (see docs/architecture.md):\n{breaches}");
}

/// The scan itself: each of these would be a breach, and is found.
#[test]
fn a_breach_is_detected() {
    let dependencies = dependencies();
    let cases: &[(&str, &str, &str)] = &[
        ("src/core/plan/mod.rs", "use std::fs;", "std::fs"),
        ("src/core/plan/mod.rs", "use std::{collections::BTreeMap, fs::{self, File}};", "std::fs"),
        ("src/core/plan/mod.rs", "fn f() { let t = std::time::SystemTime::now(); }", "std::time::SystemTime"),
        ("src/core/plan/mod.rs", "use std::time::{Duration, Instant};", "std::time::Instant"),
        ("src/core/plan/member.rs", "fn f() { jiff::Timestamp::now(); }", "::now"),
        ("src/core/plan/member.rs", "use jiff::Zoned;\nfn f() { Zoned::now(); }", "::now"),
        ("src/core/drift.rs", "use tokio::time::sleep;", "tokio"),
        ("src/core/drift.rs", "use bollard_stubs as engine_client;", "bollard_stubs"),
        ("src/core/scan.rs", "use cuid2::create_id;", "cuid2"),
        ("src/core/scan.rs", "use crate::shell::engine::Reader;", "crate::shell::engine"),
        ("src/core/scan.rs", "use crate::{core::api::Kind, shell::observe};", "crate::shell::observe"),
        ("src/core/plan/prune.rs", "use super::super::super::shell::engine::Reader;", "crate::shell::engine"),
        (
            "src/core/plan/prune.rs",
            "mod inner { use super::super::super::super::shell::execute::Report; }",
            "crate::shell::execute",
        ),
        ("src/core/graph.rs", "async fn f() {}", "async"),
        ("src/core/graph.rs", "fn f() { println!(\"x\") }", "println!"),
        ("src/core/graph.rs", "macro_rules! m { () => { std::env::var(\"HOME\") } }", "std::env"),
        ("src/shell/execute.rs", "use bollard_stubs::models;", "bollard_stubs"),
        ("src/shell/execute.rs", "fn f() { eprintln!(\"x\") }", "eprintln!"),
        ("src/shell/observe.rs", "use std::io::{self, stdout};", "std::io::stdout"),
        ("src/shell/observe.rs", "use clap::Parser;", "clap"),
        ("src/shell/engine/docker.rs", "fn f() { std::env::args(); }", "std::env::args"),
        ("src/shell/cli/diff.rs", "use crate::shell::engine::{Reader, Writer};", "Writer"),
        ("src/shell/cli/drift.rs", "fn f() { crate::shell::execute::execute(); }", "crate::shell::execute"),
        ("src/brand_new.rs", "", "neither core nor shell"),
    ];
    for (file, source, expected) in cases {
        let found = breaches_in(Path::new(file), source, &dependencies);
        assert!(
            found.iter().any(|breach| breach.contains(expected)),
            "{file}: {source}\nexpected {expected}, found {found:?}"
        );
    }
}

/// What looks like a breach and is none.
#[test]
fn what_is_allowed_passes() {
    let dependencies = dependencies();
    let cases: &[(&str, &str)] = &[
        (
            "src/core/plan/mod.rs",
            "use std::collections::BTreeMap; use crate::core::observed::ObservedState; use super::desired;",
        ),
        (
            "src/core/plan/mod.rs",
            "// use std::fs;\n/* tokio /* nested */ bollard */\nconst A: &str = \"std::fs println!\"; const B: &str = r#\"tokio::\"\"#;",
        ),
        ("src/core/plan/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; fn f() { println!(\"x\") } }"),
        ("src/core/plan/mod.rs", "fn f<'a>(x: &'a str) -> char { '\"' }\nuse std::time::Duration;"),
        ("src/shell/engine/docker.rs", "use bollard_stubs::models; async fn f() { tokio::time::sleep(d).await }"),
        ("src/shell/cli/mod.rs", "use clap::Parser; fn f() { println!(\"x\"); std::env::args(); }"),
        ("src/shell/cli/apply.rs", "use crate::shell::engine::Writer; use crate::shell::execute;"),
        ("src/core/drift.rs", "fn f(fs: u8, env: u8) -> u8 { fs + env }"),
        (
            "src/core/drift.rs",
            "fn f<'a>(x: &'a [u8]) -> impl Iterator<Item = u8> + use<'a> { let y = { 1 }; x.iter().map(|z| z + y) }",
        ),
        ("src/core/drift.rs", "fn f<T>() -> impl Iterator<Item = T> + use<T>; mod m { fn g() { h(); } }"),
    ];
    for (file, source) in cases {
        assert_eq!(breaches_in(Path::new(file), source, &dependencies), Vec::<String>::new(), "{file}: {source}");
    }
}

fn breaches_in(file: &Path, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let modules = module_path(file);
    let file_name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let side = modules.first().map_or("", String::as_str);
    let top = modules.get(1).map_or("", String::as_str);
    let mut breaches = Vec::new();
    let mut breach = |line: usize, text: String| breaches.push(format!("{}:{line}: {text}", file.display()));

    let core = side == "core";
    let entry = modules.is_empty() && matches!(file_name, "lib.rs" | "main.rs");
    if !entry && !matches!(side, "core" | "shell") {
        breach(1, "neither core nor shell: the file belongs into src/core/ or src/shell/".to_owned());
    }
    let may_print = top == "cli" || entry;
    let read_only = top == "cli" && READ_ONLY_COMMANDS.iter().any(|name| modules.get(2).is_some_and(|m| m == name));

    for Found { line, item } in scan(text, &modules) {
        match item {
            Item::Macro(name) => {
                if !may_print && PRINTING.contains(&name.as_str()) {
                    breach(line, format!("{name}! outside cli/"));
                }
            }
            Item::Keyword(word) => {
                if core {
                    breach(line, format!("`{word}` in the core"));
                }
            }
            Item::Path(path) => {
                let joined = path.join("::");
                let within = |prefix: &str| joined == prefix || joined.starts_with(&format!("{prefix}::"));
                let dependency = dependencies.contains(&path[0]);
                if core {
                    if let Some(outside) = OUTSIDE.iter().find(|outside| within(outside)) {
                        breach(line, format!("{outside} in the core ({joined})"));
                    }
                    if dependency && !CORE_CRATES.contains(&path[0].as_str()) {
                        breach(line, format!("{} in the core ({joined})", path[0]));
                    }
                    if path.len() > 1 && path.last().is_some_and(|last| last == "now" || last == "now_utc") {
                        breach(line, format!("a clock in the core ({joined}, ::now)"));
                    }
                    if path[0] == "crate" && path.get(1).is_some_and(|side| side == "shell") {
                        breach(line, format!("the core uses the shell: {joined}"));
                    }
                }
                if path[0] == "bollard_stubs" && top != "engine" {
                    breach(line, format!("bollard_stubs outside engine/ ({joined})"));
                }
                if !may_print {
                    if let Some(terminal) = TERMINAL.iter().find(|terminal| within(terminal)) {
                        breach(line, format!("{terminal} outside cli/"));
                    }
                    if path[0] == "clap" {
                        breach(line, format!("clap outside cli/ ({joined})"));
                    }
                }
                if read_only && (within("crate::shell::execute") || path.last().is_some_and(|last| last == "Writer")) {
                    breach(line, format!("a read-only command can change a server ({joined})"));
                }
            }
        }
    }
    breaches
}

struct Found {
    line: usize,
    item: Item,
}

enum Item {
    /// `use` trees are flattened, and `self` and `super` at the front resolved to `crate::…`.
    Path(Vec<String>),
    Macro(String),
    Keyword(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Colons,
    Symbol(char),
}

fn scan(text: &str, modules: &[String]) -> Vec<Found> {
    let tokens = without_test_modules(tokens(text));
    let mut found = Vec::new();
    // Inline modules around the current position, with the brace depth outside of each.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut i = 0;
    while i < tokens.len() {
        let (line, token) = &tokens[i];
        let here: Vec<String> = modules.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect();
        match token {
            Token::Symbol('{') => depth += 1,
            Token::Symbol('}') => {
                depth -= 1;
                inline.retain(|(_, outside)| *outside < depth);
            }
            Token::Word(word) if word == "mod" => {
                if let (Some((_, Token::Word(name))), Some((_, Token::Symbol('{')))) =
                    (tokens.get(i + 1), tokens.get(i + 2))
                {
                    inline.push((name.clone(), depth));
                    i += 1;
                }
            }
            // `+ use<'a>` captures and imports nothing.
            Token::Word(word) if word == "use" && !matches!(tokens.get(i + 1), Some((_, Token::Symbol('<')))) => {
                let mut paths = Vec::new();
                i = use_tree(&tokens, i + 1, &[], &mut paths);
                found.extend(
                    paths.into_iter().map(|path| Found { line: *line, item: Item::Path(absolute(path, &here)) }),
                );
                continue;
            }
            Token::Word(word) if word == "async" || word == "await" => {
                let word = if word == "async" { "async" } else { "await" };
                found.push(Found { line: *line, item: Item::Keyword(word) });
            }
            Token::Word(_) => {
                let mut path = Vec::new();
                while let Some((_, Token::Word(word))) = tokens.get(i) {
                    path.push(word.clone());
                    if !matches!(tokens.get(i + 1), Some((_, Token::Colons))) {
                        break;
                    }
                    i += 2;
                }
                if matches!(tokens.get(i + 1), Some((_, Token::Symbol('!')))) {
                    found.push(Found { line: *line, item: Item::Macro(path.last().cloned().unwrap_or_default()) });
                }
                if path.len() > 1 {
                    found.push(Found { line: *line, item: Item::Path(absolute(path, &here)) });
                }
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Flattens `a::{b, c::{self, d}}` from `start`; returns the index after the tree.
fn use_tree(tokens: &[(usize, Token)], start: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut i = start;
    let mut grouped = false;
    while let Some((_, token)) = tokens.get(i) {
        match token {
            Token::Word(word) if word == "as" => i += 1,
            Token::Word(word) if word == "self" && !path.is_empty() => {}
            Token::Word(word) => path.push(word.clone()),
            Token::Symbol('{') => {
                grouped = true;
                i += 1;
                while let Some((_, token)) = tokens.get(i) {
                    match token {
                        // The latter in what is no tree: never the same place again.
                        Token::Symbol('}' | ';') => break,
                        Token::Symbol(',') => i += 1,
                        _ => i = use_tree(tokens, i, &path, paths),
                    }
                }
            }
            Token::Symbol(',' | ';' | '}') => break,
            Token::Colons | Token::Symbol(_) => {}
        }
        i += 1;
    }
    if !grouped && !path.is_empty() {
        paths.push(path);
    }
    i
}

fn absolute(path: Vec<String>, here: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    let selfs = usize::from(supers == 0 && path.first().is_some_and(|word| word == "self"));
    if supers + selfs == 0 {
        return path;
    }
    let parent = &here[..here.len().saturating_sub(supers)];
    ["crate".to_owned()]
        .into_iter()
        .chain(parent.iter().cloned())
        .chain(path.into_iter().skip(supers + selfs))
        .collect()
}

/// Leaves out the item after each `#[cfg(test)]`.
fn without_test_modules(tokens: Vec<(usize, Token)>) -> Vec<(usize, Token)> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let matches_at = |i: usize| {
        attribute.iter().enumerate().all(|(offset, expected)| match tokens.get(i + offset) {
            Some((_, Token::Word(word))) => word == expected,
            Some((_, Token::Symbol(symbol))) => expected.starts_with(*symbol),
            _ => false,
        })
    };
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if !matches_at(i) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += attribute.len();
        let mut depth = 0;
        while let Some((_, token)) = tokens.get(i) {
            i += 1;
            match token {
                Token::Symbol('{') => depth += 1,
                Token::Symbol('}') => depth -= 1,
                Token::Symbol(';') => {}
                _ => continue,
            }
            if depth == 0 && matches!(token, Token::Symbol('}' | ';')) {
                break;
            }
        }
    }
    kept
}

/// Words and symbols with their lines; comments, literals and lifetimes left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                while i < chars.len() {
                    if at(i) == '/' && at(i + 1) == '*' {
                        depth += 1;
                        i += 1;
                    } else if at(i) == '*' && at(i + 1) == '/' {
                        depth -= 1;
                        i += 1;
                    }
                    i += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => i = string_end(&chars, i),
            'r' if at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '"' | '#')) => {
                let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
                i += hashes + 2;
                while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                    i += 1;
                }
                i += hashes + 1;
            }
            // A lifetime has no closing quote; a character has one after it or after an escape.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => {
                i += 1;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
            }
            ':' if at(i + 1) == ':' => {
                tokens.push((line, Token::Colons));
                i += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                tokens.push((line, Token::Word(chars[start..i].iter().collect())));
            }
            c if c.is_whitespace() => i += 1,
            c => {
                tokens.push((line, Token::Symbol(c)));
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// `src/plan/member.rs` is `plan::member`; `src/plan/mod.rs` is `plan`; `src/lib.rs` and `src/main.rs` are the root.
fn module_path(file: &Path) -> Vec<String> {
    let mut modules: Vec<String> = file
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if modules.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        modules.pop();
    }
    modules
}

/// Names of the direct dependencies as they are written in code.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
