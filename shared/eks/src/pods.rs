//! From Kubernetes' pods to the port's: what of their status says why they are where they are.

use fanfold_ports::clusters::{ContainerTrouble, KubePod, PodPhase};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::jobs::timestamp;

/// The label and annotation by which the Job controller says which index a pod works on.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// What containers wait for that start as they should.
const STARTING: &[&str] = &["ContainerCreating", "PodInitializing"];

/// A pod as the port has it.
pub(crate) fn pod(pod: Pod) -> KubePod {
    let Pod { metadata, status, .. } = pod;
    let status = status.unwrap_or_default();
    KubePod {
        index: index(&metadata),
        phase: phase(&status),
        reason: reason(&status),
        troubles: troubles(&status),
        created_at: timestamp(metadata.creation_timestamp),
        name: metadata.name.unwrap_or_default(),
    }
}

fn index(metadata: &ObjectMeta) -> Option<u32> {
    let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INDEX));
    let label = || metadata.labels.as_ref().and_then(|labels| labels.get(INDEX));
    annotation.or_else(label).and_then(|index| index.parse().ok())
}

fn phase(status: &PodStatus) -> PodPhase {
    match status.phase.as_deref() {
        Some("Pending") => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        _ => PodPhase::Unknown,
    }
}

/// Why the pod as a whole is where it is: what its node or a controller says of it, else who took it from its node,
/// else why it has none.
fn reason(status: &PodStatus) -> Option<String> {
    let condition = |wanted: &str, value: &str| {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let found = conditions.iter().find(|it| it.type_ == wanted && it.status == value)?;
        told(found.reason.as_deref(), found.message.as_deref())
    };
    told(status.reason.as_deref(), status.message.as_deref())
        .or_else(|| condition("DisruptionTarget", "True"))
        .or_else(|| condition("PodScheduled", "False"))
}

fn told(reason: Option<&str>, message: Option<&str>) -> Option<String> {
    let texts: Vec<_> = [reason, message].into_iter().flatten().filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join(": "))
}

fn troubles(status: &PodStatus) -> Vec<(String, ContainerTrouble)> {
    let of = |statuses: &Option<Vec<ContainerStatus>>| statuses.clone().unwrap_or_default();
    let containers = [of(&status.init_container_statuses), of(&status.container_statuses)].concat();
    let all = containers
        .iter()
        .flat_map(|container| troubles_of(container).map(|trouble| (container.name.clone(), trouble)));
    all.collect()
}

/// Why a container waits, and how it ended, now or, if it is to be started again, before.
fn troubles_of(container: &ContainerStatus) -> impl Iterator<Item = ContainerTrouble> {
    let state = |state: &Option<ContainerState>| state.clone().unwrap_or_default();
    let (now, before) = (state(&container.state), state(&container.last_state));
    let ended = now.terminated.or(before.terminated);
    now.waiting.and_then(waiting).into_iter().chain(ended.and_then(ended_badly))
}

fn waiting(state: ContainerStateWaiting) -> Option<ContainerTrouble> {
    let reason = state.reason.filter(|reason| !STARTING.contains(&reason.as_str()))?;
    Some(ContainerTrouble::Waiting { reason, message: state.message.unwrap_or_default() })
}

fn ended_badly(state: ContainerStateTerminated) -> Option<ContainerTrouble> {
    (state.exit_code != 0).then(|| ContainerTrouble::Ended {
        reason: state.reason.unwrap_or_default(),
        message: state.message.unwrap_or_default(),
        exit_code: state.exit_code,
    })
}

#[cfg(test)]
mod tests;
