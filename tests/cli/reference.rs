//! docs/reference/cli.md is what the program says about itself.

use std::fmt::Write;
use std::path::Path;

use super::run::landfall;
use crate::documents::generated;

fn help(arguments: &[&str]) -> String {
    let text = landfall(Path::new("/"), arguments).expect(0).stdout;
    text.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// The commands that `--help` lists.
fn commands(overview: &str) -> Vec<String> {
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        listed.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_reference_of_the_commands_is_up_to_date() {
    let overview = help(&["--help"]);
    let commands = commands(&overview);
    assert!(commands.len() >= 10, "{commands:?}");
    let mut text = format!("```text\n{overview}```\n");
    for command in &commands {
        let help = help(&[command, "--help"]);
        // The same everywhere.
        let own = help.split("\nGlobal options:").next().unwrap_or(&help);
        write!(text, "\n## landfall {command}\n\n```text\n{own}```\n").unwrap();
    }
    generated("docs/reference/cli.md", "commands", &text);
}

#[test]
fn every_command_explains_itself_in_short_and_at_length() {
    for command in commands(&help(&["--help"])) {
        assert!(help(&[&command, "-h"]).contains("Usage: landfall"), "{command}");
        assert!(help(&["help", &command]).contains("Usage: landfall"), "{command}");
    }
}
