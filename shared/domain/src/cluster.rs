//! Kubernetes clusters, as a person declares them: where launches may go.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value as Json, json};

use crate::document::{
    InvalidDocument, Mistakes,
    decode::{DOCUMENT, Fields, Node, Schema, list, text_that, whole},
    value::{self, Value},
};

const SCHEMA: Schema = Schema {
    built: &["cluster", "eks", "region", "role", "namespace", "weight", "queues", "max_pods", "worker_image"],
    not_yet: &[],
};
const WEIGHT: RangeInclusive<u32> = 0..=1_000;
const MAX_PODS: RangeInclusive<u32> = 1..=10_000;
const LABEL: &str = "1 to 63 of a-z, 0-9, `-`, the first and the last not `-`";

/// The queue of stages and clusters that name none.
pub const DEFAULT_QUEUE: &str = "default";
/// The namespace of clusters that name none.
pub const DEFAULT_NAMESPACE: &str = "fanfold";

/// A cluster that launches may be given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// What it is called in Fanfold: a DNS label.
    pub name: String,
    /// What it is called in EKS.
    pub eks: String,
    /// The region it is in.
    pub region: String,
    /// The role to assume before it is spoken to, as an ARN; none means the function's own.
    pub role: Option<String>,
    /// The namespace of the Jobs.
    pub namespace: String,
    /// Its share of launches beside the other clusters' weights; 0 gives it none, and what runs there ends there.
    pub weight: u32,
    /// The queues whose launches it takes, at least one.
    pub queues: Vec<String>,
    /// How many pods of one run it may run at once.
    pub max_pods: u32,
    /// Where it pulls the worker's image from.
    pub worker_image: String,
}

impl Cluster {
    /// Parses a document in YAML or JSON. The error lists every mistake.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        Self::parse_in(text, DEFAULT_NAMESPACE)
    }

    /// Parses a document in YAML or JSON, with the stack's own namespace where it names none. The error lists every
    /// mistake.
    pub fn parse_in(text: &str, namespace: &str) -> Result<Self, InvalidDocument> {
        let value =
            value::read(text).map_err(|error| InvalidDocument::whole(error, "one well-formed document"))?;
        Self::from_document(&value, namespace)
    }

    /// The document with every default explicit; parsing it gives the same cluster.
    pub fn to_document(&self) -> Json {
        let mut document = json!({
            "cluster": self.name,
            "eks": self.eks,
            "region": self.region,
            "namespace": self.namespace,
            "weight": self.weight,
            "queues": self.queues,
            "max_pods": self.max_pods,
            "worker_image": self.worker_image,
        });
        if let Some(role) = &self.role {
            document["role"] = json!(role);
        }
        document
    }

    fn from_document(document: &Value, namespace: &str) -> Result<Self, InvalidDocument> {
        let mut mistakes = Mistakes::default();
        let node = Node { path: DOCUMENT.to_owned(), value: document };
        let cluster = Self::decode(&node, namespace, &mut mistakes);
        match (cluster, mistakes.into_error()) {
            (Some(cluster), None) => Ok(cluster),
            (_, Some(error)) => Err(error),
            (None, None) => Err(InvalidDocument::whole("a document".to_owned(), "a cluster")),
        }
    }

    fn decode(node: &Node<'_>, own_namespace: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let label = |node: &Node<'_>, m: &mut Mistakes| text_that(node, m, LABEL, is_dns_label);
        let name = fields.required("cluster", LABEL, mistakes, label);
        let eks = fields.optional("eks", name.clone(), mistakes, |node, m| {
            text_that(node, m, EKS_NAME, is_eks_name).map(Some)
        });
        let region =
            fields.required("region", REGION, mistakes, |node, m| text_that(node, m, REGION, is_region));
        let role = fields.optional("role", None, mistakes, |node, m| {
            text_that(node, m, ROLE, |role| role.starts_with("arn:") && role.contains(":role/")).map(Some)
        });
        let namespace = fields.optional("namespace", own_namespace.to_owned(), mistakes, label);
        if fields.get("namespace").is_none() && !is_dns_label(own_namespace) {
            let found = format!("no such field, and the stack's own is {own_namespace:?}");
            mistakes.add(fields.path_of("namespace"), found, LABEL);
        }
        let weight = fields.optional("weight", 1, mistakes, |node, m| whole(node, m, &WEIGHT));
        let queues = fields.optional("queues", vec![DEFAULT_QUEUE.to_owned()], mistakes, queues);
        let max_pods = fields.optional("max_pods", 100, mistakes, |node, m| whole(node, m, &MAX_PODS));
        let worker_image =
            fields.required("worker_image", IMAGE, mistakes, |node, m| text_that(node, m, IMAGE, is_image));
        Some(Self {
            name: name?,
            eks: eks?,
            region: region?,
            role,
            namespace,
            weight,
            queues,
            max_pods,
            worker_image: worker_image?,
        })
    }
}

