//! The shape of the planner: what a file and a function of it may hold, and that its files build on each other in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::{Item, module_path, root, scan, source_files};

/// Lines of a file, its unit tests left out.
const FILE: usize = 400;
const FUNCTION: usize = 60;

/// From the ground up: a part uses what stands before it, and nothing behind it.
const LAYERS: &[&str] = &["document", "input", "world", "decide", "emit", "workload", "destination", "server"];

struct File {
    path: PathBuf,
    /// Below `plan`: `world::server`.
    module: String,
    /// Without unit tests.
    text: String,
}

fn planner() -> Vec<File> {
    let files = source_files().into_iter().filter(|path| path.starts_with("src/core/plan"));
    let files: Vec<File> = files
        .map(|path| {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            File { module: module_path(&path)[2..].join("::"), path, text }
        })
        .collect();
    assert!(files.len() > 20, "the scan found {} files of the planner: it does not look where they are", files.len());
    files
}

#[test]
fn no_file_of_the_planner_is_too_long() {
    let mut long = String::new();
    for file in planner() {
        let lines = file.text.lines().count();
        if lines > FILE {
            writeln!(long, "{}: {lines} lines", file.path.display()).unwrap();
        }
    }
    assert!(long.is_empty(), "files of more than {FILE} lines, unit tests left out:\n{long}");
}

#[test]
fn no_function_of_the_planner_is_too_long() {
    let mut long = String::new();
    for file in planner() {
        for (name, line, lines) in functions(&file.text) {
            if lines > FUNCTION {
                writeln!(long, "{}:{line}: {name} has {lines} lines", file.path.display()).unwrap();
            }
        }
    }
    assert!(long.is_empty(), "functions of more than {FUNCTION} lines:\n{long}");
}

#[test]
fn the_files_of_the_planner_form_no_circle() {
    let files = planner();
    let uses = uses(&files);
    // Whatever uses nothing that is left is taken away, until nothing is: what remains is in a circle, or uses one.
    let mut left: BTreeMap<&str, &BTreeSet<String>> = uses.iter().map(|(name, of)| (name.as_str(), of)).collect();
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, of)| !of.iter().any(|name| left.contains_key(name.as_str())))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            left.remove(name);
        }
    }
    let within: Vec<String> = left
        .iter()
        .map(|(name, of)| {
            let of: Vec<&str> = of.iter().map(String::as_str).filter(|name| left.contains_key(name)).collect();
            format!("{name} uses {}", of.join(", "))
        })
        .collect();
    assert!(within.is_empty(), "files of the planner that use each other:\n{}", within.join("\n"));
}

#[test]
fn the_parts_of_the_planner_build_on_each_other() {
    let layer = |module: &str| LAYERS.iter().position(|layer| module.split("::").next() == Some(layer));
    let mut breaches = String::new();
    for (module, of) in uses(&planner()) {
        let Some(own) = layer(&module) else { continue };
        for used in of.iter().filter(|used| layer(used).is_some_and(|layer| layer > own)) {
            writeln!(breaches, "{module} uses {used}").unwrap();
        }
    }
    assert!(breaches.is_empty(), "the order is {}:\n{breaches}", LAYERS.join(", "));
}

/// The scan itself finds what it is to find.
#[test]
fn a_circle_and_a_long_function_are_detected() {
    let file = |module: &str, text: &str| File {
        path: PathBuf::from(format!("src/core/plan/{}.rs", module.replace("::", "/"))),
        module: module.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file("world::server", "use crate::core::plan::decide::seat::{Seat, seat};"),
        file("decide::seat", "fn f() { super::super::world::server::new() }"),
        file("decide::network", "use super::seat;"),
    ];
    let expected =
        [("decide::network", "decide::seat"), ("decide::seat", "world::server"), ("world::server", "decide::seat")];
    let found = uses(&files);
    let found: Vec<(&str, &str)> =
        found.iter().flat_map(|(module, of)| of.iter().map(move |it| (module.as_str(), it.as_str()))).collect();
    assert_eq!(found, expected);

    let body = "        x();\n".repeat(70);
    let text = format!(
        "impl A {{\n    pub(crate) fn long(\n        self,\n    ) -> B {{\n{body}    }}\n\n    fn short() {{}}\n}}\n"
    );
    assert_eq!(functions(&text), [("long".to_owned(), 2, 74), ("short".to_owned(), 77, 1)]);
}

/// The functions of a file as rustfmt writes it: their names, where each begins, and how many lines it has.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let head = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let head = head.trim_start_matches("pub ").trim_start_matches("const ");
        let Some(name) = head.strip_prefix("fn ") else { continue };
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = format!("{indent}}}");
        let length = if line.ends_with('}') {
            1
        } else {
            1 + lines[at..].iter().position(|line| *line == end).expect("the function ends")
        };
        found.push((name, at + 1, length));
    }
    found
}

/// Which files of the planner each of them uses.
fn uses(files: &[File]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module.as_str()).collect();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let of = uses.entry(file.module.clone()).or_default();
        for found in scan(&file.text, &module_path(&file.path)) {
            let Item::Path(path) = found.item else { continue };
            let path = match path.as_slice() {
                [root, core, plan, rest @ ..] if root == "crate" && core == "core" && plan == "plan" => rest.to_vec(),
                [first, ..] if first == "crate" => continue,
                // A module below this one.
                path => file
                    .module
                    .split("::")
                    .filter(|it| !it.is_empty())
                    .map(str::to_owned)
                    .chain(path.to_vec())
                    .collect(),
            };
            let used = (0..=path.len()).rev().map(|length| path[..length].join("::"));
            if let Some(used) = used.into_iter().find(|it| modules.contains(it.as_str()))
                && used != file.module
            {
                of.insert(used);
            }
        }
    }
    uses
}
