//! The kinds a manifest can declare. Doc comments here are the descriptions in `schemas/` and in `landfall explain`.

use crate::core::digest::{SHORT, digest};
pub mod condition;
pub mod destination;
pub mod explain;
pub mod meta;
pub mod notifier;
pub mod resource;
pub mod schema;
pub mod server;
pub mod workload;

pub use condition::{Condition, ConditionStatus, Statement};
pub use destination::{
    DeletionPolicy, DestinationSpec, DestinationType, Membership, NetworkSpec, Replacement, SubnetSpec, Subnets,
};
pub use meta::{API_VERSION, DEFAULT_NAMESPACE, Kind, Metadata, ObjectKey, ObjectRef};
pub use notifier::{NotifierEvent, NotifierSpec, NotifierType};
pub use resource::{
    ApplicationRole, ApplicationSpec, ComposeSpec, ContainerSelector, CredentialsSpec, DatabaseEngine, DatabaseSpec,
    EndpointSpec, EnvVar, HealthcheckSpec, PasswordSpec, PortSpec, PullPolicy, RestartPolicy, ServiceSpec, StorageSpec,
    VolumeSpec,
};
pub use server::{ProxySpec, ProxyType, ServerRole, ServerSpec, SshSpec, SubnetPoolSpec, TlsSpec};

pub use workload::{
    BackupSpec, DatabaseField, DatabaseSource, FileSpec, HookSpec, HooksSpec, LoggingSpec, ResourcesSpec, RolloutSpec,
    RolloutStrategy, SopsSource, ValueFrom,
};

/// The body of one manifest document, by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    Server(Box<ServerSpec>),
    Destination(Box<DestinationSpec>),
    Application(Box<ApplicationSpec>),
    Database(Box<DatabaseSpec>),
    Service(Box<ServiceSpec>),
    Notifier(Box<NotifierSpec>),
}

impl Spec {
    pub fn kind(&self) -> Kind {
        match self {
            Spec::Server(_) => Kind::Server,
            Spec::Destination(_) => Kind::Destination,
            Spec::Application(_) => Kind::Application,
            Spec::Database(_) => Kind::Database,
            Spec::Service(_) => Kind::Service,
            Spec::Notifier(_) => Kind::Notifier,
        }
    }

    /// Where a resource belongs and how its containers are found; `None` for what is no resource.
    pub fn placement(&self) -> Option<Placement<'_>> {
        match self {
            Spec::Server(_) | Spec::Destination(_) | Spec::Notifier(_) => None,
            Spec::Application(spec) => Some(Placement {
                destination: spec.destination.as_ref(),
                server: spec.server.as_ref(),
                additional: &spec.additional_destinations,
                containers: spec.containers.as_ref(),
                endpoint: spec.endpoint.as_ref(),
                connect: true,
            }),
            Spec::Database(spec) => Some(Placement {
                destination: spec.destination.as_ref(),
                server: spec.server.as_ref(),
                additional: &spec.additional_destinations,
                containers: spec.containers.as_ref(),
                endpoint: spec.endpoint.as_ref(),
                connect: true,
            }),
            Spec::Service(spec) => Some(Placement {
                destination: spec.destination.as_ref(),
                server: spec.server.as_ref(),
                additional: &spec.additional_destinations,
                containers: spec.containers.as_ref(),
                endpoint: spec.endpoint.as_ref(),
                connect: spec.connect_to_destination,
            }),
        }
    }
}

/// What the three resource kinds have in common.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    pub destination: Option<&'a ObjectRef>,
    /// In place of a destination: the server whose default it goes to.
    pub server: Option<&'a ObjectRef>,
    pub additional: &'a [ObjectRef],
    pub containers: Option<&'a ContainerSelector>,
    pub endpoint: Option<&'a EndpointSpec>,
    /// False for a service stack that keeps to its own isolated network.
    pub connect: bool,
}

/// One declared object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub metadata: Metadata,
    pub spec: Spec,
}

impl Object {
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.spec.kind(), &self.metadata.namespace, &self.metadata.name)
    }

    /// Differs where the spec does.
    pub fn fingerprint(&self) -> String {
        // Of strings, numbers and sorted maps: it always serializes, and always the same way.
        let spec = serde_json::to_value(self).map(|mut document| document["spec"].take().to_string());
        digest(spec.unwrap_or_default(), SHORT)
    }
}

/// As a manifest document.
impl serde::Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut document = serializer.serialize_struct("Object", 4)?;
        document.serialize_field("apiVersion", API_VERSION)?;
        document.serialize_field("kind", &self.spec.kind())?;
        document.serialize_field("metadata", &self.metadata)?;
        match &self.spec {
            Spec::Server(spec) => document.serialize_field("spec", spec)?,
            Spec::Destination(spec) => document.serialize_field("spec", spec)?,
            Spec::Application(spec) => document.serialize_field("spec", spec)?,
            Spec::Database(spec) => document.serialize_field("spec", spec)?,
            Spec::Service(spec) => document.serialize_field("spec", spec)?,
            Spec::Notifier(spec) => document.serialize_field("spec", spec)?,
        }
        document.end()
    }
}