const EKS_NAME: &str = "EKS's name of it: 1 to 100 of a-z, A-Z, 0-9, `-`, `_`, the first a letter or digit";
const REGION: &str = "a region such as eu-central-1";
const ROLE: &str = "the ARN of a role";
/// What is allowed where an image is named.
pub(crate) const IMAGE: &str = "an image such as registry.example/worker:1.0: 1 to 255 characters, no spaces";

fn queues(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let allowed = "a list of at least one queue's name";
    let items = list(node, mistakes, allowed)?;
    if items.is_empty() {
        return node.refuse(mistakes, allowed);
    }
    items.iter().map(|item| text_that(item, mistakes, LABEL, is_dns_label)).collect()
}

/// A label of RFC 1123, as Kubernetes wants its names.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(crate) fn is_image(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_eks_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_region(text: &str) -> bool {
    (3..=30).contains(&text.len())
        && text.contains('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Serialize for Cluster {
    /// As [`Cluster::to_document`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_document().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cluster {
    /// As [`Cluster::parse`]: what is read is checked like any other document.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        Self::from_document(&document, DEFAULT_NAMESPACE).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "{cluster: one, region: us-east-1, worker_image: 'fanfold.local/worker:1'}";

    #[test]
    fn what_is_left_out_has_its_default() {
        let cluster = Cluster::parse(LEAST).unwrap();
        assert_eq!((cluster.eks.as_str(), cluster.namespace.as_str()), ("one", "fanfold"));
        assert_eq!((cluster.weight, cluster.max_pods, cluster.role.as_deref()), (1, 100, None));
        assert_eq!(cluster.queues, ["default"]);
    }

    #[test]
    fn a_document_without_a_namespace_has_the_stacks() {
        assert_eq!(Cluster::parse_in(LEAST, "team-a").unwrap().namespace, "team-a");
        let named = LEAST.replace("cluster: one", "cluster: one, namespace: work");
        assert_eq!(Cluster::parse_in(&named, "team-a").unwrap().namespace, "work");
        let error = Cluster::parse_in(LEAST, "Team A").unwrap_err().to_string();
        assert!(
            error.starts_with("namespace: found no such field, and the stack's own is \"Team A\""),
            "{error}"
        );
    }

    #[test]
    fn a_document_is_read_back() {
        let text = "cluster: one\neks: Prod_1\nregion: eu-central-1\nrole: arn:aws:iam::1:role/r\n\
                    namespace: work\nweight: 0\nqueues: [a, b]\nmax_pods: 7\nworker_image: r/w:1\n";
        let cluster = Cluster::parse(text).unwrap();
        assert_eq!(Cluster::parse(&cluster.to_document().to_string()).unwrap(), cluster);
        assert_eq!(serde_json::from_value::<Cluster>(json!(cluster)).unwrap(), cluster);
    }

    #[test]
    fn every_mistake_is_named() {
        let text =
            "cluster: One\nregion: here\nweight: -1\nqueues: []\nmax_pods: 0\nrole: admin\nwheight: 2\n";
        let error = Cluster::parse(text).unwrap_err().to_string();
        for path in ["cluster", "region", "weight", "queues", "max_pods", "role", "wheight", "worker_image"] {
            assert!(error.lines().any(|line| line.starts_with(&format!("{path}:"))), "{path} in {error}");
        }
    }
}
