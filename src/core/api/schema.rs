//! JSON Schemas of the kinds, generated from the types and their doc comments, and the same in a form that can be walked.
//!
//! The schema is the only description of a document's structure: `schemas/`, `landfall explain` and the checks of
//! `manifest::check` all come from it, so an editor and `validate` cannot disagree.

use std::sync::OnceLock;

use regex::Regex;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::meta::{API_VERSION, Kind, Metadata, PATTERN_WORDS};
use super::{ApplicationSpec, DatabaseSpec, DestinationSpec, NotifierSpec, ServerSpec, ServiceSpec};

/// Extension of a field whose value no message, page, record or log may show.
pub const SECRET: &str = "x-secret";
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a document of one kind.
pub fn of_kind(kind: Kind) -> Value {
    let mut schema = object_schema(kind);
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!(DIALECT));
    root.insert("$id".to_owned(), json!(id(&kind.as_str().to_lowercase())));
    if let Value::Object(fields) = &mut schema {
        root.append(fields);
    }
    Value::Object(root)
}

/// By which tools that keep schemas tell them apart: a name, and no address to fetch anything from.
fn id(name: &str) -> String {
    format!("urn:{}:{name}", API_VERSION.replace('/', ":"))
}

/// The schema of a document of any kind.
///
/// `if`/`then` rather than `oneOf`: a validator then reports what is wrong with a Destination instead of five ways of not being one.
pub fn of_any_document() -> Value {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let branches: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| {
            json!({
                "if": { "required": ["kind"], "properties": { "kind": { "const": kind.as_str() } } },
                "then": { "$ref": format!("#/$defs/{kind}") }
            })
        })
        .collect();
    let definitions: Map<String, Value> =
        Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), object_schema(*kind))).collect();
    json!({
        "$schema": DIALECT,
        "$id": id("manifest"),
        "title": "Landfall manifest",
        "description": "One document of a Landfall manifest, of any kind.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": { "apiVersion": { "const": API_VERSION }, "kind": { "enum": kinds } },
        "allOf": branches,
        "$defs": definitions
    })
}

/// File name and content of everything in `schemas/`.
pub fn files() -> Vec<(String, String)> {
    let kinds = Kind::ALL.iter().map(|kind| (format!("{}.json", kind.as_str().to_lowercase()), of_kind(*kind)));
    kinds
        .chain([("landfall.json".to_owned(), of_any_document())])
        .map(|(name, schema)| (name, format!("{schema:#}\n")))
        .collect()
}

fn object_schema(kind: Kind) -> Value {
    let spec = match kind {
        Kind::Server => generate::<ServerSpec>(),
        Kind::Destination => generate::<DestinationSpec>(),
        Kind::Application => generate::<ApplicationSpec>(),
        Kind::Database => generate::<DatabaseSpec>(),
        Kind::Service => generate::<ServiceSpec>(),
        Kind::Notifier => generate::<NotifierSpec>(),
    };
    json!({
        "title": kind.as_str(),
        "description": spec.get("description").cloned().unwrap_or_default(),
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "description": "Version of the manifest format.", "const": API_VERSION },
            "kind": { "description": "What the document declares.", "const": kind.as_str() },
            "metadata": generate::<Metadata>(),
            "spec": spec
        }
    })
}

fn generate<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.root_schema_for::<T>().to_value();
    if let Value::Object(fields) = &mut schema {
        fields.remove("title");
    }
    tidy(&mut schema);
    schema
}

/// Takes out what speaks of Rust rather than of manifests: `null` for an optional field (an empty field is a mistake: leave it out),
/// and the formats of integers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(entries) => entries.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            for word in ["enum", "anyOf"] {
                if let Some(Value::Array(entries)) = fields.get_mut(word) {
                    entries.retain(|entry| !entry.is_null() && entry != &json!({ "type": "null" }));
                }
            }
            if let Some(Value::Array(entries)) = fields.get_mut("anyOf")
                && let [Value::Object(only)] = entries.as_slice()
            {
                let only = only.clone();
                fields.remove("anyOf");
                for (word, value) in only {
                    fields.entry(word).or_insert(value);
                }
            }
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                fields.remove("format");
            }
            if let Some(words) = fields.get("pattern").and_then(Value::as_str).and_then(pattern_words) {
                // A word of yaml-language-server and VS Code; other validators ignore it.
                fields.insert("patternErrorMessage".to_owned(), json!(words));
            }
            fields.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

fn pattern_words(pattern: &str) -> Option<&'static str> {
    PATTERN_WORDS.iter().find(|(known, _)| *known == pattern).map(|(_, words)| *words)
}

/// A schema, ready to be walked.
#[derive(Debug)]
pub struct Shape {
    pub description: String,
    pub default: Option<Value>,
    pub examples: Vec<Value>,
    /// Its value is never shown.
    pub secret: bool,
    /// Something within it is, or it itself.
    pub has_secrets: bool,
    /// How many entries a list must have.
    pub least: usize,
    pub form: Form,
}

