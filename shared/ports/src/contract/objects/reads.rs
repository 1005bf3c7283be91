//! Ranges and pins.

use super::{ByteRange, Condition, Fault, ObjectName, ObjectsUnderTest, Pin, ReadError, Stored, Written};

/// Ranges are half-open and 0-based.
pub async fn any_range_is_read_exactly(t: &ObjectsUnderTest) {
    let object = t.object("ranges");
    t.put(&object, "0123456789").await;
    for (start, end, bytes) in [(0, 10, "0123456789"), (0, 1, "0"), (9, 10, "9"), (3, 7, "3456")] {
        let read = t.read(&object, &Pin::default(), ByteRange::new(start, end)).await;
        assert_eq!(read.expect("the range was read"), bytes);
    }
}

/// More than any piece of a stream.
pub async fn a_large_object_is_read_whole(t: &ObjectsUnderTest) {
    let object = t.object("large");
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    t.put(&object, body.clone()).await;
    assert!(t.whole(&object).await == body, "the bytes differ");
    let read = t.read(&object, &Pin::default(), ByteRange::new(1_000_001, 2_500_000)).await;
    assert!(read.expect("the range was read") == body[1_000_001..2_500_000], "the range's bytes differ");
}

/// With a pin or without.
pub async fn a_read_of_nothing_is_missing(t: &ObjectsUnderTest) {
    let (object, range) = (t.object("nothing"), ByteRange::new(0, 1));
    let etag = t.put(&t.object("other"), "x").await;
    for pin in [Pin::default(), Pin { version: None, etag: Some(etag) }] {
        let read = t.read(&object, &pin, range).await;
        assert!(matches!(read, Err(ReadError::Missing(name)) if name == object));
    }
}

/// A replaced source is noticed by every read.
pub async fn a_read_pinned_to_another_tag_is_changed(t: &ObjectsUnderTest) {
    let (object, range) = (t.object("pinned"), ByteRange::new(0, 6));
    let pin = Pin { version: None, etag: Some(t.put(&object, "before").await) };
    assert_eq!(t.read(&object, &pin, range).await.expect("it is what was pinned"), "before");
    t.put(&object, "after!").await;
    let read = t.read(&object, &pin, range).await;
    assert!(matches!(read, Err(ReadError::Changed(name)) if name == object));
}

/// Where versions are kept. The tag of a pin counts beside its version.
pub async fn a_pinned_version_is_read_whatever_came_later(t: &ObjectsUnderTest) {
    let Some(bucket) = &t.versioned_bucket else { return };
    let object = ObjectName::new(bucket, t.object("versions").key);
    let put = t.put_if(&object, "before", Condition::Always).await;
    let Written::Stored(Stored { etag: before, version }) = put else {
        panic!("{put:?} in place of a write")
    };
    let version = version.expect("the bucket keeps versions");
    let head = t.objects.head(&object, None).await.expect("the head was answered").expect("it is there");
    assert_eq!(head.version.as_ref(), Some(&version));
    let after = t.put(&object, "after!").await;
    let range = ByteRange::new(0, 6);

    let of_version = t.objects.head(&object, Some(&version)).await.expect("the head was answered");
    assert_eq!(of_version, Some(head));
    let pin = Pin { version: Some(version), etag: Some(before) };
    assert_eq!(t.read(&object, &pin, range).await.expect("the version is there"), "before");
    assert_eq!(t.whole(&object).await, "after!");
    let mixed = Pin { etag: Some(after), ..pin };
    assert!(matches!(t.read(&object, &mixed, range).await, Err(ReadError::Changed(_))));
}

/// S3 gives the whole object for an empty range and less than was asked for at the end: an adapter does not.
pub async fn a_range_that_is_empty_or_outside_is_refused(t: &ObjectsUnderTest) {
    let object = t.object("outside");
    t.put(&object, "0123456789").await;
    for (start, end) in [(4, 4), (5, 11), (10, 11), (20, 30)] {
        match t.read(&object, &Pin::default(), ByteRange::new(start, end)).await {
            Err(ReadError::Port(error)) => assert_eq!(error.fault, Fault::Permanent, "{start}..{end}"),
            other => panic!("{other:?} for {start}..{end}"),
        }
    }
}
