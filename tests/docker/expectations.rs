//! What users of other tools expect of a network (docs/design/0003-what-others-test.md), case after case on one daemon.

use serde_json::{Value, json};

use crate::cli::world::{World, server};
use crate::support::Host;

/// A network as it is first declared and made, and as it is declared then.
struct Case {
    what: &'static str,
    first: &'static str,
    then: &'static str,
    /// Where the two differ for the daemon: nothing, or the fields that the plan names.
    fields: &'static [&'static str],
    /// Where the daemon's inspection shows it in the end.
    shown: &'static str,
    expected: fn() -> Value,
}

const IPAM: &str = "subnets: [{ subnet: 10.25.120.0/24, gateway: 10.25.120.2, ipRange: 10.25.120.0/26 }], auxAddresses: { one: 10.25.120.3, two: 10.25.120.4 }";
const OTHER_IPAM: &str = "subnets: [{ subnet: 10.25.121.0/24, gateway: 10.25.121.2, ipRange: 10.25.121.0/26 }], auxAddresses: { one: 10.25.121.3 }";
const BOTH: &str = "ipv6: true, subnets: [{ subnet: 10.26.120.0/24 }, { subnet: 'fdd1:ac8c:557:7ce2::/64' }]";

const CASES: &[Case] = &[
    Case {
        what: "internal",
        first: "",
        then: "internal: true",
        fields: &["internal"],
        shown: "/Internal",
        expected: || json!(true),
    },
    Case {
        what: "internal no more",
        first: "internal: true",
        then: "internal: false",
        fields: &["internal"],
        shown: "/Internal",
        expected: || json!(false),
    },
    Case {
        what: "internal is not said any more",
        first: "internal: true",
        then: "",
        fields: &["internal"],
        shown: "/Internal",
        expected: || json!(false),
    },
    Case {
        what: "an option as text and as a boolean",
        first: "options: { com.docker.network.bridge.enable_ip_masquerade: 'false' }",
        then: "options: { com.docker.network.bridge.enable_ip_masquerade: false }",
        fields: &[],
        shown: "/Options/com.docker.network.bridge.enable_ip_masquerade",
        expected: || json!("false"),
    },
    Case {
        what: "an option changes",
        first: "options: { com.docker.network.bridge.enable_ip_masquerade: false }",
        then: "options: { com.docker.network.bridge.enable_ip_masquerade: true }",
        fields: &["options.com.docker.network.bridge.enable_ip_masquerade"],
        shown: "/Options/com.docker.network.bridge.enable_ip_masquerade",
        expected: || json!("true"),
    },
    Case {
        what: "an option is not said any more",
        first: "options: { com.docker.network.bridge.enable_ip_masquerade: false }",
        then: "",
        fields: &[],
        shown: "/Options/com.docker.network.bridge.enable_ip_masquerade",
        expected: || json!("false"),
    },
    Case {
        what: "containers that do not see each other",
        first: "icc: true",
        then: "icc: false",
        fields: &["icc"],
        shown: "/Options/com.docker.network.bridge.enable_icc",
        expected: || json!("false"),
    },
    Case {
        what: "labels in another order",
        first: "labels: { one: hello, two: world }",
        then: "labels: { two: world, one: hello }",
        fields: &[],
        shown: "/Labels/two",
        expected: || json!("world"),
    },
    Case {
        what: "fewer labels",
        first: "labels: { one: hello, two: world }",
        then: "labels: { one: hello }",
        fields: &[],
        shown: "/Labels/two",
        expected: || json!("world"),
    },
    Case {
        what: "more labels",
        first: "labels: { one: hello }",
        then: "labels: { one: hello, three: new }",
        fields: &["labels.three"],
        shown: "/Labels/three",
        expected: || json!("new"),
    },
    Case {
        what: "subnet, gateway, range and auxiliary addresses change",
        first: IPAM,
        then: OTHER_IPAM,
        fields: &["subnets[0].subnet", "subnets[0].gateway", "subnets[0].ipRange", "auxAddresses"],
        shown: "/IPAM/Config/0",
        expected: || {
            json!({
                "Subnet": "10.25.121.0/24", "Gateway": "10.25.121.2", "IPRange": "10.25.121.0/26",
                "AuxiliaryAddresses": { "one": "10.25.121.3" }
            })
        },
    },
    Case {
        what: "gateway and range are not said any more",
        first: IPAM,
        then: "subnets: [{ subnet: 10.25.120.0/24 }], auxAddresses: { one: 10.25.120.3, two: 10.25.120.4 }",
        fields: &[],
        shown: "/IPAM/Config/0/Gateway",
        expected: || json!("10.25.120.2"),
    },
    Case {
        what: "an IPv6 subnet written otherwise",
        first: "ipv6: true, subnets: [{ subnet: 'fdd1:ac8c:0557:7ce0::/64' }]",
        then: "ipv6: true, subnets: [{ subnet: 'FDD1:AC8C:557:7CE0:0::/64' }]",
        fields: &[],
        shown: "/EnableIPv6",
        expected: || json!(true),
    },
    Case {
        what: "another IPv6 subnet",
        first: "ipv6: true, subnets: [{ subnet: 'fdd1:ac8c:557:7ce0::/64' }]",
        then: "ipv6: true, subnets: [{ subnet: 'fdd1:ac8c:557:7ce1::/64' }]",
        fields: &["subnets[0].subnet"],
        shown: "/EnableIPv6",
        expected: || json!(true),
    },
    Case {
        what: "both kinds in another order",
        first: BOTH,
        then: "ipv6: true, subnets: [{ subnet: 'fdd1:ac8c:557:7ce2::/64' }, { subnet: 10.26.120.0/24 }]",
        fields: &[],
        shown: "/EnableIPv6",
        expected: || json!(true),
    },
    Case {
        what: "no IPv6 any more",
        first: BOTH,
        then: "subnets: [{ subnet: 10.26.120.0/24 }]",
        fields: &["ipv6"],
        shown: "/EnableIPv6",
        expected: || json!(false),
    },
    Case {
        what: "another MTU",
        first: "mtu: 1400",
        then: "mtu: 1450",
        fields: &["mtu"],
        shown: "/Options/com.docker.network.driver.mtu",
        expected: || json!("1450"),
    },
];

