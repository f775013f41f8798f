//! What a Swarm service is by itself.

use crate::core::desired::{Proxy, ProxyInstance};
use crate::core::observed::ObservedService;
use crate::core::workload::identity;
use crate::core::workload::stack_file::{HASH, NAMESPACE};

pub(crate) fn is_proxy(service: &ObservedService, proxy: Option<&Proxy>) -> bool {
    matches!(proxy, Some(Proxy { instance: ProxyInstance::Service(name), .. }) if service.name == *name)
}

/// Whose service or secret it is, where it is one that a set runs for a resource.
pub(crate) fn identity_of_service(service: &ObservedService) -> Option<identity::Identity> {
    identity::of(&service.name, &service.labels)
}

/// Whether the service is one of a stack that Landfall deploys: it is deployed and removed with the others.
pub(crate) fn is_of_own_stack(service: &ObservedService) -> bool {
    service.labels.contains_key(HASH)
        && service.labels.contains_key(NAMESPACE)
        && identity_of_service(service).is_some()
}
