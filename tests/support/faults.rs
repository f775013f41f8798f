//! A stand-in in front of a daemon that decides, request by request, what becomes of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Of the API, major and minor, where the request names one.
    pub(crate) version: Option<(u32, u32)>,
    /// Without the version of the API and without the query: `/networks/create`.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// Whether it changes something.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    /// The container that a connection or disconnection is about.
    pub(crate) fn container(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["Container"].as_str().unwrap_or_default().to_owned()
    }
}

type Rewrite = Box<dyn FnOnce(Value) -> Value + Send>;

/// What becomes of a request.
pub(crate) enum Fate {
    /// The daemon answers it.
    Pass,
    /// The daemon never hears of it.
    Refused(u16),
    /// The daemon does it; what is answered says that it failed.
    DoneAndRefused(u16),
    /// The daemon never hears of it, and nothing is answered.
    Cut,
    /// The daemon does it, and nothing is answered.
    DoneAndCut,
    /// Nothing is answered, and the connection stays.
    Silence,
    Late(Duration),
    /// The daemon's answer is changed on its way.
    Rewritten(Rewrite),
}

type Rule = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// A socket that leads to the daemon's.
pub(crate) struct Faulty {
    rule: Arc<Mutex<Rule>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    directory: TempDir,
}

impl Faulty {
    pub(crate) fn before(daemon: PathBuf) -> Self {
        let directory = tempfile::Builder::new().prefix("landfall-faulty-").tempdir().unwrap();
        let pass: Rule = Box::new(|_| Fate::Pass);
        let faulty = Self { rule: Arc::new(Mutex::new(pass)), asked: Arc::default(), directory };
        let listener = UnixListener::bind(faulty.socket()).unwrap();
        let (rule, asked) = (Arc::clone(&faulty.rule), Arc::clone(&faulty.asked));
        // Ends with the test's process; nothing finds the socket any more once it is dropped.
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let (rule, asked, daemon) = (Arc::clone(&rule), Arc::clone(&asked), daemon.clone());
                std::thread::spawn(move || {
                    let _ = serve(&client, &daemon, &rule, &asked);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        faulty
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Asked for every request from now on, one at a time.
    pub(crate) fn rule(&self, rule: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Everything passes from now on.
    pub(crate) fn heal(&self) {
        self.rule(|_| Fate::Pass);
    }

    /// What was asked since the last time, but for pings.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// One connection: a request, and its answer. It is not kept alive, so that each request has one of its own.
fn serve(client: &UnixStream, daemon: &Path, rule: &Mutex<Rule>, log: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let length = field(&head, "content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if field(&head, "transfer-encoding").is_some() {
        body = chunks(&mut reader)?;
    }
    let asked = parse(&head, &body);
    if asked.path != "/_ping" {
        log.lock().unwrap().push(asked.clone());
    }
    let fate = (rule.lock().unwrap())(&asked);
    let forwarded = || {
        let mut stream = UnixStream::connect(daemon)?;
        let mut lines: Vec<&str> = head.trim_end().lines().collect();
        lines.retain(|line| {
            let line = line.to_ascii_lowercase();
            !["connection:", "transfer-encoding:", "content-length:"].iter().any(|name| line.starts_with(name))
        });
        let length = format!("Content-Length: {}", body.len());
        lines.extend(["Connection: close", &length]);
        stream.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())?;
        stream.write_all(&body)?;
        io::Result::Ok(stream)
    };
    let mut client = client;
    match fate {
        Fate::Pass => drop(io::copy(&mut forwarded()?, &mut client)?),
        Fate::Late(delay) => {
            std::thread::sleep(delay);
            io::copy(&mut forwarded()?, &mut client)?;
        }
        Fate::Refused(status) => client.write_all(&answer(status, &refusal(status)))?,
        Fate::DoneAndRefused(status) => {
            io::copy(&mut forwarded()?, &mut io::sink())?;
            client.write_all(&answer(status, &refusal(status)))?;
        }
        Fate::Cut => {}
        Fate::DoneAndCut => drop(io::copy(&mut forwarded()?, &mut io::sink())?),
        Fate::Silence => std::thread::sleep(Duration::from_secs(600)),
        Fate::Rewritten(rewrite) => {
            let mut told = Vec::new();
            forwarded()?.read_to_end(&mut told)?;
            let (head, body) = split(&told);
            let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(502);
            let body = if field(&head, "transfer-encoding").is_some() { chunks(&mut &body[..])? } else { body };
            let value = serde_json::from_slice(&body).unwrap_or_default();
            client.write_all(&answer(status, &rewrite(value)))?;
        }
    }
    Ok(())
}

fn refusal(status: u16) -> Value {
    json!({ "message": format!("a fault that the test has made ({status})") })
}

fn answer(status: u16, body: &Value) -> Vec<u8> {
    let body = if status == 204 { String::new() } else { body.to_string() };
    format!(
        "HTTP/1.1 {status} Status\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn split(told: &[u8]) -> (String, Vec<u8>) {
    let end = told.windows(4).position(|it| it == b"\r\n\r\n").map_or(told.len(), |at| at + 4);
    (String::from_utf8_lossy(&told[..end]).into_owned(), told[end..].to_vec())
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        if length == 0 {
            return Ok(body);
        }
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..length]);
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn parse(head: &str, body: &[u8]) -> Asked {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let versioned = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| rest.split_at(at)));
    let version = versioned.and_then(|(minor, _)| Some((1, minor.parse().ok()?)));
    let path = versioned.map_or(path, |(_, path)| path).to_owned();
    Asked { method, version, path, query: query.to_owned(), body: body.to_vec() }
}