/// What a value must be.
#[derive(Debug)]
pub enum Form {
    /// A mapping with these fields and no others.
    Object(Vec<Field>),
    /// A mapping from any text.
    Map(Box<Shape>),
    List(Box<Shape>),
    /// That word, or something else.
    WordOr(String, Box<Shape>),
    Text {
        min: usize,
        max: usize,
        pattern: Option<Pattern>,
        /// A boolean or a whole number stands for its text, as it does for Docker.
        scalar: bool,
    },
    /// One of these words.
    Choice(Vec<Choice>),
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub required: bool,
    pub shape: Shape,
}

#[derive(Debug)]
pub struct Choice {
    pub word: String,
    pub description: String,
}

#[derive(Debug)]
pub struct Pattern {
    pub regex: Regex,
    /// What it means, for people.
    pub words: String,
}

impl Shape {
    /// The shape of a document of that kind. Made once.
    pub fn of(kind: Kind) -> &'static Shape {
        static SHAPES: [OnceLock<Shape>; 6] = [const { OnceLock::new() }; 6];
        SHAPES[kind as usize].get_or_init(|| Shape::compile(&object_schema(kind)))
    }

    /// The field of that name, if it is an object with one.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// The fields of an object, or of a list's entries.
    pub fn fields(&self) -> &[Field] {
        match &self.form {
            Form::Object(fields) => fields,
            Form::List(entry) => entry.fields(),
            Form::WordOr(_, other) => other.fields(),
            _ => &[],
        }
    }

    /// Understands what `object_schema` produces, and nothing else: a word it does not know would be a check that only editors make.
    fn compile(schema: &Value) -> Shape {
        let text = |word: &str| schema.get(word).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |word: &str| schema.get(word).and_then(Value::as_i64);
        let size = |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let choices = choices(schema);
        let form = if !choices.is_empty() {
            Form::Choice(choices)
        } else if let Some([word, other]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
            let word = word.get("const").and_then(Value::as_str).unwrap_or_default();
            Form::WordOr(word.to_owned(), Box::new(Shape::compile(other)))
        } else {
            match schema.get("type").and_then(Value::as_str) {
                Some("object") => match (schema.get("properties"), schema.get("additionalProperties")) {
                    (Some(Value::Object(properties)), _) => {
                        let required = schema.get("required").and_then(Value::as_array);
                        let field = |(name, schema): (&String, &Value)| Field {
                            name: name.clone(),
                            required: required.is_some_and(|names| names.iter().any(|required| required == name)),
                            shape: Shape::compile(schema),
                        };
                        Form::Object(properties.iter().map(field).collect())
                    }
                    (_, Some(values)) => Form::Map(Box::new(Shape::compile(values))),
                    _ => Form::Object(Vec::new()),
                },
                Some("array") => Form::List(Box::new(Shape::compile(schema.get("items").unwrap_or(&Value::Null)))),
                Some("integer") => Form::Integer {
                    min: number("minimum").unwrap_or(i64::MIN),
                    max: number("maximum").unwrap_or(i64::MAX),
                },
                Some("boolean") => Form::Boolean,
                _ => Form::Text {
                    min: size("minLength").unwrap_or(0),
                    max: size("maxLength").unwrap_or(usize::MAX),
                    scalar: schema.get("type").is_some_and(Value::is_array),
                    pattern: schema.get("pattern").and_then(Value::as_str).and_then(|pattern| {
                        Some(Pattern { regex: Regex::new(pattern).ok()?, words: text("patternErrorMessage") })
                    }),
                },
            }
        };
        let secret = schema.get(SECRET).and_then(Value::as_bool).unwrap_or(false);
        let within = match &form {
            Form::Object(fields) => fields.iter().any(|field| field.shape.has_secrets),
            Form::Map(inner) | Form::List(inner) | Form::WordOr(_, inner) => inner.has_secrets,
            Form::Text { .. } | Form::Choice(_) | Form::Integer { .. } | Form::Boolean => false,
        };
        Shape {
            secret,
            has_secrets: secret || within,
            least: size("minItems").unwrap_or(0),
            description: text("description"),
            default: schema.get("default").cloned(),
            examples: schema.get("examples").and_then(Value::as_array).cloned().unwrap_or_default(),
            form,
        }
    }
}

/// An enumeration in any of the ways that schemars writes one: `enum`, `const`, or `oneOf` those with descriptions.
fn choices(schema: &Value) -> Vec<Choice> {
    let describe = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    if let Some(Value::String(word)) = schema.get("const") {
        return vec![Choice { word: word.clone(), description: describe.to_owned() }];
    }
    if let Some(Value::Array(words)) = schema.get("enum") {
        let word = |word: &Value| Some(Choice { word: word.as_str()?.to_owned(), description: String::new() });
        return words.iter().filter_map(word).collect();
    }
    match schema.get("oneOf") {
        Some(Value::Array(branches)) => branches.iter().flat_map(choices).collect(),
        _ => Vec::new(),
    }
}
