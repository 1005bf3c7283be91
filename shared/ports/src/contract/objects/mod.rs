//! What every object store keeps to.

mod completions;
mod lists;
mod puts;
mod reads;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, assembly::MIN_UPLOAD_PART};
use futures::TryStreamExt;

pub use completions::*;
pub use lists::*;
pub use puts::*;
pub use reads::*;
pub use uploads::*;

use crate::{
    Fault, Objects,
    objects::{
        Condition, Expected, Metadata, Pin, ReadError, Stored, Upload, UploadError, UploadedPart, Written,
    },
};

/// A rule of S3 that some stand-ins do not keep. What is known to be missing is not asked of them, and that is
/// all that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An upload part of less than 5 MiB is refused unless it is the last.
    FiveMebibytes,
    /// The numbers of upload parts are checked: 1 to 10,000, consecutive from 1 when completed.
    PartNumbers,
    /// The whole object's CRC-64/NVME is compared at completion, and told by a head.
    WholeChecksum,
    /// A copied upload part is answered with its CRC-64/NVME.
    CopyChecksum,
    /// A key of more than 1,024 bytes is refused.
    KeyLength,
}

/// An object store under test.
#[derive(Clone)]
pub struct ObjectsUnderTest {
    /// The store.
    pub objects: Arc<dyn Objects>,
    /// A bucket that keeps no versions, for any number of tests.
    pub bucket: String,
    /// A bucket that keeps versions, where the store has such.
    pub versioned_bucket: Option<String>,
    /// What the keys of this test begin with; of no other test's.
    pub prefix: String,
    /// What the store is known not to keep; nothing, for S3 itself.
    pub lacks: &'static [Rule],
}

impl ObjectsUnderTest {
    /// Whether the store keeps a rule.
    fn keeps(&self, rule: Rule) -> bool {
        !self.lacks.contains(&rule)
    }

    /// An object of this test.
    fn object(&self, name: &str) -> ObjectName {
        ObjectName::new(&self.bucket, format!("{}{name}", self.prefix))
    }

    /// Puts an object whatever is there.
    async fn put(&self, object: &ObjectName, body: impl Into<Bytes>) -> ETag {
        stored(self.put_if(object, body, Condition::Always).await)
    }

    /// Puts an object on a condition.
    async fn put_if(&self, object: &ObjectName, body: impl Into<Bytes>, condition: Condition) -> Written {
        self.objects
            .put(object, body.into(), condition, &Metadata::new())
            .await
            .expect("the put was answered")
    }

    /// Reads a range of what is pinned.
    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<Bytes, ReadError> {
        let stream = self.objects.read(object, pin, range).await?;
        let pieces: Vec<Bytes> = stream.try_collect().await?;
        Ok(pieces.concat().into())
    }

    /// All bytes of what is there now.
    async fn whole(&self, object: &ObjectName) -> Bytes {
        let head = self.objects.head(object, None).await.expect("the head was answered");
        let size = head.expect("the object is there").size_bytes;
        let read = self.read(object, &Pin::default(), ByteRange::new(0, size)).await;
        read.expect("the object was read")
    }

    /// Begins an upload without metadata.
    async fn begin(&self, object: &ObjectName) -> Upload {
        self.objects.create_upload(object, &Metadata::new()).await.expect("the upload began")
    }

    /// Begins an upload and sends its parts, numbered from 1.
    async fn upload(&self, object: &ObjectName, bodies: &[Bytes]) -> (Upload, Vec<UploadedPart>) {
        let upload = self.begin(object).await;
        let mut parts = Vec::new();
        for (body, number) in bodies.iter().zip(1..) {
            let part = self.objects.upload_part(&upload, number, body.clone()).await;
            parts.push(part.expect("the part was taken"));
        }
        (upload, parts)
    }

    /// The parts that an open upload has.
    async fn held(&self, upload: &Upload) -> Vec<UploadedPart> {
        let held = self.objects.upload_parts(upload).await.expect("the parts were listed");
        held.into_iter().map(|held| held.part).collect()
    }