fn declared(host: &Host, network: &str) -> String {
    let separator = if network.is_empty() { "" } else { ", " };
    server(&host.endpoint())
        + &format!(
            "---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: infra/edge, replacement: Reattach, network: {{ name: web-net{separator}{network} }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app }}
spec: {{ destination: web, containers: {{ names: [app] }}, endpoint: {{ aliases: [www] }} }}
"
        )
}

#[test]
fn what_is_declared_again_is_no_change_and_what_changes_is_named_and_keeps_everybody_connected() {
    let host = Host::start();
    for name in ["traefik", "app"] {
        host.container(name).running();
    }
    // Names that begin alike are other networks.
    let others = ["web-net-1", "my-web-net", "web"].map(|name| host.create_network(name));
    for case in CASES {
        let what = case.what;
        let world = World::new(&declared(&host, case.first));
        world.run("apply --yes").expect(0);
        let again = world.run("diff");
        assert_eq!(again.code, 0, "{what}: {again}");

        world.write("manifests/all.yaml", &declared(&host, case.then));
        let diff = world.run("diff");
        let named =
            diff.stdout.lines().filter_map(|line| line.trim().strip_prefix("spec.network.")?.split(" is ").next());
        assert_eq!(named.collect::<Vec<_>>(), case.fields, "{what}: {diff}");
        assert_eq!(diff.code, i32::from(!case.fields.is_empty()), "{what}: {diff}");
        world.run("apply --yes").expect(0);
        let left = world.run("diff");
        assert_eq!(left.code, 0, "{what}: {left}");

        let seen = host.get(&format!("/networks/{}", host.network_ids("web-net")[0]));
        assert_eq!(seen.pointer(case.shown), Some(&(case.expected)()), "{what}: {seen}");
        assert!(host.endpoint_of("app", "web-net")["Aliases"].to_string().contains("\"www\""), "{what}");
        assert!(host.networks_of("traefik").contains(&"web-net".to_owned()), "{what}");
        world.run("delete destination web --yes --force").expect(0);
        for name in ["traefik", "app"] {
            host.start_container(name);
        }
    }
    for id in others {
        host.get(&format!("/networks/{id}"));
    }
    assert_eq!(host.networks_of("app"), ["bridge"]);
}

/// The names that the daemon takes, says nothing about, and then gives a container an interface without an address for: told before it is asked.
#[test]
fn what_no_interface_can_be_called_is_refused_before_the_daemon_calls_it_connected() {
    let host = Host::start();
    for name in ["traefik", "app"] {
        host.container(name).running();
    }
    for network in [
        "options: { com.docker.network.container_iface_prefix: fifteen-chars-x }",
        "options: { com.docker.network.container_iface_prefix: 'a/b' }",
        "ipv6: true, mtu: 1000, subnets: [{ subnet: 'fd00:1::/64' }]",
        "options: { com.docker.network.bridge.enable_ip_masquerade: maybe }",
    ] {
        let refused = World::new(&declared(&host, network)).run("apply --yes").expect(2);
        assert!(refused.stderr.contains("nothing was done"), "{network}: {refused}");
    }
    // As long as it may be, it has an address.
    let longest = "options: { com.docker.network.container_iface_prefix: fourteen-chars }";
    World::new(&declared(&host, longest)).run("apply --yes").expect(0);
    let address = host.endpoint_of("app", "web-net")["IPAddress"].as_str().unwrap().to_owned();
    let interfaces = host.exec("app", &["ip", "addr"]);
    assert!(interfaces.contains("fourteen-chars") && interfaces.contains(&address), "{interfaces}");
}
