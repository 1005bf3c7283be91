//! Multipart uploads up to their completion.

use super::{
    ByteRange, Bytes, Condition, Expected, MIN_UPLOAD_PART, Metadata, ObjectsUnderTest, Pin, ReadError, Rule,
    UploadError, expected, full_part, is_gone, stored,
};

/// An object appears whole or not at all.
pub async fn nothing_is_there_before_an_upload_is_completed(t: &ObjectsUnderTest) {
    let object = t.object("before");
    t.upload(&object, &[full_part(b'a')]).await;
    assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
}

/// With the metadata of its beginning, and the checksum of the whole where the store has one.
pub async fn an_upload_becomes_its_parts_in_order(t: &ObjectsUnderTest) {
    let object = t.object("parts");
    let metadata = Metadata::from([("epoch".to_owned(), "3".to_owned())]);
    let upload = t.objects.create_upload(&object, &metadata).await.expect("the upload began");
    assert_eq!(upload.object, object);
    let bodies = [full_part(b'a'), full_part(b'b'), Bytes::from("the end")];
    let mut parts = Vec::new();
    for number in [3, 1, 2] {
        let body = bodies[number as usize - 1].clone();
        let crc64 = crc_fast::crc64_nvme(&body);
        let part = t.objects.upload_part(&upload, number, body).await.expect("the part was taken");
        assert_eq!(part.number, number);
        assert!(part.crc64.is_none_or(|crc| crc == crc64), "another checksum of part {number}");
        parts.push(part);
    }
    parts.sort_by_key(|part| part.number);
    let etag =
        stored(t.complete(&upload, &parts, Condition::Absent, &bodies).await.expect("it was completed"));

    let head = t.objects.head(&object, None).await.expect("the head was answered").expect("it is there");
    assert_eq!((head.etag, head.metadata), (etag, metadata));
    if t.keeps(Rule::WholeChecksum) {
        assert_eq!(head.crc64, expected(&bodies).crc64);
    }
    assert!(t.whole(&object).await == bodies.concat(), "the bytes differ");
}

/// An output without bytes is assembled like any other.
pub async fn an_upload_of_one_empty_part_is_an_empty_object(t: &ObjectsUnderTest) {
    let object = t.object("empty");
    let bodies = [Bytes::new()];
    let (upload, parts) = t.upload(&object, &bodies).await;
    stored(t.complete(&upload, &parts, Condition::Absent, &bodies).await.expect("it was completed"));
    let head = t.objects.head(&object, None).await.expect("the head was answered").expect("it is there");
    assert_eq!(head.size_bytes, 0);
}

/// A repetition after an answer that was lost.
pub async fn an_upload_part_sent_again_replaces_the_first(t: &ObjectsUnderTest) {
    let object = t.object("again");
    let (upload, _) = t.upload(&object, &[Bytes::from("first")]).await;
    let bodies = [Bytes::from("second")];
    let again = t.objects.upload_part(&upload, 1, bodies[0].clone()).await.expect("the part was taken");
    stored(t.complete(&upload, &[again], Condition::Always, &bodies).await.expect("it was completed"));
    assert_eq!(t.whole(&object).await, "second");
}

/// Each assembly has an upload of its own.
pub async fn two_uploads_to_one_key_do_not_mix(t: &ObjectsUnderTest) {
    let object = t.object("two");
    let [one, two] = ["one", "two"].map(|body| [Bytes::from(body)]);
    let (first, first_parts) = t.upload(&object, &one).await;
    let (second, second_parts) = t.upload(&object, &two).await;
    assert_ne!(first, second);
    stored(t.complete(&first, &first_parts, Condition::Always, &one).await.expect("it was completed"));
    assert_eq!(t.whole(&object).await, "one");
    stored(t.complete(&second, &second_parts, Condition::Always, &two).await.expect("it was completed"));
    assert_eq!(t.whole(&object).await, "two");
}

