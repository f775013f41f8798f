//! What OpenSSH's configuration says about a host.
//!
//! `ssh -G host` prints it, with `Host`, `Match`, `Include` and everything evaluated by the one program that knows how. Without an ssh
//! program its defaults apply.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::auth::Identity;
use super::error::SshError;

/// `Match exec` may run anything.
const SSH_G_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys that ssh tries when none is configured, and that we can use.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_rsa", "id_ecdsa", "id_ed25519"];
/// Files that ssh tries by default, and that are not worth a word when they are missing.
const DEFAULT_IDENTITY_NAMES: [&str; 7] =
    ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"];

/// What of this process the configuration depends on.
#[derive(Debug, Clone)]
pub struct Environment {
    pub home: PathBuf,
    /// `SSH_AUTH_SOCK`
    pub agent: Option<PathBuf>,
    /// The local user: the default for the remote one.
    pub user: String,
    /// The ssh program; `None` does without.
    pub program: Option<PathBuf>,
    /// Configuration file to use instead of the user's and the system's (`ssh -F`).
    pub config_file: Option<PathBuf>,
}

impl Environment {
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let user = ["USER", "LOGNAME"].into_iter().find_map(|name| variable(name)?.into_string().ok());
        Self {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            user: user.unwrap_or_else(|| "root".to_owned()),
            program: Some(PathBuf::from("ssh")),
            config_file: None,
        }
    }
}

/// A host as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

impl Target {
    /// `[user@]host[:port]`, or the same with `ssh://` before it.
    pub fn parse(text: &str) -> Result<Self, SshError> {
        let bad = |problem: &str| SshError::Configuration(format!("{text:?} is no SSH host: {problem}"));
        let rest = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| bad("`]` is missing"))?;
                (host, after.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (rest, None),
            },
        };
        let port = port.map(str::parse).transpose().map_err(|_| bad("the port is no number"))?;
        let target = Self { user, host: host.to_owned(), port };
        target.check()?;
        Ok(target)
    }

    /// Names reach `ssh -G` and, through its tokens, whatever the user's `Match exec` runs.
    pub fn check(&self) -> Result<(), SshError> {
        let host_is_fine = |host: &str| {
            !host.is_empty()
                && !host.starts_with('-')
                && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
        };
        let user_is_fine = |user: &str| {
            !user.is_empty()
                && !user.starts_with('-')
                && !user.chars().any(|c| c.is_control() || c.is_whitespace() || "'`\"$\\;&<>|(){}".contains(c))
        };
        if !host_is_fine(&self.host) {
            return Err(SshError::Configuration(format!("{:?} is no host name", self.host)));
        }
        match &self.user {
            Some(user) if !user_is_fine(user) => Err(SshError::Configuration(format!("{user:?} is no user name"))),
            _ => Ok(()),
        }
    }
}

/// The configuration of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    pub host_name: String,
    pub port: u16,
    pub user: String,
    pub identities: Vec<Identity>,
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    /// The hosts to go through, nearest first.
    pub jumps: Vec<Target>,
    pub host_key_alias: Option<String>,
    pub user_known_hosts: Vec<PathBuf>,
    pub global_known_hosts: Vec<PathBuf>,
    /// Options that are set, have no effect here, and may be the reason when something does not work.
    pub ignored: Vec<String>,
}

/// Asks the ssh program. A port or a user of the target wins over the configuration.
pub(super) async fn host_config(target: &Target, environment: &Environment) -> Result<HostConfig, SshError> {
    target.check()?;
    let Some(program) = &environment.program else {
        return Ok(defaults(target, environment));
    };
    let mut command = tokio::process::Command::new(program);
    if let Some(file) = &environment.config_file {
        command.arg("-F").arg(file);
    }
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &target.user {
        command.arg("-l").arg(user);
    }
    command.args(["-G", "--", &target.host]).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |problem: String| SshError::Configuration(format!("`ssh -G {}` failed: {problem}", target.host));
    let output = match tokio::time::timeout(SSH_G_TIMEOUT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            warn_of_unread_config(environment);
            return Ok(defaults(target, environment));
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no answer in {SSH_G_TIMEOUT:?}"))),
    };
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    parse(&String::from_utf8_lossy(&output.stdout), target, environment)
}

