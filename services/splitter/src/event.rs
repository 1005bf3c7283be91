//! What an event means: from the JSON of the queue `intake` to an [`Intake`].

use fanfold_domain::{
    ETag, ObjectName, Sequencer,
    message::{self, Intake, InvalidMessage, Submission, Upload},
};
use serde::Deserialize;
use thiserror::Error;

/// An event that cannot be read.
#[derive(Debug, Error)]
pub enum InvalidEvent {
    /// It is no JSON of an event, or a field is missing.
    #[error("not an event: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a message of ours that cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// It is an event that no rule sends here.
    #[error("an event {detail_type:?} of {source_name:?}, which nobody asked for")]
    Unknown {
        /// Its source.
        source_name: String,
        /// Its detail type.
        detail_type: String,
    },
}

/// EventBridge's envelope, as far as it matters.
#[derive(Deserialize)]
struct Envelope<'a> {
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    #[serde(borrow)]
    detail: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct ObjectCreated {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

/// S3's description of an object in an EventBridge event: the key is not URL-encoded there.
#[derive(Deserialize)]
struct Object {
    key: String,
    size: u64,
    etag: String,
    #[serde(rename = "version-id", default)]
    version_id: Option<String>,
    sequencer: String,
}

/// Reads a message of `intake`: an event of S3, a submission as an event of ours, or a message of ours.
///
/// # Errors
/// It is none of them.
pub(crate) fn read(body: &str) -> Result<Intake, InvalidEvent> {
    let envelope: Envelope<'_> = serde_json::from_str(body)?;
    let (Some(source), Some(detail_type), Some(detail)) =
        (&envelope.source, &envelope.detail_type, envelope.detail)
    else {
        return Ok(message::decode(body)?);
    };
    match (source.as_str(), detail_type.as_str()) {
        ("aws.s3", "Object Created") => Ok(upload(serde_json::from_str(detail.get())?)),
        ("fanfold", "Run Submitted") => Ok(Intake::Submission(message::decode::<Submission>(detail.get())?)),
        _ => Err(InvalidEvent::Unknown { source_name: source.clone(), detail_type: detail_type.clone() }),
    }
}

fn upload(ObjectCreated { bucket, object }: ObjectCreated) -> Intake {
    Intake::Upload(Upload {
        object: ObjectName::new(bucket.name, object.key),
        version: object.version_id.filter(|version| !version.is_empty()),
        etag: ETag::new(&object.etag),
        size_bytes: object.size,
        sequencer: Sequencer::new(object.sequencer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"version":"0","id":"x","detail-type":"Object Created","source":"aws.s3",
        "detail":{"version":"0","bucket":{"name":"in"},"object":{"key":"a b/c+d.csv","size":5,
        "etag":"e1","version-id":"v1","sequencer":"0055"},"reason":"PutObject"}}"#;

    #[test]
    fn an_upload_is_read_as_it_stands() {
        let Intake::Upload(upload) = read(EVENT).unwrap() else { panic!("an upload") };
        assert_eq!(upload.object, ObjectName::new("in", "a b/c+d.csv"));
        assert_eq!((upload.version.as_deref(), upload.size_bytes), (Some("v1"), 5));
    }

    #[test]
    fn what_nobody_asked_for_is_an_error_and_never_dropped() {
        let deleted = EVENT.replace("Object Created", "Object Deleted");
        assert!(matches!(read(&deleted), Err(InvalidEvent::Unknown { .. })));
        assert!(matches!(read("{}"), Err(InvalidEvent::Message(_))));
        assert!(matches!(read("nonsense"), Err(InvalidEvent::Malformed(_))));
        assert!(read(&EVENT.replace("\"sequencer\":\"0055\"", "\"x\":1")).is_err());
    }
}