/// What an upload that was left half done goes on from: each part with its size, as it was last sent, whatever gaps are
/// between them. Of an upload that is gone there are none to list.
pub async fn the_parts_of_an_open_upload_are_listed(t: &ObjectsUnderTest) {
    let upload = t.begin(&t.object("held")).await;
    assert_eq!(t.held(&upload).await, []);
    let mut sent = Vec::new();
    for (number, body) in [(12, "twelve"), (3, "never mind"), (3, "three")] {
        let part = t.objects.upload_part(&upload, number, Bytes::from(body)).await;
        sent.push(part.expect("the part was taken"));
    }
    let held = t.objects.upload_parts(&upload).await.expect("the parts were listed");
    let sizes: Vec<_> = held.iter().map(|held| (held.part.number, held.size_bytes)).collect();
    assert_eq!(sizes, [(3, 5), (12, 6)]);
    for (held, sent) in held.iter().zip([&sent[2], &sent[0]]) {
        assert_eq!(held.part.etag, sent.etag);
        let both = held.part.crc64.zip(sent.crc64);
        assert!(both.is_none_or(|(held, sent)| held == sent), "another checksum: {held:?}");
    }
    t.objects.abort_upload(&upload).await.expect("it was aborted");
    assert!(is_gone(&t.objects.upload_parts(&upload).await));
}

/// Half-open ranges, as for reads; the source at least as large as an upload part.
pub async fn a_range_of_another_object_is_copied(t: &ObjectsUnderTest) {
    let [from, object] = ["group +é%", "copied"].map(|name| t.object(name));
    let source = [full_part(b'x'), Bytes::from("0123456789")].concat();
    let etag = t.put(&from, source.clone()).await;
    let upload = t.begin(&object).await;
    let pin = Pin { version: None, etag: Some(etag) };
    let size = source.len() as u64;
    let ranges = [ByteRange::new(7, 7 + MIN_UPLOAD_PART), ByteRange::new(size - 10, size - 7)];
    let (mut parts, mut bodies) = (Vec::new(), Vec::new());
    for (range, number) in ranges.into_iter().zip(1..) {
        let part = t.objects.copy_part(&upload, number, &from, &pin, range).await.expect("it was copied");
        let at = |offset| usize::try_from(offset).expect("an offset within the body");
        let body = Bytes::from(source[at(range.start)..at(range.end)].to_vec());
        assert_eq!(part.number, number);
        if t.keeps(Rule::CopyChecksum) {
            assert_eq!(part.crc64, Some(crc_fast::crc64_nvme(&body)));
        }
        parts.push(part);
        bodies.push(body);
    }
    // A service that says a wrong checksum of a copied range refuses the right one of the whole.
    let crc64 = expected(&bodies).crc64.filter(|_| t.keeps(Rule::CopyChecksum));
    let whole = Expected { crc64, ..expected(&bodies) };
    let completed = t.objects.complete_upload(&upload, &parts, Condition::Absent, whole).await;
    stored(completed.expect("it was completed"));
    assert!(t.whole(&object).await == bodies.concat(), "the bytes differ");
}

/// A copy is a read.
pub async fn a_copy_takes_only_what_is_pinned(t: &ObjectsUnderTest) {
    let [from, nothing, object] = ["source", "nothing", "target"].map(|name| t.object(name));
    let before = t.put(&from, full_part(b'a')).await;
    t.put(&from, full_part(b'b')).await;
    let upload = t.begin(&object).await;
    let pin = Pin { version: None, etag: Some(before) };
    let range = ByteRange::new(0, MIN_UPLOAD_PART);
    let changed = t.objects.copy_part(&upload, 1, &from, &pin, range).await;
    assert!(matches!(changed, Err(UploadError::Read(ReadError::Changed(_)))), "{changed:?}");
    let missing = t.objects.copy_part(&upload, 1, &nothing, &Pin::default(), range).await;
    assert!(matches!(missing, Err(UploadError::Read(ReadError::Missing(_)))), "{missing:?}");
}

/// The fence: after an abort nothing of that upload can appear. An abort may be repeated.
pub async fn an_aborted_upload_is_gone(t: &ObjectsUnderTest) {
    let [from, object] = ["source", "aborted"].map(|name| t.object(name));
    t.put(&from, full_part(b'a')).await;
    let bodies = [Bytes::from("x")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    for _ in 0..2 {
        t.objects.abort_upload(&upload).await.expect("an abort of what is gone is none");
    }
    assert!(is_gone(&t.objects.upload_part(&upload, 1, Bytes::new()).await));
    let range = ByteRange::new(0, MIN_UPLOAD_PART);
    assert!(is_gone(&t.objects.copy_part(&upload, 1, &from, &Pin::default(), range).await));
    assert!(is_gone(&t.complete(&upload, &parts, Condition::Always, &bodies).await));
    assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
}
