//! A certificate authority for one test, made with the openssl program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Signs certificates; its files are gone when dropped.
pub(crate) struct Authority {
    directory: TempDir,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Past,
    Future,
}

/// PEM files of a certificate.
pub(crate) struct Certified {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { directory: tempfile::Builder::new().prefix("landfall-ca-").tempdir().unwrap() };
        let config = format!(
            "[ca]\ndefault_ca=test\n[test]\ndatabase={0}/index.txt\nserial={0}/serial\nnew_certs_dir={0}\ncertificate={0}/ca.pem\n\
             private_key={0}/ca-key.pem\ndefault_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n",
            authority.path("").display()
        );
        fs::write(authority.path("ca.cnf"), config).unwrap();
        fs::write(authority.path("index.txt"), "").unwrap();
        fs::write(authority.path("serial"), "01\n").unwrap();
        let key = authority.path("ca-key.pem");
        openssl(
            &[
                "req",
                "-x509",
                "-days",
                "2",
                "-subj",
                "/CN=test authority",
                "-newkey",
                "ec",
                "-nodes",
                "-pkeyopt",
                CURVE,
            ],
            |command| {
                command.arg("-keyout").arg(&key).arg("-out").arg(authority.certificate());
            },
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for a daemon of these names: `DNS:localhost`, `IP:127.0.0.1`.
    pub(crate) fn server(&self, names: &str, validity: Validity) -> Certified {
        self.sign("server", &format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n"), validity)
    }

    /// The same for one that is a client of others as well.
    pub(crate) fn peer(&self, names: &str) -> Certified {
        self.sign("peer", &format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n"), Validity::Now)
    }

    pub(crate) fn client(&self) -> Certified {
        self.sign("client", "extendedKeyUsage=clientAuth\n", Validity::Now)
    }

    fn sign(&self, name: &str, extensions: &str, validity: Validity) -> Certified {
        let file = |suffix: &str| self.path(&format!("{name}{suffix}"));
        fs::write(file(".ext"), extensions).unwrap();
        openssl(&["req", "-subj", &format!("/CN={name}"), "-newkey", "ec", "-nodes", "-pkeyopt", CURVE], |command| {
            command.arg("-keyout").arg(file("-key.pem")).arg("-out").arg(file(".csr"));
        });
        let times: &[&str] = match validity {
            Validity::Now => &["-days", "2"],
            Validity::Past => &["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"],
            Validity::Future => &["-startdate", "20480101000000Z", "-enddate", "20490101000000Z"],
        };
        openssl(&["ca", "-batch", "-notext"], |command| {
            command.args(times).arg("-config").arg(self.path("ca.cnf")).arg("-extfile").arg(file(".ext"));
            command.arg("-in").arg(file(".csr")).arg("-out").arg(file(".pem"));
        });
        Certified { certificate: file(".pem"), key: file("-key.pem") }
    }
}

const CURVE: &str = "ec_paramgen_curve:prime256v1";

fn openssl(arguments: &[&str], more: impl FnOnce(&mut Command)) {
    let mut command = Command::new("openssl");
    more(command.args(arguments));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The file as a manifest names it.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
