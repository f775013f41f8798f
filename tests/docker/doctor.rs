//! `doctor` with real proxies: each cause is staged, seen through the proxy, found, fixed by the commands that `doctor` names, run as they are
//! printed, and gone.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::traefik::program;
use crate::cli::run::{Ran, clean, finish};
use crate::cli::world::World;
use crate::support::{ContainerBuilder, Host, wait_for};

pub(super) const TRAEFIK: &str = "landfall/doctor-traefik:test";
pub(super) const CADDY: &str = "landfall/doctor-caddy:test";
/// Where the proxy answers on the host.
pub(super) const PORT: u16 = 8080;

const MANIFESTS: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: edge }
spec: { endpoint: 'ENDPOINT', proxy: { container: PROXY, type: TYPE } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: shop }
spec: { server: edge, network: { name: street-shop } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec: { destination: shop, containers: { names: [shop] }, endpoint: { aliases: [shop.internal] } }
";

/// A proxy, an application behind it, and the manifests that declare both.
pub(super) struct Street {
    pub(super) host: Host,
    pub(super) world: World,
}

impl Street {
    pub(super) fn with_traefik() -> Self {
        let host = Host::start();
        host.import_image_with(TRAEFIK, &[], |root| {
            std::fs::copy(program(), root.join("bin/traefik")).unwrap();
            // The published image takes the arguments of Traefik for its command.
            let version = root.join("bin/version");
            std::fs::write(&version, "#!/bin/sh\nexec traefik version\n").unwrap();
            std::fs::set_permissions(&version, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        });
        let street = Self::open(host, "traefik", "Traefik");
        street.shop().network("home").running();
        street.traefik().running();
        street
    }

    pub(super) fn with_caddy() -> Self {
        let host = Host::start();
        host.import_image(CADDY, &["/usr/bin/caddy"]);
        let street = Self::open(host, "caddy", "Caddy");
        street.shop().network("home").running();
        street.caddy().running();
        street
    }

    fn open(host: Host, proxy: &str, kind: &str) -> Self {
        // Not the proxy's: the default bridge would be a way to it.
        host.create_network("home");
        let manifests = MANIFESTS.replace("ENDPOINT", &host.endpoint()).replace("PROXY", proxy).replace("TYPE", kind);
        Self { world: World::new(&manifests), host }
    }

    pub(super) fn traefik(&self) -> ContainerBuilder<'_> {
        self.host
            .container("traefik")
            .image(TRAEFIK)
            .publish(80, PORT)
            .bind(&self.host.socket(), "/var/run/docker.sock")
            .command(&[
                "traefik",
                "--entrypoints.web.address=:80",
                "--providers.docker.exposedbydefault=false",
                "--providers.providersthrottleduration=100ms",
                // Thirty seconds, unless one says otherwise.
                "--serverstransport.forwardingtimeouts.dialtimeout=1s",
                "--serverstransport.forwardingtimeouts.responseheadertimeout=1s",
            ])
    }

    pub(super) fn caddy(&self) -> ContainerBuilder<'_> {
        let caddyfile = "{\n  admin off\n  auto_https off\n}\n:80 {\n  reverse_proxy shop.internal:80 {\n    transport http {\n      keepalive off\n      response_header_timeout 1s\n    }\n  }\n}\n";
        let serve = "echo \"$CADDYFILE\" | exec caddy run --config - --adapter caddyfile";
        let caddy = self.host.container("caddy").image(CADDY).publish(80, PORT);
        caddy.env(&format!("CADDYFILE={caddyfile}")).command(&["sh", "-c", serve])
    }

    /// As it is to be.
    pub(super) fn shop(&self) -> ContainerBuilder<'_> {
        self.application("shop", "0.0.0.0:80", 80).label("traefik.docker.network", "street-shop")
    }

    /// Listens there, and tells Traefik of that port.
    pub(super) fn application(&self, name: &str, listen: &str, port: u16) -> ContainerBuilder<'_> {
        let serve = format!(
            "mkdir -p /tmp/www && touch /tmp/fit && echo shop >/tmp/www/index.html && exec httpd -f -p {listen} -h /tmp/www"
        );
        self.host
            .container(name)
            .label("traefik.enable", "true")
            .label(&format!("traefik.http.routers.{name}.rule"), "PathPrefix(`/`)")
            .label(&format!("traefik.http.services.{name}.loadbalancer.server.port"), &port.to_string())
            .command(&["sh", "-c", &serve])
    }

    /// In the network of the host, where the proxy's port is.
    pub(super) fn doctor(&self, arguments: &[&str]) -> Ran {
        let mut command = clean(Command::new("nsenter"));
        command.args([
            "--target",
            &self.host.first_process().to_string(),
            "--net",
            env!("CARGO_BIN_EXE_landfall"),
            "doctor",
        ]);
        command.current_dir(self.world.path()).env("XDG_STATE_HOME", self.world.path().join("state"));
        finish(command.args(arguments), "")
    }

    fn asks(&self) -> Value {
        self.doctor(&["--watch", &format!("http://127.0.0.1:{PORT}/"), "-o", "json"]).json()
    }

    #[track_caller]
    pub(super) fn answers(&self, status: u16) {
        let mut last = Value::Null;
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the proxy to answer as it should", || {
                last = self.asks();
                (last["asked"]["status"] == status).then_some(())
            });
        }));
        assert!(answered.is_ok(), "{status} is not what the proxy answers: {last:#}");
    }

    /// Runs the commands as they are printed.
    #[track_caller]
    fn fix(&self, finding: &Value) {
        for command in finding["fix"].as_array().unwrap() {
            let command = command.as_str().unwrap();
            let mut shell = clean(Command::new("sh"));
            let program = Path::new(env!("CARGO_BIN_EXE_landfall")).parent().unwrap();
            let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
            shell.current_dir(self.world.path()).env("XDG_STATE_HOME", self.world.path().join("state"));
            shell.env("PATH", path).env("DOCKER_HOST", self.host.endpoint()).args(["-c", command]).stdin(Stdio::null());
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Seen through the proxy (0: no answer), found, and what was found returned.
    #[track_caller]
    pub(super) fn finds(&self, cause: &str, status: u16) -> Value {
        let mut last = Value::Null;
        let expected = if status == 0 { Value::Null } else { Value::from(status) };
        let staged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the proxy to answer as the cause has it", || {
                last = self.asks();
                let found = last["findings"].as_array().unwrap().iter().find(|finding| finding["cause"] == cause);
                (last["asked"]["status"] == expected).then(|| found.cloned()).flatten()
            })
        }));
        let finding = staged.unwrap_or_else(|_| panic!("{cause} behind {status} was not found: {last:#}"));
        eprintln!("| {cause} | {status} | {} | {} |", finding["message"].as_str().unwrap(), finding["fix"]);
        finding
    }

    /// The whole story of a cause.
    #[track_caller]
    pub(super) fn heals(&self, cause: &str, status: u16) {
        let finding = self.finds(cause, status);
        self.fix(&finding);
        self.answers(200);
        let healthy = self.doctor(&[]);
        assert!(healthy.code == 0, "after the fix of {cause}: {healthy}");
    }

    /// What no command fixes: the application is made anew.
    #[track_caller]
    pub(super) fn replaced(&self, cause: &str, status: u16) {
        self.finds(cause, status);
        self.host.remove_container("shop");
        self.shop().network("home").running();
        self.world.run("apply").expect(0);
        self.answers(200);
        let healthy = self.doctor(&[]);
        assert!(healthy.code == 0, "after the fix of {cause}: {healthy}");
    }
}

