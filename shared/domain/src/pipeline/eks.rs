//! What a stage says of the pods that it runs in.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use crate::cluster::{DEFAULT_QUEUE, IMAGE, is_dns_label, is_image};
use crate::document::{
    Mistakes,
    decode::{Fields, Node, Schema, list, quantity, text_that, text_that_also, whole, word},
    quantity::{GIB, MIB, SIZE},
    value::Value,
};

use super::process::Process;

/// The fields of a stage that only one on EKS has.
const OF_EKS: &[&str] = &["image", "resources", "chunks_per_pod", "kubernetes"];
const RESOURCES: Schema = Schema { built: &["cpu", "memory"], not_yet: &[] };
const KUBERNETES: Schema = Schema {
    built: &["queue", "service_account", "node_selector", "tolerations", "run_as_user"],
    not_yet: &[],
};
const TOLERATION: Schema = Schema { built: &["key", "operator", "value", "effect"], not_yet: &[] };

const CHUNKS_PER_POD: RangeInclusive<u32> = 1..=1_000;
const CPU_MILLIS: RangeInclusive<u32> = 10..=256_000;
const MEMORY_BYTES: RangeInclusive<u64> = 32 * MIB..=4096 * GIB;
/// Never root; and Kubernetes takes no more than 31 bits.
const RUN_AS_USER: RangeInclusive<u32> = 1..=2_147_483_647;
/// What documents were once allowed.
const STORED_RUN_AS_USER: RangeInclusive<u32> = 1..=4_000_000_000;
const LABEL_KEY: &str = "a label's key: 1 to 63 of a-z, A-Z, 0-9, `-`, `_`, `.`, the first and the last a letter or digit, \
                         perhaps behind a DNS name and `/`, such as karpenter.sh/capacity-type";
const LABEL_VALUE: &str = "a label's value: none or 1 to 63 of a-z, A-Z, 0-9, `-`, `_`, `.`, the first and the last a letter or digit";

/// Where the attempts of a stage are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOn {
    /// By worker functions.
    Lambda,
    /// By pods of Kubernetes Jobs.
    Eks(Box<Eks>),
}

/// The pods of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eks {
    /// The user's image, in which the command runs; none means the worker's own.
    pub image: Option<String>,
    /// What a pod is promised of a processor, in thousandths.
    pub cpu_millis: u32,
    /// What a pod is promised of memory and killed above, in bytes.
    pub memory_bytes: u64,
    /// How many chunks a pod does one after another; none means as many as make its start worth while.
    pub chunks_per_pod: Option<u32>,
    /// The queue: only clusters that take it are chosen.
    pub queue: String,
    /// The service account that the pods run as.
    pub service_account: String,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a node may have.
    pub tolerations: Vec<Toleration>,
    /// The user id that the pods run as, never root's.
    pub run_as_user: u32,
}

/// A taint that pods tolerate, in Kubernetes' own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key; none tolerates every one.
    pub key: Option<String>,
    /// The taint's value; none tolerates every one.
    pub value: Option<String>,
    /// The taint's effect; none tolerates every one.
    pub effect: Option<&'static str>,
}

const EFFECTS: &[(&str, &str)] =
    &[("NoSchedule", "NoSchedule"), ("PreferNoSchedule", "PreferNoSchedule"), ("NoExecute", "NoExecute")];

impl RunOn {
    /// Decodes `run_on` of a stage and the fields that go with it.
    pub(super) fn decode(stage: &Fields<'_>, process: Option<&Process>, mistakes: &mut Mistakes) -> Self {
        let is_eks = stage.optional("run_on", false, mistakes, |node, m| {
            word(node, m, &[("lambda", false), ("eks", true)], &[])
        });
        if is_eks {
            return Self::Eks(Box::new(Eks::decode(stage, process, mistakes)));
        }
        stage.refuse_all(OF_EKS, "nothing: only a stage with `run_on: eks` has it", mistakes);
        Self::Lambda
    }

    /// Writes the fields that [`RunOn::decode`] reads.
    pub(super) fn write(&self, stage: &mut Map<String, Json>) {
        match self {
            Self::Lambda => drop(stage.insert("run_on".into(), json!("lambda"))),
            Self::Eks(eks) => {
                stage.insert("run_on".into(), json!("eks"));
                eks.write(stage);
            }
        }
    }
}

