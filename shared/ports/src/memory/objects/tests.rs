//! What the contract suite cannot ask of every service.

use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName};
use futures::TryStreamExt;

use super::{port::check_put_size, *};
use crate::{
    Objects,
    objects::{Expected, Pin, ReadError, UploadError},
};

fn store() -> MemoryObjects {
    MemoryObjects::new(MemoryClock::seeded(0))
}

fn object(key: &str) -> ObjectName {
    ObjectName::new("b", key)
}

#[test]
fn five_gibibytes_are_written_at_once_and_not_one_more() {
    assert!(check_put_size(&object("k"), 5 << 30).is_ok());
    assert_eq!(check_put_size(&object("k"), (5 << 30) + 1).unwrap_err().fault, Fault::Permanent);
}

#[tokio::test]
async fn the_checksum_is_crc_64_nvme() {
    let head = store().insert("b", "k", "123456789");
    assert_eq!(head.crc64, Some(0xae8b_1486_0a79_9888));
}

#[tokio::test]
async fn a_stream_comes_in_pieces_of_the_size_asked_for() {
    let objects = store().with_stream_pieces(4);
    objects.insert("b", "k", "0123456789");
    let stream = objects.read(&object("k"), &Pin::default(), ByteRange::new(0, 10)).await.unwrap();
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(pieces, ["0123", "4567", "89"]);
    assert_eq!(objects.bytes_read(), 10);
}

#[tokio::test]
async fn a_smaller_least_part_may_be_chosen() {
    let objects = store().with_min_upload_part(3);
    let upload = objects.create_upload(&object("k"), &Metadata::new()).await.unwrap();
    let mut parts = Vec::new();
    for (body, number) in [("abc", 1), ("d", 2)] {
        parts.push(objects.upload_part(&upload, number, Bytes::from(body)).await.unwrap());
    }
    let expected = Expected { size_bytes: 4, crc64: None };
    assert_eq!(objects.open_uploads(), std::slice::from_ref(&upload));
    objects.complete_upload(&upload, &parts, Condition::Always, expected).await.unwrap();
    assert_eq!(objects.contents(&object("k")).unwrap(), "abcd");
    assert_eq!((objects.keys("b"), objects.open_uploads()), (vec!["k".to_owned()], vec![]));
    assert_eq!(objects.requests()["upload_part"], 2);
}

#[tokio::test]
async fn a_source_smaller_than_an_upload_part_is_not_copied_from() {
    let objects = store();
    objects.insert("b", "small", "abc");
    let upload = objects.create_upload(&object("k"), &Metadata::new()).await.unwrap();
    let (from, pin) = (object("small"), Pin::default());
    let copy = objects.copy_part(&upload, 1, &from, &pin, ByteRange::new(0, 3)).await;
    assert!(matches!(copy, Err(UploadError::Port(error)) if error.fault == Fault::Permanent));
}

#[tokio::test]
async fn a_removed_object_is_gone_but_for_its_versions() {
    let objects = store().with_versioned_bucket("kept");
    let [plain, kept] = ["b", "kept"].map(|bucket| ObjectName::new(bucket, "k"));
    objects.insert("b", "k", "x");
    let version = objects.insert("kept", "k", "x").version;
    for object in [&plain, &kept] {
        objects.remove(object);
        assert_eq!((objects.contents(object), objects.keys(&object.bucket)), (None, vec![]));
    }
    assert!(objects.head(&kept, version.as_deref()).await.unwrap().is_some());
    let missing = objects.read(&kept, &Pin::default(), ByteRange::new(0, 1)).await.err();
    assert!(matches!(missing, Some(ReadError::Missing(_))));
    let absent = objects.put(&kept, Bytes::from("y"), Condition::Absent, &Metadata::new()).await;
    assert!(matches!(absent.unwrap(), crate::objects::Written::Stored(_)));
}

#[tokio::test]
async fn metadata_that_are_no_headers_are_refused() {
    let objects = store();
    for (key, value) in [("Run", "x"), ("run", "é"), ("run", &*"x".repeat(2_048)), ("", "x")] {
        let metadata = Metadata::from([(key.to_owned(), value.to_owned())]);
        let put = objects.put(&object("k"), Bytes::new(), Condition::Always, &metadata).await;
        assert_eq!(put.unwrap_err().fault, Fault::Permanent, "{key}: {value}");
    }
}

#[tokio::test]
async fn a_part_is_listed_with_its_own_checksum() {
    let objects = store();
    let upload = objects.create_upload(&object("k"), &Metadata::new()).await.unwrap();
    let mut part = objects.upload_part(&upload, 1, Bytes::from("abc")).await.unwrap();
    part.crc64 = Some(1);
    let expected = Expected { size_bytes: 3, crc64: None };
    let complete = objects.complete_upload(&upload, &[part], Condition::Always, expected).await;
    assert!(matches!(complete, Err(UploadError::OtherParts(_))));
    assert_ne!(etag(b"abc"), etag(b"abd"));
    assert_eq!(etag(b"abc"), ETag::new(&format!("\"{}\"", etag(b"abc"))));
}
