//! Listings and deletions.

use futures::{StreamExt, TryStreamExt, stream};

use super::{Fault, ObjectsUnderTest};
use crate::objects::MAX_LISTED;

/// Puts under way at once.
const AT_ONCE: usize = 16;

impl ObjectsUnderTest {
    /// The keys of a listing, without what all keys of this test begin with.
    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let own = |name: &str| format!("{}{name}", self.prefix);
        let listed = self.objects.list(&self.bucket, &own(prefix), after.map(own).as_deref(), limit).await;
        let listed = listed.expect("the listing was answered");
        listed.into_iter().map(|listed| listed.key[self.prefix.len()..].to_owned()).collect()
    }

    async fn delete(&self, names: &[&str]) {
        let keys: Vec<String> = names.iter().map(|name| format!("{}{name}", self.prefix)).collect();
        self.objects.delete(&self.bucket, &keys).await.expect("they were deleted");
    }
}

/// By bytes, whatever the names, with what a head says of each.
pub async fn a_listing_has_the_keys_of_its_prefix_in_order(t: &ObjectsUnderTest) {
    for name in ["run/b", "run/a b+c", "run/é&<x>", "run/B", "run", "run0", "other/a"] {
        t.put(&t.object(name), name).await;
    }
    assert_eq!(t.keys("run/", None, 10).await, ["run/B", "run/a b+c", "run/b", "run/é&<x>"]);
    assert_eq!(t.keys("nothing/", None, 10).await, Vec::<String>::new());
    let listed = t.objects.list(&t.bucket, &format!("{}run/b", t.prefix), None, 10).await;
    let listed = listed.expect("the listing was answered").remove(0);
    let head = t.objects.head(&t.object("run/b"), None).await.expect("the head was answered");
    let head = head.expect("it is there");
    assert_eq!((listed.etag, listed.size_bytes), (head.etag, head.size_bytes));
}

/// How a large listing is read: each page from behind the last key of the one before.
pub async fn a_listing_goes_on_behind_a_key_and_ends_with_the_last(t: &ObjectsUnderTest) {
    for number in 0..5 {
        t.put(&t.object(&format!("page/{number}")), "x").await;
    }
    assert_eq!(t.keys("page/", None, 2).await, ["page/0", "page/1"]);
    assert_eq!(t.keys("page/", Some("page/1"), 2).await, ["page/2", "page/3"]);
    assert_eq!(t.keys("page/", Some("page/3"), 2).await, ["page/4"]);
    assert_eq!(t.keys("page/", Some("page/4"), 2).await, Vec::<String>::new());
    t.delete(&["page/1"]).await;
    assert_eq!(t.keys("page/", Some("page/1"), 1).await, ["page/2"], "behind a key that is gone");
}

/// A cleanup that is done twice.
pub async fn what_is_deleted_is_gone_and_stays_gone(t: &ObjectsUnderTest) {
    let names: Vec<String> = (0..=MAX_LISTED).map(|number| format!("many/{number:04}")).collect();
    let puts = stream::iter(&names).map(async |name| {
        t.put(&t.object(name), "x").await;
        Ok::<_, ()>(())
    });
    puts.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.expect("all were put");
    let first: Vec<&str> = names[..MAX_LISTED].iter().map(String::as_str).collect();
    for _ in 0..2 {
        t.delete(&first).await;
        assert_eq!(t.keys("many/", None, MAX_LISTED).await, names[MAX_LISTED..]);
    }
    t.delete(&["many/é&<x>'\" +", "many/1000"]).await;
    assert_eq!(t.keys("many/", None, MAX_LISTED).await, Vec::<String>::new());
    t.delete(&[]).await;
}

/// S3 takes no more.
pub async fn more_than_1000_objects_are_not_deleted_at_once(t: &ObjectsUnderTest) {
    let keys: Vec<String> = (0..=MAX_LISTED).map(|number| format!("{}no/{number}", t.prefix)).collect();
    let refused = t.objects.delete(&t.bucket, &keys).await.expect_err("they are too many");
    assert_eq!(refused.fault, Fault::Permanent);
    let refused = t.objects.list(&t.bucket, &t.prefix, None, MAX_LISTED + 1).await;
    assert_eq!(refused.expect_err("they are too many").fault, Fault::Permanent);
}