impl Eks {
    fn decode(stage: &Fields<'_>, process: Option<&Process>, mistakes: &mut Mistakes) -> Self {
        let image =
            stage.optional("image", None, mistakes, |node, m| text_that(node, m, IMAGE, is_image).map(Some));
        if image.is_some() && !matches!(process, None | Some(Process::Command { .. })) {
            let found = "an image for a builtin";
            mistakes.add(stage.path_of("image"), found, "none, or an image with `command`");
        }
        let chunks_per_pod = stage
            .optional("chunks_per_pod", None, mistakes, |node, m| whole(node, m, &CHUNKS_PER_POD).map(Some));
        let (cpu_millis, memory_bytes) = resources(&stage.section("resources"), mistakes);
        let defaults = Self {
            image,
            cpu_millis,
            memory_bytes,
            chunks_per_pod,
            queue: DEFAULT_QUEUE.to_owned(),
            service_account: "fanfold-worker".to_owned(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            run_as_user: 65_532,
        };
        defaults.with_kubernetes(&stage.section("kubernetes"), mistakes)
    }

    fn with_kubernetes(self, node: &Node<'_>, mistakes: &mut Mistakes) -> Self {
        let Some(fields) = Fields::open(node, &KUBERNETES, mistakes) else { return self };
        let Self { queue, service_account, run_as_user, .. } = self;
        Self {
            queue: fields.optional("queue", queue, mistakes, |node, m| {
                text_that(node, m, "a queue's name: a DNS label", is_dns_label)
            }),
            service_account: fields.optional("service_account", service_account, mistakes, |node, m| {
                text_that(node, m, "a service account's name: a DNS label", is_dns_label)
            }),
            node_selector: fields.optional("node_selector", BTreeMap::new(), mistakes, node_selector),
            tolerations: fields.optional("tolerations", Vec::new(), mistakes, tolerations),
            run_as_user: fields.optional("run_as_user", run_as_user, mistakes, |node, m| {
                let range = if m.allows(false) { STORED_RUN_AS_USER } else { RUN_AS_USER };
                whole(node, m, &range)
            }),
            ..self
        }
    }

    fn write(&self, stage: &mut Map<String, Json>) {
        if let Some(image) = &self.image {
            stage.insert("image".into(), json!(image));
        }
        if let Some(chunks) = self.chunks_per_pod {
            stage.insert("chunks_per_pod".into(), json!(chunks));
        }
        let cpu = format!("{}m", self.cpu_millis);
        let resources = json!({ "cpu": cpu, "memory": SIZE.format(self.memory_bytes) });
        stage.insert("resources".into(), resources);
        let tolerations: Vec<Json> = self.tolerations.iter().map(Toleration::to_document).collect();
        stage.insert(
            "kubernetes".into(),
            json!({
                "queue": self.queue,
                "service_account": self.service_account,
                "node_selector": self.node_selector,
                "tolerations": tolerations,
                "run_as_user": self.run_as_user,
            }),
        );
    }
}

impl Toleration {
    /// As in a document, and as Kubernetes takes it.
    pub fn to_document(&self) -> Json {
        let operator = if self.value.is_some() { "Equal" } else { "Exists" };
        let mut document = json!({ "operator": operator });
        let fields =
            [("key", self.key.as_deref()), ("value", self.value.as_deref()), ("effect", self.effect)];
        for (name, value) in fields {
            if let Some(value) = value {
                document[name] = json!(value);
            }
        }
        document
    }

    fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &TOLERATION, mistakes)?;
        let is_text = |text: &str| (1..=253).contains(&text.len());
        let key = fields.optional("key", None, mistakes, |node, m| {
            text_that_also(node, m, LABEL_KEY, is_text, is_label_key).map(Some)
        });
        let value = fields.optional("value", None, mistakes, |node, m| {
            text_that_also(node, m, LABEL_VALUE, is_text, is_label_value).map(Some)
        });
        if !mistakes.allows(key.is_some() || value.is_none()) && fields.get("key").is_none() {
            mistakes.add(fields.path_of("key"), "no such field beside a value", LABEL_KEY);
        }
        let effect =
            fields.optional("effect", None, mistakes, |node, m| word(node, m, EFFECTS, &[]).map(Some));
        let wants_value = fields.optional("operator", None, mistakes, |node, m| {
            word(node, m, &[("Exists", Some(false)), ("Equal", Some(true))], &[])
        });
        if wants_value.is_some_and(|wants| wants != value.is_some()) {
            let found = if value.is_some() { "Exists with a value" } else { "Equal without a value" };
            mistakes.add(fields.path_of("operator"), found, "Equal with a value, Exists without one");
        }
        Some(Self { key, value, effect })
    }
}

fn resources(node: &Node<'_>, mistakes: &mut Mistakes) -> (u32, u64) {
    let (cpu_millis, memory_bytes) = (1_000, 512 * MIB);
    let Some(fields) = Fields::open(node, &RESOURCES, mistakes) else { return (cpu_millis, memory_bytes) };
    (
        fields.optional("cpu", cpu_millis, mistakes, cpu),
        fields.optional("memory", memory_bytes, mistakes, |node, m| quantity(node, m, &SIZE, &MEMORY_BYTES)),
    )
}

/// Kubernetes' processors: `2`, `500m`.
fn cpu(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<u32> {
    let millis = match node.value {
        Value::Integer(cores) => u32::try_from(*cores).ok().and_then(|cores| cores.checked_mul(1_000)),
        Value::Text(text) => text.strip_suffix('m').and_then(|millis| millis.parse().ok()),
        _ => None,
    };
    match millis {
        Some(millis) if CPU_MILLIS.contains(&millis) => Some(millis),
        _ => node.refuse(mistakes, "processors from 10m to 256: a whole number, or thousandths such as 500m"),
    }
}

fn node_selector(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<BTreeMap<String, String>> {
    let allowed = "a mapping of node labels to their values";
    let Value::Map(entries) = node.value else { return node.refuse(mistakes, allowed) };
    let mut selector = BTreeMap::new();
    for (name, value) in entries {
        let path = format!("{}.{name}", node.path);
        if !mistakes.allows(is_label_key(name)) {
            mistakes.add(path.clone(), format!("the key {name:?}"), LABEL_KEY);
        }
        let at = Node { path: path.clone(), value };
        let value = text_that_also(&at, mistakes, LABEL_VALUE, |_| true, is_label_value)?;
        if selector.insert(name.clone(), value).is_some() {
            mistakes.add(path, "the label again", "each label once");
        }
    }
    Some(selector)
}

/// As Kubernetes wants the key of a label or a taint: a name, perhaps with a DNS name before it.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_dns_label);
    prefix.is_none_or(is_domain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let is_edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn tolerations(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Vec<Toleration>> {
    let items = list(node, mistakes, "a list of tolerations")?;
    items.iter().map(|item| Toleration::decode(item, mistakes)).collect()
}
