//! The header `x-amz-copy-source`: bucket, key and version, percent-encoded.

use fanfold_domain::ObjectName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is: the unreserved characters of RFC 3986, and the slashes between.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Names an object, or a version of it, as the source of a copy.
pub(super) fn copy_source(object: &ObjectName, version: Option<&str>) -> String {
    let key = utf8_percent_encode(&object.key, PLAIN);
    match version {
        Some(version) => {
            let version = utf8_percent_encode(version, PLAIN);
            format!("{}/{key}?versionId={version}", object.bucket)
        }
        None => format!("{}/{key}", object.bucket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_but_for_their_slashes() {
        let source = |key: &str| copy_source(&ObjectName::new("in", key), None);
        assert_eq!(source("a/b-c_d.e~f"), "in/a/b-c_d.e~f");
        assert_eq!(source("a b+c%d?e#f&g=h"), "in/a%20b%2Bc%25d%3Fe%23f%26g%3Dh");
        assert_eq!(source("ünï"), "in/%C3%BCn%C3%AF");
        assert_eq!(source("//x"), "in///x");
    }

    #[test]
    fn a_version_follows_the_key() {
        let object = ObjectName::new("in", "a?versionId=b");
        assert_eq!(copy_source(&object, Some("x/y=z")), "in/a%3FversionId%3Db?versionId=x/y%3Dz");
    }
}
