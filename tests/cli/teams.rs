//! Namespaces are teams: a server serves its own, and those that it names.

use super::world::World;

/// A server of the platform team, reached at a telling place, with a destination that has a telling network.
const PLATFORM: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: vault, namespace: platform }
spec:
  endpoint: unix:///secret-place/docker.sock
  allowedNamespaces: [shop]
  proxy: { container: secret-proxy }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: inner, namespace: platform }
spec: { server: vault, network: { name: secret-net } }
";

fn destination(namespace: &str, server: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web, namespace: {namespace} }}\n\
         spec:\n  server: {server}\n  network: {{ name: secret-net }}\n"
    )
}

/// Every command that reads manifests says the same, and asks no server.
#[test]
fn a_server_of_another_team_is_like_one_that_does_not_exist() {
    let not_allowed = World::new(&(PLATFORM.to_owned() + &destination("blog", "platform/vault")));
    let not_there = World::new(&(PLATFORM.to_owned() + &destination("blog", "platform/empty")));
    for arguments in
        ["validate", "diff", "apply", "drift", "get destinations", "describe destination web", "graph", "scan vault"]
    {
        let refused = not_allowed.run(arguments).expect(2);
        for secret in ["secret-place", "secret-proxy", "secret-net", "unix://"] {
            assert!(
                !refused.stderr.contains(secret) && !refused.stdout.contains(secret),
                "{arguments} tells {secret}: {refused}"
            );
        }
        let missing = not_there.run(arguments).expect(2);
        assert_eq!(refused.stderr.replace("vault", "empty"), missing.stderr, "{arguments}");
        assert!(!refused.stderr.contains("cannot be reached"), "{arguments}: {refused}");
    }
}

#[test]
fn a_team_that_is_named_may_use_the_server_and_others_may_not() {
    let named =
        World::new(&(PLATFORM.to_owned() + &destination("shop", "platform/vault").replace("secret-net", "shop-net")));
    named.run("validate").expect(0);
    let everybody = World::new(
        &(PLATFORM.replace("[shop]", "['*']")
            + &destination("blog", "platform/vault").replace("secret-net", "blog-net")),
    );
    everybody.run("validate").expect(0);
    // A name alone is a server of one's own namespace.
    World::new(&(PLATFORM.to_owned() + &destination("shop", "vault"))).run("validate").expect(2);
}
