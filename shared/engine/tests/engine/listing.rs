//! A prefix with a million objects: its list is written while it is read.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, Timestamp};
use fanfold_engine::plan::{Wanted, list_objects};
use fanfold_ports::{
    Objects, PortError,
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, MAX_LISTED, Metadata, ObjectHead, Pin, ReadError,
        Stored, Upload, UploadError, UploadedPart, Written,
    },
};

use crate::world::block_on;

const OBJECTS: usize = 1_000_000;
/// What an upload part may be, and what is read before one is sent: a page of long keys.
const MOST_BYTES: usize = 9 << 20;

/// A bucket whose objects are made up as they are listed, and which keeps nothing of what it is sent but how much it was.
#[derive(Default)]
struct Endless(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    pages: usize,
    lines: usize,
    bytes: u64,
    largest_part: usize,
    last_line: String,
    is_complete: bool,
}

fn key(number: usize) -> String {
    format!("many/{number:07}")
}

#[async_trait]
impl Objects for Endless {
    async fn head(&self, _: &ObjectName, _: Option<&str>) -> Result<Option<ObjectHead>, PortError> {
        let seen = self.0.lock().unwrap();
        Ok(seen.is_complete.then(|| ObjectHead {
            etag: ETag::new("list"),
            version: None,
            size_bytes: seen.bytes,
            crc64: None,
            metadata: Metadata::new(),
            modified_at: Timestamp(0),
        }))
    }

    async fn list(
        &self,
        _: &str,
        _: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        assert!(limit <= MAX_LISTED);
        self.0.lock().unwrap().pages += 1;
        let first = after.map_or(0, |key| key["many/".len()..].parse::<usize>().unwrap() + 1);
        let numbers = first..(first + limit).min(OBJECTS);
        let listed = |number| Listed { key: key(number), etag: ETag::new("e"), size_bytes: number as u64 };
        Ok(numbers.map(listed).collect())
    }

    async fn create_upload(&self, object: &ObjectName, _: &Metadata) -> Result<Upload, PortError> {
        Ok(Upload { object: object.clone(), id: "upload".to_owned() })
    }

    async fn upload_part(&self, _: &Upload, number: u32, body: Bytes) -> Result<UploadedPart, UploadError> {
        let mut seen = self.0.lock().unwrap();
        seen.lines += body.iter().filter(|byte| **byte == b'\n').count();
        seen.bytes += body.len() as u64;
        seen.largest_part = seen.largest_part.max(body.len());
        let text = std::str::from_utf8(&body).unwrap();
        text.lines().next_back().unwrap().clone_into(&mut seen.last_line);
        Ok(UploadedPart { number, etag: ETag::new("part"), crc64: None })
    }

    async fn complete_upload(
        &self,
        _: &Upload,
        _: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        let mut seen = self.0.lock().unwrap();
        assert_eq!((condition, expected.size_bytes), (Condition::Absent, seen.bytes));
        seen.is_complete = true;
        Ok(Written::Stored(Stored { etag: ETag::new("list"), version: None }))
    }

    async fn read(&self, _: &ObjectName, _: &Pin, _: ByteRange) -> Result<ByteStream, ReadError> {
        unreachable!("nothing is read")
    }

    async fn put(&self, _: &ObjectName, _: Bytes, _: Condition, _: &Metadata) -> Result<Written, PortError> {
        unreachable!("it is too large to be put at once")
    }

    async fn copy_part(
        &self,
        _: &Upload,
        _: u32,
        _: &ObjectName,
        _: &Pin,
        _: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        unreachable!("nothing is copied")
    }

    async fn upload_parts(&self, _: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        unreachable!("it is written in one go")
    }

    async fn abort_upload(&self, _: &Upload) -> Result<(), PortError> {
        unreachable!("nothing fails")
    }

    async fn delete(&self, _: &str, _: &[String]) -> Result<(), PortError> {
        unreachable!("nothing is deleted")
    }
}

#[test]
fn a_million_objects_are_listed_with_a_page_and_an_upload_part_in_memory() {
    let bucket = Endless::default();
    let wanted = Wanted { bucket: "input", prefix: "many/", suffix: "" };
    let list = ObjectName::new("work", "list.jsonl");
    let pin = block_on(list_objects(&bucket, wanted, &list)).unwrap();
    let seen = bucket.0.lock().unwrap();
    assert_eq!((seen.pages, seen.lines, pin.size_bytes), (OBJECTS / MAX_LISTED + 1, OBJECTS, seen.bytes));
    assert!(seen.largest_part <= MOST_BYTES, "{} bytes at once", seen.largest_part);
    assert!(seen.last_line.contains("\"many/0999999\""), "{}", seen.last_line);
}
