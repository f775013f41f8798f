//! The stand-in.

use landfall::core::observed::{ContainerId, ContainerState, ServiceId};
use landfall::shell::engine::Writer;

use super::{ContainerSpec, Subject, conformance};
use crate::support::memory::MemoryEngine;

struct MemorySubject(MemoryEngine);

impl Subject for MemorySubject {
    fn engine(&self) -> &dyn Writer {
        &self.0
    }

    fn add_container(&self, spec: &ContainerSpec) -> ContainerId {
        let mut world = self.0.world();
        let first = spec.networks.first().map(|(network, _)| network.as_str());
        let mode = spec.network_mode.as_deref().or(first).unwrap_or("default");
        let id = world.create_container(&spec.name, mode);
        let container = world.containers.get_mut(&id).expect("just created");
        container.labels.clone_from(&spec.labels);
        container.env.clone_from(&spec.env);
        for (name, settings) in &spec.networks {
            world.containers.get_mut(&id).expect("just created").endpoints.remove(name);
            let network = world.network_named(name).id.clone();
            world.connect(&network, &id, settings).expect("connects");
        }
        if spec.state != ContainerState::Created {
            world.start_container(&id).expect("starts");
        }
        match spec.state {
            ContainerState::Exited => world.stop_container(&id).expect("stops"),
            ContainerState::Paused => world.containers.get_mut(&id).expect("just created").state = spec.state,
            _ => {}
        }
        id
    }

    fn remove_container(&self, id: &ContainerId) {
        self.0.world().remove_container(id);
    }

    fn add_service(&self, name: &str) -> ServiceId {
        self.0.world().add_service(name)
    }

    fn remove_service(&self, id: &ServiceId) {
        self.0.world().services.retain(|service| service.id != *id);
    }
}

conformance!(in_memory, MemorySubject(MemoryEngine::new()));
conformance!(swarm swarm_in_memory, MemorySubject(MemoryEngine::new()));
