//! The structure of a document against the schema of its kind: every problem, and the value of what is right.

use serde_json::{Map, Value};

use crate::core::api::schema::{Choice, Field, Form, Shape};
use crate::core::api::{API_VERSION, Kind};

use super::mask;
use super::suggest::{did_you_mean, nearest, one_of};
use super::text::{Problem, Span};
use super::tree::{Content, Entry, Node};

/// The documents that the one of the file stands for: itself, or those of a list. Without what `get` writes and no manifest says.
pub(super) fn documents(root: Node, problems: &mut Vec<Problem>) -> Vec<Node> {
    let is_list =
        || matches!(root.get("kind").map(|it| &it.value.content), Some(Content::Text(kind)) if kind == "List");
    match root.content {
        // As `scan -o json` has it.
        // None at all where there was nothing to scan.
        Content::List(nodes) if nodes.iter().all(|it| matches!(it.content, Content::Mapping(_))) => {
            nodes.into_iter().flat_map(|node| documents(node, problems)).collect()
        }
        Content::Mapping(_) if is_list() => {
            let Content::Mapping(entries) = root.content else { return Vec::new() };
            match entries.into_iter().find(|entry| entry.key == "items").map(|entry| entry.value) {
                Some(Node { content: Content::List(nodes), .. }) => {
                    nodes.into_iter().flat_map(|node| documents(node, problems)).collect()
                }
                Some(Node { content: Content::Null, .. }) => Vec::new(),
                Some(items) => {
                    problems.push(mismatch(&items, "a list").hides(all_values(&items)));
                    Vec::new()
                }
                None => {
                    problems.push(Problem::new(root.span, "`items` is missing").hint("a `List` has its objects there"));
                    Vec::new()
                }
            }
        }
        _ => vec![without_output(root)],
    }
}

/// `status` and `metadata.generation` are written by `get`; whoever hands them back says nothing by them.
fn without_output(mut root: Node) -> Node {
    let is_own = root.get("apiVersion").is_some() && root.get("kind").is_some();
    if let Content::Mapping(entries) = &mut root.content
        && is_own
    {
        entries.retain(|entry| entry.key != "status" || !matches!(entry.value.content, Content::Mapping(_)));
        let metadata = entries.iter_mut().find(|entry| entry.key == "metadata");
        if let Some(Content::Mapping(entries)) = metadata.map(|entry| &mut entry.value.content) {
            entries.retain(|entry| entry.key != "generation" || !matches!(entry.value.content, Content::Integer(_)));
        }
    }
    root
}

/// The kind of a document, and its value as far as it is right: what is wrong is left out, so that the rest can still be looked at.
/// It is taken out of the lists of the tree as well, so that positions in both remain the same.
pub(super) fn document(root: &mut Node, problems: &mut Vec<Problem>) -> Option<(Kind, Value)> {
    if !matches!(root.content, Content::Mapping(_)) {
        let what = match &root.content {
            // Another file than was meant: a key, or a password.
            Content::Text(_) => "text".to_owned(),
            _ => describe(root),
        };
        let problem = Problem::new(root.span, format!("a document must be a mapping, not {what}"))
            .hides(all_values(root))
            .hint(format!("it begins with `apiVersion: {API_VERSION}` and `kind:`"));
        problems.push(problem);
        return None;
    }
    let Some(kind) = kind(root, problems) else {
        // Without a kind there is no schema, but what all kinds share can be checked.
        if let Some(field) = Shape::of(Kind::Server).field("apiVersion") {
            match root.get("apiVersion") {
                Some(entry) => drop(value(&mut entry.value.clone(), &field.shape, problems)),
                None if root.get("kind").is_some() => {
                    let hint = format!(
                        "add `apiVersion: {API_VERSION}`; is it no manifest, name the file in `.landfallignore`"
                    );
                    problems.push(Problem::new(first_key(root), "`apiVersion` is missing").hint(hint));
                }
                None => {}
            }
        }
        return None;
    };
    let Form::Object(fields) = &Shape::of(kind).form else { return None };
    Some((kind, object(root, fields, problems).0))
}

