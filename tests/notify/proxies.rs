//! Notices to the world beyond a proxy, as the environment names it. The hosts have no address: what arrives has gone through the proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::receiver::Receiver;
use crate::cli::world::World;
use crate::support::authority::{Authority, Validity};
use crate::support::wait_for;
use crate::web::live::Running;

/// Makes connections for those who know the password. What it forwards without one, it answers itself.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(destination: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        // Ends with the process of the test, which waits for no connection any more then.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(stream.unwrap(), &log, destination));
            }
        });
        Self { port, heads }
    }

    fn url(&self, password: &str) -> String {
        format!("http://landfall:{password}@127.0.0.1:{}", self.port)
    }

    /// The first lines of what it was sent.
    fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let mut asked: Vec<String> = heads.iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
        asked.sort();
        asked.dedup();
        asked
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<String>>, destination: u16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    log.lock().unwrap().push(head.clone());
    let mut stream = stream;
    // landfall:s3cr3t
    if !head.to_ascii_lowercase().contains("proxy-authorization: basic bgfuzgzhbgw6cznjcjn0") {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    }
    if !head.starts_with("CONNECT ") {
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut onward = TcpStream::connect(("127.0.0.1", destination))?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back, mut there) = (onward.try_clone()?, stream.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut back, &mut there));
    std::io::copy(&mut reader, &mut onward).map(drop)
}

fn notifier(name: &str, url: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: {name}, namespace: infra }}\n\
         spec: {{ type: slack, url: '{url}' }}\n"
    )
}

/// What the log says last of the notifier.
fn says(running: &Running, name: &str) -> String {
    wait_for("it is said what became of it", || {
        let log = running.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find_map(|line| {
            let fields = &line["fields"];
            (fields["notifier"] == format!("infra/{name}"))
                .then(|| format!("{} {}", fields["message"].as_str().unwrap(), fields["error"].as_str().unwrap_or("")))
        })
    })
}

#[test]
fn notices_go_through_the_proxy_of_the_environment_but_to_whom_it_is_not_for() {
    let authority = Authority::new();
    let secure = Receiver::secure(&authority.server("DNS:hooks.invalid", Validity::Now), &[]);
    let here = Receiver::start(&[]);
    let proxy = Proxy::start(secure.port());
    let world = World::new(&crate::cli::world::server("unix:///nonexistent/docker.sock"));
    let addresses = [
        ("secure", "https://hooks.invalid/x?key=1".to_owned()),
        ("plain", "http://plain.invalid/y".to_owned()),
        ("excepted", "https://chat.intern.invalid/z".to_owned()),
        ("here", here.url("/here")),
    ];
    let manifests: String = addresses.iter().map(|(name, url)| notifier(name, url)).collect();
    world.write("manifests/notifiers.yaml", &manifests);
    let mut command = crate::cli::run::command();
    command.env("SSL_CERT_FILE", authority.certificate()).env_remove("SSL_CERT_DIR");
    command.env("HTTPS_PROXY", proxy.url("s3cr3t")).env("http_proxy", proxy.url("s3cr3t"));
    command.env("NO_PROXY", "intern.invalid");
    let running = Running::start_in(command, &world, &["-vv"]);
    for name in ["secure", "plain", "here"] {
        assert_eq!(says(&running, name), "told ");
    }
    let excepted = says(&running, "excepted");
    assert!(excepted.starts_with("not told yet connecting failed: ") && !excepted.contains("proxy"), "{excepted}");
    assert_eq!(proxy.asked(), ["CONNECT hooks.invalid:443 HTTP/1.1", "POST http://plain.invalid/y HTTP/1.1"]);
    assert_eq!(secure.all()[0].target, "/x?key=1");
    assert!(!secure.all()[0].head.contains("proxy-authorization"), "{:?}", secure.all());
    assert_eq!(here.all()[0].target, "/here");
    assert!(!running.log().contains("s3cr3t"), "{}", running.log());
}

#[test]
fn where_a_proxy_is_at_fault_the_log_says_so() {
    let proxy = Proxy::start(1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::new(&crate::cli::world::server("unix:///nonexistent/docker.sock"));
    let manifests = notifier("secure", "https://hooks.invalid/") + &notifier("plain", "http://plain.invalid/");
    world.write("manifests/notifiers.yaml", &manifests);
    let mut command = crate::cli::run::command();
    command.env("HTTPS_PROXY", proxy.url("wr0ng")).env("HTTP_PROXY", format!("http://127.0.0.1:{closed}"));
    let running = Running::start_in(command, &world, &["-vv"]);
    let through = ", through the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)";
    let refused = "the proxy makes no connection: proxy authorization required";
    assert_eq!(says(&running, "secure"), format!("not told yet {refused}{through}"));
    assert_eq!(says(&running, "plain"), format!("not told yet connecting failed: Connection refused{through}"));
    assert!(!running.log().contains("wr0ng"), "{}", running.log());
}

/// What a proxy of the environment answers would be taken for the answer of the server's own.
#[test]
fn doctor_asks_the_server_itself_by_the_name_of_the_address() {
    let (server, proxy) = (Receiver::start(&[Some("404 Not Found")]), Proxy::start(1));
    let world = World::new(&crate::cli::world::server("unix:///nonexistent/docker.sock"));
    let arguments = format!("doctor --watch http://shop.invalid:8080/a?b --via 127.0.0.1:{} -o json", server.port());
    let environment = [("HTTP_PROXY", proxy.url("s3cr3t")), ("http_proxy", proxy.url("s3cr3t"))];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ran = world.run_with(&environment, &arguments);
    assert_eq!(ran.json()["asked"]["status"], 404, "{ran:?}");
    let asked = &server.all()[0];
    assert_eq!(asked.target, "/a?b");
    assert!(asked.head.contains("host: shop.invalid:8080\n"), "{asked:?}");
    assert!(proxy.asked().is_empty());
}
