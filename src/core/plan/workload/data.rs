//! What is known of the data on a database's volume: whose it is, and which version of which engine wrote it.

use std::collections::BTreeMap;

use super::managed::{Held, Managed};
use crate::core::api::ObjectKey;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::workload_call::WorkloadCall;
use crate::core::workload::database::{READ, READ_AT, Written, written_by_image};
use crate::core::workload::identity::{self, DATA, OBJECT};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::{ContainerTemplate, Mount, MountSource};

impl Managed<'_, '_> {
    /// What the volume's data was written by, as a label says it: `postgresql:17-alpine`. `None` where it is no database.
    pub(crate) fn written(&self) -> Option<Written> {
        let connection = self.workload.database.as_ref()?;
        Some(Written { engine: connection.engine, version: connection.version.clone() })
    }

    /// How it runs now, or ran before: with its labels and its image.
    fn runs(&self) -> Vec<(&SeenConfig, &BTreeMap<String, String>, &str)> {
        let config = |held: &Held<'_>| self.ctx.host.state.workloads.get(&held.container.id);
        let held = self.held().into_iter();
        let containers = held.filter_map(|it| Some((config(&it)?, &it.container.labels, it.container.image.as_str())));
        containers.chain(self.service_runs()).collect()
    }

    /// Why the declared database must not touch the data that there is.
    pub(crate) fn data_hindrance(&self) -> Option<Note> {
        let connection = self.workload.database.as_ref()?;
        self.volume_changed(&connection.volume)
            .or_else(|| self.volume_of_another(&connection.volume))
            .or_else(|| self.other_version(&connection.volume))
    }

    /// The data stays behind in the old volume, and the database would begin empty.
    fn volume_changed(&self, declared: &str) -> Option<Note> {
        let path = &self.workload.container.mounts.first()?.target;
        let before = self.runs().into_iter().find_map(|(config, _, _)| {
            let mount = config.mounts.iter().find(|it| it.mount.target == *path)?;
            match &mount.mount.source {
                MountSource::Volume(name) if name != declared => Some(name.clone()),
                _ => None,
            }
        })?;
        let message =
            format!("spec.storage.volume is {declared:?} in the manifest, and the data is in the volume {before:?}.");
        Some(Note::refused(Reason::VolumeChanged, self.resource(), message).hint(format!(
            "set `storage.volume: {before}`; to begin with an empty volume, delete {} first: its volume stays",
            self.resource()
        )))
    }

    fn volume_of_another(&self, volume: &str) -> Option<Note> {
        let other = self.ctx.host.state.volumes.get(volume)?.get(OBJECT)?;
        let is = |key: &ObjectKey| *other == key.to_string();
        // Labels of volumes stay what they were: whoever has it mounted has taken it over under another name.
        let uses = || {
            self.runs().into_iter().any(|(config, _, _)| {
                config.mounts.iter().any(|it| it.mount.source == MountSource::Volume(volume.to_owned()))
            })
        };
        if is(self.resource()) || self.member.was.as_ref().is_some_and(is) || uses() {
            return None;
        }
        let message = format!("The volume {volume:?} holds the data of {other}.");
        Some(
            Note::refused(Reason::DataIncompatible, self.resource(), message)
                .hint("declare another `storage.volume`; where that is what this one was called before, say so: `metadata.annotations: { landfall/was: NAME }`"),
        )
    }

    fn other_version(&self, volume: &str) -> Option<Note> {
        let declared = self.written()?;
        let state = self.ctx.host.state;
        let of_container = self.runs().into_iter().find_map(|(_, labels, image)| {
            let label = labels.get(DATA).and_then(|label| label.parse::<Written>().ok());
            label.or_else(|| written_by_image(declared.engine, image))
        });
        let on_volume = || state.volumes.get(volume)?.get(DATA)?.parse::<Written>().ok();
        let before = of_container.or_else(on_volume)?;
        if before.is_read_by(&declared) {
            return None;
        }
        let message =
            format!("The data on the volume {volume:?} was written by {before}, and the manifest declares {declared}.");
        Some(Note::refused(Reason::DataIncompatible, self.resource(), message).hint(format!(
            "declare {before} again; to change, dump the database with that version, delete {}, declare another `storage.volume` with the new version, and \
             restore the dump",
            self.resource()
        )))
    }

    /// A look into the volume before a container is put on it: a label says what Landfall knows of the data, and this what the data knows.
    pub(crate) fn check_data(&self) -> Option<WorkloadCall> {
        let connection = self.workload.database.as_ref()?;
        self.ctx.host.state.volumes.get(&connection.volume)?;
        let declared = self.written()?;
        let ObjectKey { namespace, name, .. } = self.resource();
        let called = format!("{namespace}-{name}{}", identity::READER);
        let mut container = self.create(0, &called, called.clone(), None);
        container.labels.retain(|key, _| key.starts_with("landfall.") && key != identity::REPLICA);
        let volume = MountSource::Volume(connection.volume.clone());
        container.template = ContainerTemplate {
            entrypoint: Some(["/bin/sh", "-c"].map(str::to_owned).into()),
            command: Some(vec![READ.to_owned()]),
            user: Some("0".to_owned()),
            mounts: vec![Mount { target: READ_AT.to_owned(), source: volume, read_only: true }],
            ..ContainerTemplate::default()
        };
        container.drainable = false;
        Some(WorkloadCall::CheckData { container, declared, needs_log: connection.append_only })
    }
}