/// Namespace and name of a document that is otherwise wrong.
pub(super) fn named(root: &Node) -> Option<(String, String)> {
    let metadata = &root.get("metadata")?.value;
    let text = |key: &str| match &metadata.get(key)?.value.content {
        Content::Text(text) => Some(text.clone()),
        _ => None,
    };
    Some((text("namespace").unwrap_or_else(|| crate::core::api::DEFAULT_NAMESPACE.to_owned()), text("name")?))
}

/// The values of the document that are never shown.
pub(super) fn secrets(root: &Node) -> Vec<Span> {
    let mut hidden = Vec::new();
    let kind = root.get("kind").map(|entry| &entry.value.content);
    let kind = Kind::ALL.into_iter().find(|known| matches!(kind, Some(Content::Text(word)) if word == known.as_str()));
    if let Some(kind) = kind {
        mask::secrets(root, Shape::of(kind), &mut hidden);
    }
    hidden
}

fn kind(root: &Node, problems: &mut Vec<Problem>) -> Option<Kind> {
    let kinds = || Kind::ALL.iter().map(|kind| kind.as_str());
    let Some(entry) = root.get("kind") else {
        // Two for the price of one: a document without a kind is usually not a manifest at all.
        let missing =
            if root.get("apiVersion").is_none() { "`apiVersion` and `kind` are missing" } else { "`kind` is missing" };
        let start = first_key(root);
        problems.push(Problem::new(start, missing).hides(all_values(root)).hint(format!(
            "`apiVersion: {API_VERSION}` and `kind:` {}; is it no manifest, name the file in `.landfallignore`",
            one_of(kinds())
        )));
        return None;
    };
    let Content::Text(word) = &entry.value.content else {
        problems.push(mismatch(&entry.value, "text").hides(all_values(root)).hint(one_of(kinds())));
        return None;
    };
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    if known.is_none() {
        let problem = Problem::new(entry.value.span, format!("unknown kind {}", quoted(word)))
            .hides(all_values(root))
            .hint(did_you_mean(word, kinds()).unwrap_or_else(|| one_of(kinds())));
        problems.push(problem);
    }
    known
}

fn value(node: &mut Node, shape: &Shape, problems: &mut Vec<Problem>) -> Option<Value> {
    match (&shape.form, &mut node.content) {
        (Form::Object(fields), Content::Mapping(_)) => {
            let (object, complete) = object(node, fields, problems);
            complete.then_some(object)
        }
        (Form::Map(values), Content::Mapping(entries)) => {
            let entry = |entry: &mut Entry| Some((entry.key.clone(), value(&mut entry.value, values, problems)?));
            Some(Value::Object(entries.iter_mut().filter_map(entry).collect()))
        }
        (Form::List(entry), Content::List(nodes)) => {
            if nodes.len() < shape.least {
                problems.push(Problem::new(node.span, "the list must not be empty"));
            }
            let mut list = Vec::with_capacity(nodes.len());
            nodes.retain_mut(|node| value(node, entry, problems).map(|value| list.push(value)).is_some());
            Some(Value::Array(list))
        }
        (Form::WordOr(word, _), Content::Text(text)) if text == word => Some(Value::String(text.clone())),
        (Form::WordOr(word, _), Content::Text(_)) => {
            problems
                .push(wrong_type(node, &shape.form, shape.has_secrets).hint(format!("the only word here is `{word}`")));
            None
        }
        (Form::WordOr(_, other), _) => value(node, other, problems),
        (Form::Text { scalar: true, .. }, Content::Boolean(value)) => Some(Value::String(value.to_string())),
        (Form::Text { scalar: true, .. }, Content::Integer(value)) => Some(Value::String(value.to_string())),
        (Form::Text { min, max, pattern, scalar: _ }, Content::Text(text)) => {
            let length = text.chars().count();
            let problem = if length < *min {
                Some("must not be empty".to_owned())
            } else if length > *max {
                Some(format!("has {length} characters; at most {max} are allowed"))
            } else {
                pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)).map(|pattern| pattern.words.clone())
            };
            match problem {
                None => Some(Value::String(text.clone())),
                Some(words) => {
                    let subject = if text.is_empty() || shape.secret { "the text".to_owned() } else { quoted(text) };
                    problems.push(Problem::new(node.span, format!("{subject} {words}")));
                    None
                }
            }
        }
        (Form::Choice(choices), Content::Text(text)) => choice(node.span, text, choices, problems),
        (Form::Integer { min, max }, Content::Integer(number)) => {
            if (*min..=*max).contains(number) {
                return Some(Value::from(*number));
            }
            let range = match (*min, *max) {
                (min, i64::MAX) => format!("at least {min}"),
                (min, max) => format!("from {min} to {max}"),
            };
            problems
                .push(Problem::new(node.span, format!("{number} is out of range")).label(format!("must be {range}")));
            None
        }
        (Form::Boolean, Content::Boolean(boolean)) => Some(Value::Bool(*boolean)),
        (form, _) => {
            problems.push(wrong_type(node, form, shape.has_secrets));
            None
        }
    }
}