#[test]
fn what_keeps_traefik_from_an_application_is_found_and_fixed() {
    let street = Street::with_traefik();
    let host = &street.host;
    // Before anything was applied: neither is on the network, which does not exist.
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);

    host.disconnect("street-shop", "traefik");
    street.heals("ProxyNotOnNetwork", 504);

    host.stop_container("shop");
    street.heals("NotRunning", 404);

    host.post("/containers/shop/pause", Value::Null);
    street.heals("Paused", 504);

    host.disconnect("street-shop", "shop");
    host.container("squatter").network("street-shop").running();
    street.answers(504);
    host.connect("street-shop", "shop");
    street.heals("StaleProxyView", 504);
    host.remove_container("squatter");

    host.stop_container("traefik");
    street.heals("ProxyNotRunning", 0);

    host.stop_container("traefik");
    host.container("squatter").publish(81, PORT).running();
    let refused = host.api("POST", "/containers/traefik/start", &Value::Null);
    assert_eq!(refused.status, 500, "{}", refused.body);
    street.heals("PortTaken", 0);
    host.remove_container("squatter");

    host.stop_container("shop");
    host.disconnect("street-shop", "traefik");
    host.remove_network("street-shop");
    street.heals("NetworkRemoved", 404);

    host.remove_container("shop");
    street.shop().network("street-shop").healthcheck("test -e /tmp/fit").running();
    street.answers(200);
    host.exec("shop", &["rm", "/tmp/fit"]);
    street.heals("Unhealthy", 404);
}