fn warn_of_unread_config(environment: &Environment) {
    let config = environment.home.join(".ssh/config");
    if config.exists() {
        tracing::warn!("{} is not read: it takes the ssh program, which is not installed", config.display());
    }
}

/// What ssh does without any configuration.
fn defaults(target: &Target, environment: &Environment) -> HostConfig {
    let ssh = environment.home.join(".ssh");
    HostConfig {
        host_name: target.host.clone(),
        port: target.port.unwrap_or(super::known_hosts::DEFAULT_PORT),
        user: target.user.clone().unwrap_or_else(|| environment.user.clone()),
        identities: DEFAULT_IDENTITIES.iter().map(|name| Identity { file: ssh.join(name), explicit: false }).collect(),
        identities_only: false,
        agent: environment.agent.clone(),
        jumps: Vec::new(),
        host_key_alias: None,
        user_known_hosts: vec![ssh.join("known_hosts"), ssh.join("known_hosts2")],
        global_known_hosts: vec!["/etc/ssh/ssh_known_hosts".into(), "/etc/ssh/ssh_known_hosts2".into()],
        ignored: Vec::new(),
    }
}

/// Reads the output of `ssh -G`: a lower-case keyword and its value on each line.
fn parse(output: &str, target: &Target, environment: &Environment) -> Result<HostConfig, SshError> {
    let mut config = HostConfig { identities: Vec::new(), ..defaults(target, environment) };
    let mut identity_files = Vec::new();
    for line in output.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        match keyword {
            "hostname" => config.host_name = value.to_owned(),
            "user" => config.user = value.to_owned(),
            "port" => config.port = value.parse().map_err(|_| unsupported(target, keyword, value))?,
            "identityfile" if value != "none" => identity_files.push(value),
            "identitiesonly" => config.identities_only = value == "yes",
            "identityagent" => config.agent = agent(value, target, environment)?,
            "hostkeyalias" => config.host_key_alias = Some(value.to_owned()),
            "userknownhostsfile" => config.user_known_hosts = files(value, target, environment)?,
            "globalknownhostsfile" => config.global_known_hosts = files(value, target, environment)?,
            "proxyjump" if value != "none" => {
                config.jumps = value.split(',').map(Target::parse).collect::<Result<_, _>>()?;
            }
            // These change which server is reached or which keys are trusted: doing without them would be wrong.
            "proxycommand" | "knownhostscommand" | "revokedhostkeys" if value != "none" => {
                return Err(unsupported(target, keyword, value));
            }
            "certificatefile" | "pkcs11provider" | "bindaddress" | "bindinterface" if value != "none" => {
                config.ignored.push(format!("{keyword} {value}"));
            }
            "pubkeyauthentication" if matches!(value, "no" | "false") => {
                return Err(unsupported(target, keyword, value));
            }
            "addressfamily" if value != "any" => config.ignored.push(format!("{keyword} {value}")),
            _ => {}
        }
    }
    for value in identity_files {
        config.identities.push(identity(&expand(value, target, &config, environment)?, environment));
    }
    Ok(config)
}

fn unsupported(target: &Target, keyword: &str, value: &str) -> SshError {
    let instead = match keyword {
        "proxycommand" => "; ProxyJump is supported",
        "knownhostscommand" => "; known_hosts files and spec.ssh.hostKey are supported",
        "revokedhostkeys" => "; `@revoked` lines in known_hosts are supported",
        _ => "",
    };
    SshError::Configuration(format!(
        "the ssh configuration of {} sets `{keyword} {value}`, which is not supported{instead}",
        target.host
    ))
}