/// The object, and whether it has what it must have.
fn object(node: &mut Node, fields: &[Field], problems: &mut Vec<Problem>) -> (Value, bool) {
    let mut object = Map::new();
    let Content::Mapping(entries) = &mut node.content else { return (Value::Null, false) };
    for entry in entries.iter_mut() {
        if let Some(field) = fields.iter().find(|field| field.name == entry.key)
            && let Some(value) = value(&mut entry.value, &field.shape, problems)
        {
            object.insert(entry.key.clone(), value);
        }
    }
    let (node, Content::Mapping(entries)) = (&*node, &node.content) else { return (Value::Null, false) };
    let is_known = |entry: &&Entry| fields.iter().any(|field| field.name == entry.key);
    problems.extend(entries.iter().filter(|entry| !is_known(entry)).map(|entry| unknown_field(entry, fields, entries)));
    for field in fields.iter().filter(|field| field.required) {
        // What is misspelt has been complained about; that it is missing besides is noise.
        let misspelt = |entry: &Entry| !is_known(&entry) && is_near(&entry.key, &field.name);
        if !entries.iter().any(|entry| entry.key == field.name || misspelt(entry)) {
            problems.push(missing(node, field));
        }
    }
    let complete = fields.iter().all(|field| !field.required || object.contains_key(&field.name));
    (Value::Object(object), complete)
}

fn missing(node: &Node, field: &Field) -> Problem {
    let problem = Problem::new(first_key(node), format!("`{}` is missing", field.name));
    if let Form::Choice(choices) = &field.shape.form
        && let [only] = choices.as_slice()
    {
        return problem.hint(format!("add `{}: {}`", field.name, only.word));
    }
    if let Form::Object(fields) = &field.shape.form
        && fields.iter().all(|field| !field.required)
    {
        return problem.hint(format!("add `{}: {{}}`: none of its fields is required", field.name));
    }
    match field.shape.description.split(". ").next().unwrap_or_default().trim_end_matches('.') {
        "" => problem,
        description => problem.hint(format!("`{}`: {description}", field.name)),
    }
}

/// A mapping begins with its first key; a mapping without any is where its braces are.
fn first_key(node: &Node) -> Span {
    match &node.content {
        Content::Mapping(entries) => entries.first().map_or(node.span, |entry| entry.key_span),
        _ => node.span,
    }
}

fn unknown_field(entry: &Entry, fields: &[Field], siblings: &[Entry]) -> Problem {
    let mut hidden = Vec::new();
    // It may be what a secret field was meant to be, or one that other programs have.
    if fields.iter().any(|field| field.shape.has_secrets) || mask::is_secret_name(&entry.key) {
        mask::values(&entry.value, &mut hidden);
    }
    let problem = Problem::new(entry.key_span, format!("unknown field {}", quoted(&entry.key))).hides(hidden);
    // `status` belongs to what `get -o yaml` prints. Nothing else has such a field, whatever the mapping.
    if entry.key == "status" {
        return problem.hint("`status` is output only: take it out of the manifest");
    }
    let hint = nearest(&entry.key, fields.iter().map(|field| field.name.as_str()))
        .map(|name| match siblings.iter().any(|sibling| sibling.key == name) {
            true => format!("`{name}` is given already"),
            false => format!("did you mean `{name}`?"),
        })
        .or_else(|| elsewhere(&entry.key, fields))
        .unwrap_or_else(|| format!("the fields here are {}", list(fields.iter().map(|field| field.name.as_str()))));
    problem.hint(hint)
}

fn is_near(word: &str, name: &str) -> bool {
    did_you_mean(word, std::iter::once(name)).is_some()
}

