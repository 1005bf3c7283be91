//! What keeps a Job from getting on, as a person reads it: pure.

use std::fmt::Write;

use fanfold_ports::clusters::{ContainerTrouble, KubePod, PodPhase};

/// Reasons of a waiting container that time alone rarely heals.
const HOPELESS: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How the note ends of a Job that is complete while not all of it was told.
pub(crate) const COMPLETE: &str = "is complete";

/// What keeps a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For a person to act on, with Kubernetes' own words.
    pub(crate) text: String,
    /// Whether it will hardly pass by itself.
    pub(crate) is_hopeless: bool,
}

/// What keeps the pods that are pending, if anything: the most hopeless of it.
pub(crate) fn of_pending(pods: &[KubePod]) -> Option<Trouble> {
    let mut found = None;
    for pod in pods.iter().filter(|pod| pod.phase == PodPhase::Pending) {
        for (container, trouble) in &pod.troubles {
            let is_hopeless = match trouble {
                ContainerTrouble::Waiting { reason, .. } => HOPELESS.contains(&reason.as_str()),
                ContainerTrouble::Ended { .. } => false,
            };
            let trouble = Trouble { text: in_container(pod, container, trouble), is_hopeless };
            if is_hopeless {
                return Some(trouble);
            }
            found = found.or(Some(trouble));
        }
        if let Some(reason) = &pod.reason {
            let text = format!("pod {}: {reason}", pod.name);
            found = found.or(Some(Trouble { text, is_hopeless: false }));
        }
    }
    found
}

/// Whether two notes tell of one kind of trouble, whichever pod's: what hardly passes by itself, a Job that is complete,
/// or anything else. How long one kind has kept a launch says nothing of another.
pub(crate) fn is_same_kind(one: &str, other: &str) -> bool {
    let is_hopeless = |note: &str| HOPELESS.iter().any(|reason| note.contains(reason));
    let is_complete = |note: &str| note.ends_with(COMPLETE);
    (is_hopeless(one), is_complete(one)) == (is_hopeless(other), is_complete(other))
}

/// The pod that says most about why an index failed: its last one.
pub(crate) fn last_of(pods: &[KubePod], index: u32) -> Option<&KubePod> {
    pods.iter().rfind(|pod| pod.index == Some(index) && pod.phase == PodPhase::Failed)
}

/// Why an index failed for good, by its last pod and the end of its log.
pub(crate) fn of_failed(index: u32, pod: Option<&KubePod>, log: &str) -> String {
    let Some(pod) = pod else {
        return format!("index {index} of its Job failed for good, and its pods are gone");
    };
    let mut text = format!("index {index} of its Job failed for good: ");
    match pod.troubles.first() {
        Some((container, trouble)) => text.push_str(&in_container(pod, container, trouble)),
        None => {
            let reason = pod.reason.as_deref().unwrap_or("Kubernetes does not say why");
            write!(text, "pod {}: {reason}", pod.name).expect("writing to a String cannot fail");
        }
    }
    if let (Some(reason), false) = (&pod.reason, pod.troubles.is_empty()) {
        write!(text, " ({reason})").expect("writing to a String cannot fail");
    }
    let log = log.trim();
    if !log.is_empty() {
        write!(text, "; its log ends: {log}").expect("writing to a String cannot fail");
    }
    text
}

/// The container whose log says why a pod failed.
pub(crate) fn container_of(pod: &KubePod) -> Option<&str> {
    pod.troubles.first().map(|(container, _)| container.as_str())
}

fn in_container(pod: &KubePod, container: &str, trouble: &ContainerTrouble) -> String {
    let (reason, message, exit) = match trouble {
        ContainerTrouble::Waiting { reason, message } => (reason, message, String::new()),
        ContainerTrouble::Ended { reason, message, exit_code } => {
            (reason, message, format!(", exit code {exit_code}{}", meaning(reason, *exit_code)))
        }
    };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("pod {}, container {container}: {reason}{exit}{message}", pod.name)
}

/// What an exit code of ours says, or a signal.
fn meaning(reason: &str, exit_code: i32) -> &'static str {
    match (reason, exit_code) {
        ("OOMKilled", _) => " (it needed more memory than `resources.memory`)",
        (_, 65) => " (a chunk failed for good)",
        (_, 75) => " (a chunk failed at every try)",
        (_, 78) => " (it was started with wrong variables)",
        (_, 137) => " (killed)",
        (_, 143) => " (told to stop)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfold_domain::Timestamp;

    fn pod(phase: PodPhase, reason: Option<&str>, troubles: Vec<(String, ContainerTrouble)>) -> KubePod {
        let reason = reason.map(str::to_owned);
        KubePod { name: "p-3-x".into(), index: Some(3), phase, created_at: Timestamp(0), reason, troubles }
    }

    fn waiting(reason: &str, message: &str) -> (String, ContainerTrouble) {
        ("worker".into(), ContainerTrouble::Waiting { reason: reason.into(), message: message.into() })
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_hopeless() {
        let pods = [
            pod(PodPhase::Pending, Some("Unschedulable: 0/1 nodes are available"), vec![]),
            pod(PodPhase::Pending, None, vec![waiting("ImagePullBackOff", "no such host")]),
        ];
        let trouble = of_pending(&pods).unwrap();
        assert!(trouble.is_hopeless);
        assert_eq!(trouble.text, "pod p-3-x, container worker: ImagePullBackOff: no such host");
        let unschedulable = of_pending(&pods[..1]).unwrap();
        assert!(!unschedulable.is_hopeless && unschedulable.text.contains("0/1 nodes"));
        assert_eq!(of_pending(&[pod(PodPhase::Running, Some("x"), vec![])]), None);
    }

    #[test]
    fn a_pod_killed_for_memory_says_so_with_the_end_of_its_log() {
        let ended =
            ContainerTrouble::Ended { reason: "OOMKilled".into(), message: String::new(), exit_code: 137 };
        let pods = [pod(PodPhase::Failed, None, vec![("worker".into(), ended)])];
        let text = of_failed(3, last_of(&pods, 3), "reading\nallocating\n");
        assert!(text.contains("pod p-3-x, container worker: OOMKilled, exit code 137"), "{text}");
        assert!(
            text.contains("resources.memory") && text.ends_with("its log ends: reading\nallocating"),
            "{text}"
        );
        assert!(of_failed(4, last_of(&pods, 4), "").contains("its pods are gone"));
        let evicted = pod(PodPhase::Failed, Some("Evicted: low on memory"), vec![]);
        assert!(of_failed(3, Some(&evicted), "").ends_with("pod p-3-x: Evicted: low on memory"));
    }
}