fn identity(file: &Path, environment: &Environment) -> Identity {
    let is_default = DEFAULT_IDENTITY_NAMES.iter().any(|name| *file == environment.home.join(".ssh").join(name));
    Identity { file: file.to_owned(), explicit: !is_default }
}

fn agent(value: &str, target: &Target, environment: &Environment) -> Result<Option<PathBuf>, SshError> {
    match value {
        "none" => Ok(None),
        "SSH_AUTH_SOCK" => Ok(environment.agent.clone()),
        _ => match value.strip_prefix('$') {
            Some(name) if !name.starts_with('{') => Ok(std::env::var_os(name).map(PathBuf::from)),
            _ => expand(value, target, &defaults(target, environment), environment).map(Some),
        },
    }
}

fn files(value: &str, target: &Target, environment: &Environment) -> Result<Vec<PathBuf>, SshError> {
    if value == "none" {
        return Ok(Vec::new());
    }
    let config = defaults(target, environment);
    // ssh looks in the home of the account that it runs as, whatever HOME says. Keys are looked for in HOME, and so are these.
    let of_home = |file: &str| file.strip_suffix("/.ssh/known_hosts").map(str::to_owned);
    let mut values = value.split_ascii_whitespace();
    if let (Some(first), Some(second), None) = (values.next(), values.next(), values.next())
        && of_home(first).is_some_and(|home| !home.is_empty() && second == format!("{home}/.ssh/known_hosts2"))
    {
        return Ok(config.user_known_hosts);
    }
    value.split_ascii_whitespace().map(|file| expand(file, target, &config, environment)).collect()
}

/// `~`, the `%` tokens that stand for what we know, and `${VARIABLE}`.
fn expand(value: &str, target: &Target, config: &HostConfig, environment: &Environment) -> Result<PathBuf, SshError> {
    let home = environment.home.display().to_string();
    let bad = |what: &str| {
        SshError::Configuration(format!(
            "the ssh configuration of {} has {what} in `{value}`, which is not supported",
            target.host
        ))
    };
    let value = match value.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        Some(_) => return Err(bad("another user's home")),
        None => value.to_owned(),
    };
    let mut expanded = String::new();
    let mut rest = value.as_str();
    while let Some(at) = rest.find(['%', '$']) {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(named) = rest.strip_prefix("${") {
            let (name, after) = named.split_once('}').ok_or_else(|| bad("an open `${`"))?;
            expanded.push_str(&std::env::var(name).map_err(|_| bad(&format!("the unset variable {name}")))?);
            rest = after;
            continue;
        }
        let Some(after) = rest.strip_prefix('%') else {
            expanded.push('$');
            rest = &rest[1..];
            continue;
        };
        let token = after.chars().next().ok_or_else(|| bad("a single %"))?;
        match token {
            '%' => expanded.push('%'),
            'd' => expanded.push_str(&home),
            'h' => expanded.push_str(&config.host_name),
            'n' => expanded.push_str(&target.host),
            'p' => expanded.push_str(&config.port.to_string()),
            'r' => expanded.push_str(&config.user),
            'u' => expanded.push_str(&environment.user),
            other => return Err(bad(&format!("the token %{other}"))),
        }
        rest = &after[token.len_utf8()..];
    }
    expanded.push_str(rest);
    Ok(PathBuf::from(expanded))
}