/// A field that is one level further down: `mtu` beside `network`.
fn elsewhere(key: &str, fields: &[Field]) -> Option<String> {
    let within = fields.iter().find(|field| field.shape.fields().iter().any(|inner| inner.name == key))?;
    Some(format!("`{key}` belongs in `{}`", within.name))
}

fn choice(span: Span, text: &str, choices: &[Choice], problems: &mut Vec<Problem>) -> Option<Value> {
    if choices.iter().any(|choice| choice.word == text) {
        return Some(Value::String(text.to_owned()));
    }
    if let [only] = choices {
        problems.push(Problem::new(span, format!("must be `{}`, not {}", only.word, quoted(text))));
        return None;
    }
    let words = || choices.iter().map(|choice| choice.word.as_str());
    let problem = Problem::new(span, format!("{} is not one of the values allowed here", quoted(text)))
        .label(one_of(words()))
        .hint_if(did_you_mean(text, words()));
    problems.push(problem);
    None
}

/// `secret`: what is there is not to be quoted.
fn wrong_type(node: &Node, form: &Form, secret: bool) -> Problem {
    let expected = match form {
        Form::Object(_) | Form::Map(_) => "a mapping",
        Form::List(_) | Form::WordOr(..) => "a list",
        Form::Text { .. } | Form::Choice(_) => "text",
        Form::Integer { .. } => "a whole number",
        Form::Boolean => "`true` or `false`",
    };
    let problem = match secret {
        true => Problem::new(node.span, format!("expected {expected}, found {}", noun(&node.content))),
        false => mismatch(node, expected),
    };
    if let Form::Choice(choices) = form {
        return problem.hint(one_of(choices.iter().map(|choice| choice.word.as_str())));
    }
    match (form, &node.content) {
        (Form::Object(fields), Content::Null) if fields.iter().all(|field| !field.required) => {
            problem.hint("give it fields, or write `{}`: none is required")
        }
        (_, Content::Null) => problem.hint("give it a value, or leave the field out"),
        (Form::Boolean, Content::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" => problem.hint("write `true`"),
            "no" | "off" | "n" => problem.hint("write `false`"),
            "true" | "false" => problem.hint(format!("write `{}`, without quotes", text.to_ascii_lowercase())),
            _ => problem,
        },
        (Form::Integer { .. }, Content::Text(text)) if text.parse::<i64>().is_ok() => {
            problem.hint(format!("write `{text}`, without quotes"))
        }
        (Form::Text { .. }, Content::Boolean(_) | Content::Integer(_) | Content::Float) => {
            problem.hint("put it in quotes")
        }
        (Form::List(entry), Content::Text(_)) if matches!(entry.form, Form::Text { .. }) => {
            problem.hint("put it in brackets: `[…]`")
        }
        (Form::List(_), Content::Mapping(_)) => problem.hint("each entry of a list begins with `- `"),
        _ => problem,
    }
}

/// Of a document whose kind is not known, any value may be a secret.
fn all_values(root: &Node) -> Vec<Span> {
    let mut hidden = Vec::new();
    mask::values(root, &mut hidden);
    hidden
}

fn mismatch(node: &Node, expected: &str) -> Problem {
    Problem::new(node.span, format!("expected {expected}, found {}", describe(node)))
}

fn describe(node: &Node) -> String {
    match &node.content {
        Content::Null => "nothing".to_owned(),
        Content::Boolean(value) => format!("the boolean `{value}`"),
        Content::Integer(value) => format!("the number `{value}`"),
        Content::Float => "a number that is not a whole one".to_owned(),
        Content::Text(text) => format!("the text {}", quoted(text)),
        Content::List(_) => "a list".to_owned(),
        Content::Mapping(_) => "a mapping".to_owned(),
    }
}

/// What it is, without its value.
fn noun(content: &Content) -> &'static str {
    match content {
        Content::Null => "nothing",
        Content::Boolean(_) => "a boolean",
        Content::Integer(_) | Content::Float => "a number",
        Content::Text(_) => "text",
        Content::List(_) => "a list",
        Content::Mapping(_) => "a mapping",
    }
}

/// Text as a message shows it: short, on one line.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let shown: String =
        text.chars().take(LONGEST).flat_map(|c| if c < ' ' { c.escape_default().collect() } else { vec![c] }).collect();
    let dots = if text.chars().count() > LONGEST { "…" } else { "" };
    format!("`{shown}{dots}`")
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
