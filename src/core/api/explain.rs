//! `landfall explain`: what a field of a manifest is, from the schema.

use std::fmt;

use super::meta::Kind;
use super::schema::{Field, Form, Shape};
use crate::core::manifest::suggest::nearest;
use crate::core::printable::paragraph;

/// Everything there is to say about a field, or about a kind as a whole.
#[derive(Debug)]
pub struct Explanation {
    /// `destination.spec.network.mtu`
    path: String,
    required: bool,
    shape: &'static Shape,
}

/// Finds a field by its path: a kind, then the names of fields, apart by dots.
pub fn explain(path: &str) -> Result<Explanation, String> {
    let mut steps = path.trim_matches('.').split('.');
    let first = steps.next().unwrap_or_default();
    let kind: Kind = first.parse().map_err(|error: String| {
        let kinds = Kind::ALL.map(|kind| kind.as_str().to_lowercase());
        match nearest(first, kinds.iter().map(String::as_str)) {
            Some(kind) => format!("{error}; did you mean `{kind}`?"),
            None => error,
        }
    })?;
    let mut found = Explanation { path: kind.as_str().to_lowercase(), required: true, shape: Shape::of(kind) };
    for step in steps {
        // `subnets[].gateway` and `subnets[0].gateway` are ways people write it.
        let name = step.split('[').next().unwrap_or(step);
        let Some(field) = found.shape.field(name) else {
            return Err(unknown(&found, name));
        };
        found = Explanation { path: format!("{}.{name}", found.path), required: field.required, shape: &field.shape };
    }
    Ok(found)
}

fn unknown(parent: &Explanation, name: &str) -> String {
    let fields = parent.shape.fields();
    let message = format!("`{}` has no field `{name}`", parent.path);
    if fields.is_empty() {
        return format!("{message}: it is {}", type_words(parent.shape));
    }
    if let Some(near) = nearest(name, fields.iter().map(|field| field.name.as_str())) {
        return format!("{message}; did you mean `{}.{near}`?", parent.path);
    }
    if let Some(path) = below(fields, name) {
        return format!("{message}; did you mean `{}.{path}`?", parent.path);
    }
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    format!("{message}; its fields are {}", names.join(", "))
}

/// The path of the first field of that name further down.
fn below(fields: &[Field], name: &str) -> Option<String> {
    fields.iter().find_map(|field| {
        let inner = field.shape.fields();
        let path = match inner.iter().any(|inner| inner.name == name) {
            true => name.to_owned(),
            false => below(inner, name)?,
        };
        Some(format!("{}.{path}", field.name))
    })
}

fn type_words(shape: &Shape) -> String {
    match &shape.form {
        Form::Object(_) => "object".to_owned(),
        Form::Map(values) => format!("map of {}", type_words(values)),
        Form::List(entry) => format!("list of {}", type_words(entry)),
        Form::WordOr(word, other) => format!("{word}, or {}", type_words(other)),
        Form::Text { .. } | Form::Choice(_) => "string".to_owned(),
        Form::Integer { .. } => "integer".to_owned(),
        Form::Boolean => "boolean".to_owned(),
    }
}

/// What a value must be beyond its type.
fn constraint(shape: &Shape) -> Option<String> {
    match &shape.form {
        Form::Integer { min, max } if *max < i64::MAX => Some(format!("{min} to {max}")),
        Form::Integer { min, .. } if *min > i64::MIN => Some(format!("at least {min}")),
        Form::Text { max, pattern, .. } => {
            let length = (*max < usize::MAX).then(|| format!("at most {max} characters"));
            let words = pattern.as_ref().map(|pattern| pattern.words.trim_start_matches("must be ").to_owned());
            match (words, length) {
                (Some(words), Some(length)) => Some(format!("{words}; {length}")),
                (words, length) => words.or(length),
            }
        }
        Form::List(entry) => constraint(entry).map(|constraint| format!("each {constraint}")),
        _ => None,
    }
}

fn choices(shape: &Shape) -> &[super::schema::Choice] {
    match &shape.form {
        Form::Choice(choices) => choices,
        Form::List(entry) => choices(entry),
        _ => &[],
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if self.required && self.path.contains('.') { ", required" } else { "" };
        writeln!(f, "{} <{}>{required}\n", self.path, type_words(self.shape))?;
        paragraph(f, 2, &self.shape.description)?;
        if let Some(constraint) = constraint(self.shape) {
            paragraph(f, 2, &format!("Must be: {constraint}"))?;
        }
        if let Some(default) = &self.shape.default {
            paragraph(f, 2, &format!("Default: {}", plain(default)))?;
        }
        for example in &self.shape.examples {
            paragraph(f, 2, &format!("Example: {}", plain(example)))?;
        }
        let choices = choices(self.shape);
        if !choices.is_empty() {
            writeln!(f, "\nVALUES")?;
            for choice in choices {
                writeln!(f, "  {}", choice.word)?;
                paragraph(f, 4, if choice.description == self.shape.description { "" } else { &choice.description })?;
            }
        }
        let fields = self.shape.fields();
        if !fields.is_empty() {
            writeln!(f, "\nFIELDS")?;
            for field in fields {
                let required = if field.required { ", required" } else { "" };
                writeln!(f, "  {} <{}>{required}", field.name, type_words(&field.shape))?;
                paragraph(f, 4, &field.shape.description)?;
            }
        }
        Ok(())
    }
}

impl Explanation {
    /// The fields below it, all the way down, as an indented tree of names and types.
    pub fn recursive(&self) -> Recursive<'_> {
        Recursive(self)
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.shape.fields().iter().map(|field| field.name.as_str())
    }
}

/// An [`Explanation`] with every field below it.
#[derive(Debug)]
pub struct Recursive<'a>(&'a Explanation);

impl fmt::Display for Recursive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(of) = self;
        writeln!(f, "{} <{}>\n", of.path, type_words(of.shape))?;
        paragraph(f, 2, &of.shape.description)?;
        if !of.shape.fields().is_empty() {
            writeln!(f, "\nFIELDS")?;
            tree(f, of.shape, 2)?;
        }
        Ok(())
    }
}

fn tree(f: &mut fmt::Formatter<'_>, shape: &Shape, indent: usize) -> fmt::Result {
    for field in shape.fields() {
        let required = if field.required { ", required" } else { "" };
        writeln!(f, "{:indent$}{} <{}>{required}", "", field.name, type_words(&field.shape))?;
        tree(f, &field.shape, indent + 2)?;
    }
    Ok(())
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