    /// Completes an upload that is to give these bodies one after another.
    async fn complete(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        bodies: &[Bytes],
    ) -> Result<Written, UploadError> {
        self.objects.complete_upload(upload, parts, condition, expected(bodies)).await
    }
}

/// What the whole of these bodies is.
fn expected(bodies: &[Bytes]) -> Expected {
    let whole = bodies.concat();
    Expected { size_bytes: whole.len() as u64, crc64: Some(crc_fast::crc64_nvme(&whole)) }
}

/// A body of the smallest size that a part before the last may have.
fn full_part(byte: u8) -> Bytes {
    vec![byte; usize::try_from(MIN_UPLOAD_PART).expect("5 MiB fit")].into()
}

/// The tag of a write that must have happened.
fn stored(written: Written) -> ETag {
    match written {
        Written::Stored(stored) => stored.etag,
        other => panic!("{other:?} in place of a write"),
    }
}

fn is_permanent(answer: &Result<impl Sized, UploadError>) -> bool {
    let permanent = |fault| fault == Fault::Permanent;
    match answer {
        Err(UploadError::Port(error) | UploadError::Read(ReadError::Port(error))) => permanent(error.fault),
        _ => false,
    }
}

fn is_gone(answer: &Result<impl Sized, UploadError>) -> bool {
    matches!(answer, Err(UploadError::Gone(_)))
}

fn has_other_parts(answer: &Result<impl Sized, UploadError>) -> bool {
    matches!(answer, Err(UploadError::OtherParts(_)))
}

/// Tests an object store: the argument names an `async fn() -> ObjectsUnderTest`.
#[macro_export]
macro_rules! objects_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            objects,
            $instance,
            [
                a_head_tells_what_was_put,
                nothing_is_where_nothing_was_put,
                a_put_always_replaces_what_is_there,
                a_put_if_absent_is_refused_when_something_is_there,
                a_put_if_it_matches_replaces_exactly_that,
                a_put_if_it_matches_is_refused_when_nothing_is_there,
                of_racing_puts_if_absent_exactly_one_is_stored,
                of_racing_puts_if_it_matches_exactly_one_is_stored,
                equal_contents_have_equal_tags_and_others_have_others,
                a_key_may_hold_any_character,
                a_key_of_1024_bytes_is_taken_and_none_longer,
                any_range_is_read_exactly,
                a_large_object_is_read_whole,
                a_read_of_nothing_is_missing,
                a_read_pinned_to_another_tag_is_changed,
                a_pinned_version_is_read_whatever_came_later,
                a_range_that_is_empty_or_outside_is_refused,
                nothing_is_there_before_an_upload_is_completed,
                an_upload_becomes_its_parts_in_order,
                an_upload_of_one_empty_part_is_an_empty_object,
                an_upload_part_sent_again_replaces_the_first,
                two_uploads_to_one_key_do_not_mix,
                the_parts_of_an_open_upload_are_listed,
                a_range_of_another_object_is_copied,
                a_copy_takes_only_what_is_pinned,
                an_aborted_upload_is_gone,
                a_small_upload_part_before_the_last_is_refused,
                upload_parts_are_consecutive_from_1_to_at_most_10000,
                an_upload_part_with_another_tag_is_refused,
                a_part_that_another_replaced_is_refused_and_then_listed,
                a_whole_of_another_size_or_checksum_is_refused,
                a_completion_whose_condition_fails_leaves_the_upload_alive,
                a_completion_if_it_matches_is_refused_when_nothing_is_there,
                an_upload_is_completed_once,
                of_racing_completions_if_absent_exactly_one_is_stored,
                a_put_if_absent_is_refused_after_a_completion,
                a_listing_has_the_keys_of_its_prefix_in_order,
                a_listing_goes_on_behind_a_key_and_ends_with_the_last,
                what_is_deleted_is_gone_and_stays_gone,
                more_than_1000_objects_are_not_deleted_at_once,
            ]
        );
    };
}
