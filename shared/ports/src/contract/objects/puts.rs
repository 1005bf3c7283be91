//! Whole objects and their conditions.

use futures::future::join_all;

use super::{Bytes, Condition, Fault, Metadata, ObjectName, ObjectsUnderTest, Rule, Written, stored};

/// Size, tag, metadata, and the checksum where the store has one.
pub async fn a_head_tells_what_was_put(t: &ObjectsUnderTest) {
    let object = t.object("head");
    let metadata =
        Metadata::from([("run".to_owned(), "0af".to_owned()), ("attempt".to_owned(), "7".to_owned())]);
    let put = t.objects.put(&object, Bytes::from("123456789"), Condition::Always, &metadata).await;
    let etag = stored(put.expect("the put was answered"));
    let head = t.objects.head(&object, None).await.expect("the head was answered").expect("it is there");
    assert_eq!((head.etag, head.size_bytes, head.metadata), (etag, 9, metadata));
    assert!(head.modified_at.0 > 1_700_000_000_000, "modified at {:?}", head.modified_at);
    if t.keeps(Rule::WholeChecksum) {
        assert_eq!(head.crc64, Some(0xae8b_1486_0a79_9888));
    }
}

/// No head is an answer, not an error.
pub async fn nothing_is_where_nothing_was_put(t: &ObjectsUnderTest) {
    assert_eq!(t.objects.head(&t.object("nothing"), None).await.expect("the head was answered"), None);
}

/// A put without a condition is S3's plain one.
pub async fn a_put_always_replaces_what_is_there(t: &ObjectsUnderTest) {
    let object = t.object("replaced");
    t.put(&object, "before").await;
    t.put(&object, "after").await;
    assert_eq!(t.whole(&object).await, "after");
}

/// The commit of a part: whoever is second writes nothing.
pub async fn a_put_if_absent_is_refused_when_something_is_there(t: &ObjectsUnderTest) {
    let object = t.object("part");
    stored(t.put_if(&object, "first", Condition::Absent).await);
    assert_eq!(t.put_if(&object, "second", Condition::Absent).await, Written::Refused);
    assert_eq!(t.whole(&object).await, "first");
}

/// A tag that was seen is replaced once.
pub async fn a_put_if_it_matches_replaces_exactly_that(t: &ObjectsUnderTest) {
    let object = t.object("match");
    let first = t.put(&object, "first").await;
    let second = stored(t.put_if(&object, "second", Condition::Matches(first.clone())).await);
    assert_eq!(t.put_if(&object, "third", Condition::Matches(first)).await, Written::Refused);
    assert_eq!(t.whole(&object).await, "second");
    stored(t.put_if(&object, "third", Condition::Matches(second)).await);
}

/// S3 answers 404 where there is nothing to match; that is a refusal too.
pub async fn a_put_if_it_matches_is_refused_when_nothing_is_there(t: &ObjectsUnderTest) {
    let etag = t.put(&t.object("other"), "x").await;
    let object = t.object("match of nothing");
    assert_eq!(t.put_if(&object, "y", Condition::Matches(etag)).await, Written::Refused);
    assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
}

/// Racing attempts at a chunk: one part, whoever wins.
pub async fn of_racing_puts_if_absent_exactly_one_is_stored(t: &ObjectsUnderTest) {
    race(t, &t.object("race"), &Condition::Absent).await;
}

/// Racing writers of bad records that saw the same object.
pub async fn of_racing_puts_if_it_matches_exactly_one_is_stored(t: &ObjectsUnderTest) {
    let object = t.object("race for a match");
    let before = t.put(&object, "before").await;
    race(t, &object, &Condition::Matches(before)).await;
}

async fn race(t: &ObjectsUnderTest, object: &ObjectName, condition: &Condition) {
    let puts = (0..16).map(|i| t.put_if(object, format!("attempt {i}"), condition.clone()));
    let answers = join_all(puts).await;
    let winners: Vec<_> =
        (0..).zip(&answers).filter(|(_, answer)| matches!(answer, Written::Stored(_))).collect();
    let [(winner, _)] = winners[..] else { panic!("not exactly one was stored: {answers:?}") };
    assert_eq!(t.whole(object).await, format!("attempt {winner}"));
}

/// A tag stands for the content: If-Match cannot tell equal ones apart, and must tell others apart.
pub async fn equal_contents_have_equal_tags_and_others_have_others(t: &ObjectsUnderTest) {
    let mut etags = Vec::new();
    for (name, body) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "")] {
        etags.push(t.put(&t.object(name), body).await);
    }
    assert_eq!(etags[0], etags[1]);
    assert!(etags[0] != etags[2] && etags[0] != etags[3] && etags[2] != etags[3], "{etags:?}");
}

/// Keys are not URL-encoded; what an adapter must encode, it encodes.
pub async fn a_key_may_hold_any_character(t: &ObjectsUnderTest) {
    for name in ["a b+c", "50%25", "é/ü/日本", "q?x=1&y#z", "quote'\"", "run=7/[0]*(1)!~@$,;:"] {
        let object = t.object(name);
        t.put(&object, name).await;
        assert_eq!(t.whole(&object).await, name);
    }
}

/// S3's limit counts bytes.
pub async fn a_key_of_1024_bytes_is_taken_and_none_longer(t: &ObjectsUnderTest) {
    let room = 1_024 - t.prefix.len();
    // Slashes, since some stores keep each name between them in a file.
    let name: String = "0123456789/".chars().cycle().take(room - 1).chain(['x']).collect();
    let object = t.object(&name);
    t.put(&object, "long").await;
    assert_eq!(t.whole(&object).await, "long");
    if t.keeps(Rule::KeyLength) {
        let longer = t.object(&format!("{name}x"));
        let put = t.objects.put(&longer, Bytes::new(), Condition::Always, &Metadata::new()).await;
        assert_eq!(put.expect_err("a longer key is refused").fault, Fault::Permanent);
    }
}