/// `~` as in manifests.
pub(super) fn expand_home(path: &str, environment: &Environment) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => environment.home.join(rest),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: "/home/ada".into(),
            agent: Some("/run/agent".into()),
            user: "ada".to_owned(),
            program: None,
            config_file: None,
        }
    }

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    fn parsed(output: &str) -> Result<HostConfig, SshError> {
        parse(output, &target("edge-1"), &environment())
    }

    #[test]
    fn targets_are_read_as_ssh_reads_them() {
        let expect = |text, user: Option<&str>, host: &str, port| {
            assert_eq!(target(text), Target { user: user.map(str::to_owned), host: host.to_owned(), port }, "{text}");
        };
        expect("edge-1", None, "edge-1", None);
        expect("deploy@edge-1:2222", Some("deploy"), "edge-1", Some(2222));
        expect("ssh://deploy@[2001:db8::7]:2222/", Some("deploy"), "2001:db8::7", Some(2222));
        expect("2001:db8::7", None, "2001:db8::7", None);
        for bad in ["", "-oProxyCommand=x", "a;b", "a b", "host:port", "-l@host", "$(x)@host", "[::1"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_output_of_ssh_g_is_understood() {
        let config = parsed(
            "host edge-1\nuser deploy\nhostname edge-1.example.com\nport 2222\nidentityfile ~/.ssh/id_ed25519\n\
             identityfile %d/keys/%r@%h-%p%%\nidentitiesonly yes\nidentityagent ~/agent.sock\nproxyjump bastion,deploy@inner:2200\n\
             hostkeyalias cluster\nuserknownhostsfile /home/ada/a /home/ada/b\nglobalknownhostsfile none\nproxycommand none\n\
             certificatefile ~/.ssh/id-cert.pub\npubkeyauthentication true\n",
        )
        .unwrap();
        assert_eq!(
            config,
            HostConfig {
                host_name: "edge-1.example.com".to_owned(),
                port: 2222,
                user: "deploy".to_owned(),
                identities: vec![
                    Identity { file: "/home/ada/.ssh/id_ed25519".into(), explicit: false },
                    Identity { file: "/home/ada/keys/deploy@edge-1.example.com-2222%".into(), explicit: true },
                ],
                identities_only: true,
                agent: Some("/home/ada/agent.sock".into()),
                jumps: vec![target("bastion"), target("deploy@inner:2200")],
                host_key_alias: Some("cluster".to_owned()),
                user_known_hosts: vec!["/home/ada/a".into(), "/home/ada/b".into()],
                global_known_hosts: vec![],
                ignored: vec!["certificatefile ~/.ssh/id-cert.pub".to_owned()],
            }
        );
    }

    #[test]
    fn keys_and_known_hosts_are_looked_for_in_the_same_home() {
        let user = |value: &str| parsed(&format!("userknownhostsfile {value}\n")).unwrap().user_known_hosts;
        let ours: [PathBuf; 2] = ["/home/ada/.ssh/known_hosts".into(), "/home/ada/.ssh/known_hosts2".into()];
        assert_eq!(user("/root/.ssh/known_hosts /root/.ssh/known_hosts2"), ours);
        assert_eq!(user("~/.ssh/known_hosts ~/.ssh/known_hosts2"), ours);
        // What somebody has chosen.
        assert_eq!(user("/root/.ssh/known_hosts"), [PathBuf::from("/root/.ssh/known_hosts")]);
        assert_eq!(user("/dev/null"), [PathBuf::from("/dev/null")]);
    }

    #[test]
    fn options_that_decide_who_is_reached_or_trusted_are_refused_by_name() {
        for (line, word) in [
            ("proxycommand nc %h %p", "ProxyJump is supported"),
            ("knownhostscommand /bin/keys", "knownhostscommand /bin/keys"),
            ("revokedhostkeys /etc/revoked", "`@revoked` lines"),
            ("pubkeyauthentication no", "pubkeyauthentication no"),
            ("identityfile %C", "the token %C"),
            ("identityfile ~bob/key", "another user's home"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("not supported"), "{error}");
        }
    }

    #[test]
    fn without_an_ssh_program_its_defaults_apply() {
        let config = defaults(&target("root@edge-1"), &environment());
        assert_eq!((config.user.as_str(), config.port), ("root", 22));
        assert_eq!(config.agent, Some("/run/agent".into()));
        assert_eq!(config.identities[2].file, Path::new("/home/ada/.ssh/id_ed25519"));
        assert_eq!(config.user_known_hosts[0], Path::new("/home/ada/.ssh/known_hosts"));
        assert_eq!(defaults(&target("edge-1"), &environment()).user, "ada");
    }
}