#[test]
fn what_an_application_asks_of_traefik_in_vain_is_found() {
    let street = Street::with_traefik();
    let host = &street.host;
    street.world.run("apply").expect(0);
    street.answers(200);
    let again = || host.remove_container("shop");

    again();
    street
        .application("shop", "0.0.0.0:80", 81)
        .label("traefik.docker.network", "street-shop")
        .publish(80, 8099)
        .network("street-shop")
        .running();
    street.replaced("PortNotExposed", 502);

    again();
    street
        .application("shop", "127.0.0.1:80", 80)
        .label("traefik.docker.network", "street-shop")
        .network("street-shop")
        .running();
    street.replaced("ListensOnLoopback", 502);

    again();
    street.shop().label("traefik.enable", "").network("street-shop").running();
    street.answers(404);
    again();

    street.application("shop", "0.0.0.0:8090", 8090).network_mode("host").running();
    street.replaced("NetworkMode", 502);

    again();
    street.shop().network_mode("none").running();
    street.replaced("NetworkMode", 404);

    // Two definitions of one router.
    let other = host.container("other").label("traefik.enable", "true").network("street-shop");
    let other = other.label("traefik.http.services.other.loadbalancer.server.port", "80");
    other.label("traefik.http.routers.shop.rule", "Path(`/elsewhere`)").running();
    street.finds("RouterConflict", 404);
    host.remove_container("other");
    street.answers(200);

    again();
    street
        .application("shop", "0.0.0.0:80", 80)
        .label("traefik.docker.network", "shop")
        .network("street-shop")
        .running();
    street.answers(200);
    street.doctor(&[]).expect(0);
    host.create_network("private");

    // Traefik takes either of its networks.
    again();
    street.application("shop", "0.0.0.0:80", 80).network("private").running();
    host.connect("private", "traefik");
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);
    host.disconnect("private", "traefik");
    let ambiguous = street.doctor(&["-o", "json"]).expect(1).json();
    assert_eq!(ambiguous["findings"][0]["cause"], "AmbiguousNetwork", "{ambiguous:#}");
    again();
    street.shop().network("private").running();
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);

    // What has no label that has Traefik serve it.
    again();
    let silent =
        host.container("shop").network("street-shop").label("traefik.http.routers.shop.rule", "PathPrefix(`/`)");
    silent.running();
    street.replaced("NotEnabled", 404);
    again();
    street.shop().network("street-shop").label("traefik.http.routers.shop.entrypoints", "websecure").running();
    street.replaced("EntryPointMissing", 404);

    // A network on which nobody reaches anybody.
    host.create_network_with(serde_json::json!({
        "Name": "apart", "CheckDuplicate": true, "Options": { "com.docker.network.bridge.enable_icc": "false" },
    }));
    host.connect("apart", "traefik");
    again();
    street.application("shop", "0.0.0.0:80", 80).label("traefik.docker.network", "apart").network("apart").running();
    street.replaced("ContainersIsolated", 504);

    again();
    street
        .application("shop", "0.0.0.0:80", 80)
        .label("traefik.docker.network", "private")
        .network("private")
        .running();
    street.heals("ProxyNotOnNetwork", 504);
}

#[test]
fn what_keeps_caddy_from_an_application_is_found_and_fixed() {
    let street = Street::with_caddy();
    let host = &street.host;
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);

    host.disconnect("street-shop", "caddy");
    street.heals("ProxyNotOnNetwork", 502);

    host.stop_container("shop");
    street.heals("NotRunning", 502);

    host.post("/containers/shop/pause", Value::Null);
    street.heals("Paused", 504);

    host.disconnect("street-shop", "shop");
    street.heals("MemberNotOnNetwork", 502);

    host.stop_container("caddy");
    street.heals("ProxyNotRunning", 0);
}
