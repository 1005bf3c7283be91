//! The contract suite of objects on a stand-in that keeps all of S3's rules, versitygw, at
//! `FANFOLD_TEST_S3_ENDPOINT`: with checksums of whole objects, the 5 MiB rule, and numbers of upload parts.
//!
//! Region and credentials are the SDK's variables, whatever the stack takes for such. Without the variable nothing is tested, and that is
//! said.

#[path = "stack/s3.rs"]
mod s3;
mod stack;

use fanfold_ports::contract::{ObjectsUnderTest, Rule};
use stack::Stack;

/// What versitygw 1.8 is known not to keep. Of a range it answers the checksum of the whole source.
const LACKS: &[Rule] = &[Rule::CopyChecksum, Rule::KeyLength];

async fn instance() -> ObjectsUnderTest {
    s3::under_test(&Stack::connect("FANFOLD_TEST_S3_ENDPOINT", true).await, LACKS).await
}

fanfold_ports::objects_contract!(instance);
