//! What stands beside manifests and is none: objects of other APIs, and files of other tools.

use super::tree::{Content, Node};
use crate::core::api::Kind;

/// The group of Landfall's own API, up to the slash.
const GROUP: &str = "landfall";
/// A group so many letters away is one that was meant.
const TYPO: usize = 2;

/// Which other tool the document is for, in words. `None`: it may be meant for Landfall.
pub(super) fn tool(root: &Node) -> Option<String> {
    let text = |key: &str| match &root.get(key)?.value.content {
        Content::Text(text) => Some(text.as_str()),
        _ => None,
    };
    if let Some(version) = text("apiVersion") {
        return api(version, text("kind"));
    }
    if root.get("apiVersion").is_some() || root.get("kind").is_some() {
        return None;
    }
    let mapping = |key: &str| match &root.get(key)?.value.content {
        Content::Mapping(entries) if !entries.is_empty() => Some(entries),
        _ => None,
    };
    let is_mapping = |node: &Node| matches!(node.content, Content::Mapping(_));
    if mapping("services").is_some_and(|services| services.iter().all(|it| is_mapping(&it.value))) {
        return Some("a Compose file".to_owned());
    }
    if mapping("jobs").is_some() && root.get("on").is_some() {
        return Some("a workflow".to_owned());
    }
    None
}

/// The same for a document that cannot be read as one: templates, and YAML that other tools allow.
pub(super) fn tool_of_text(text: &str) -> Option<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next().map(|word| word.trim_matches(['"', '\'']))
    };
    api(value("apiVersion")?, value("kind"))
}

fn api(version: &str, kind: Option<&str>) -> Option<String> {
    let of_another = match version.split_once('/') {
        Some((group, _)) => strsim::levenshtein(&group.to_ascii_lowercase(), GROUP) > TYPO,
        // Kubernetes' own group has no name. Of its kinds one is called as one of Landfall's.
        None => {
            let ours = kind.is_some_and(|kind| kind != "Service" && kind.parse::<Kind>().is_ok());
            is_version(version) && !ours && kind != Some("List")
        }
    };
    let kind = kind.unwrap_or("an object");
    of_another.then(|| format!("{kind} of {version}"))
}

/// `v1`, `v2beta1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit()) && rest.chars().all(|it| it.is_ascii_alphanumeric())
    })
}

/// Files by their names that belong to other tools, wherever they are.
pub(crate) fn tool_of_name(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    let yaml = matches!(extension, "yaml" | "yml");
    let stem = stem.strip_prefix("docker-").unwrap_or(stem);
    let is_compose = |stem: &str| {
        stem.strip_prefix("compose").is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
    };
    match (stem, yaml) {
        (stem, true) if is_compose(stem) => Some("Compose"),
        ("kustomization", true) => Some("Kustomize"),
        ("chart", true) => Some("Helm"),
        ("skaffold", true) => Some("Skaffold"),
        (
            "mkdocs" | "taskfile" | "codecov" | "dependabot" | "pnpm-workspace" | "pnpm-lock" | "azure-pipelines",
            true,
        ) => Some("another tool"),
        ("package" | "package-lock" | "tsconfig" | "jsconfig" | "composer" | "deno" | "lerna", false)
            if extension == "json" =>
        {
            Some("another tool")
        }
        ("renovate", _) => Some("Renovate"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_other_apis_are_told_from_mistakes_in_ones_own() {
        for (version, kind) in [
            ("apps/v1", Some("Deployment")),
            ("v1", Some("Service")),
            ("v1", Some("ConfigMap")),
            ("v2", None),
            ("argoproj.io/v1alpha1", Some("Application")),
            ("kustomize.config.k8s.io/v1beta1", Some("Kustomization")),
        ] {
            assert!(api(version, kind).is_some(), "{version} {kind:?}");
        }
        for (version, kind) in [
            ("landfall/v1", Some("Deployment")),
            ("landfall/v2", Some("Server")),
            ("landfal/v1", Some("Server")),
            ("Landfall/v1", None),
            ("lanfdall/v1", Some("Destination")),
            ("v1", Some("Server")),
            ("v1", Some("Destination")),
            ("v1", Some("List")),
            ("landfall", Some("Server")),
            ("", None),
            ("version one", Some("Server")),
        ] {
            assert_eq!(api(version, kind), None, "{version} {kind:?}");
        }
    }

    #[test]
    fn files_of_other_tools_go_by_their_names() {
        for name in [
            "docker-compose.yml",
            "docker-compose.prod.yaml",
            "compose.yaml",
            "Compose-dev.yml",
            "kustomization.yaml",
            "package.json",
            "renovate.json",
            "Chart.yaml",
        ] {
            assert!(tool_of_name(name).is_some(), "{name}");
        }
        for name in ["web.yaml", "composed.yaml", "package.yaml", "my-compose.yaml", "values.yaml", "compose"] {
            assert_eq!(tool_of_name(name), None, "{name}");
        }
    }
}
