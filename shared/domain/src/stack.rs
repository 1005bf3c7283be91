//! A deployed stack, told from every other one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::InvalidId;

/// A stack's identity: 20 lowercase hexadecimal digits, the beginning of a SHA-256 over its ledger table's ARN.
///
/// The ledger says which runs there are, so a Job belongs to the stack whose ledger knows it. The ARN names account,
/// region and table: it outlives every update of the stack, and no other stack has it. The text fits into a Kubernetes
/// label, of which 63 characters are allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StackId(String);

/// Bytes of the hash that are kept.
const BYTES: usize = 10;

impl StackId {
    /// The stack whose ledger is the table of this ARN.
    pub fn of_ledger(table_arn: &str) -> Self {
        Self(hex::encode(&Sha256::digest(table_arn)[..BYTES]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StackId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 2 * BYTES && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        let allowed = "20 lowercase hexadecimal digits";
        Err(InvalidId { what: "stack id", found: text.to_owned(), allowed })
    }
}

impl TryFrom<String> for StackId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<StackId> for String {
    fn from(id: StackId) -> Self {
        id.0
    }
}

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:111122223333:table/fanfold-LedgerTable-1A2B3C";

    /// Jobs of older deployments carry it.
    #[test]
    fn a_stacks_id_never_changes() {
        assert_eq!(StackId::of_ledger(ARN).as_str(), "ed94ee6150f000ffc7c2");
    }

    #[test]
    fn accounts_regions_and_tables_make_other_stacks() {
        let others = [("111122223333", "444455556666"), ("eu-central-1", "us-east-1"), ("1A2B3C", "1A2B3D")];
        for (one, other) in others {
            assert_ne!(StackId::of_ledger(ARN), StackId::of_ledger(&ARN.replace(one, other)));
        }
    }

    #[test]
    fn an_id_survives_its_text_and_nothing_else_does() {
        let id = StackId::of_ledger(ARN);
        assert_eq!(id.to_string().parse::<StackId>(), Ok(id));
        assert!("fanfold".parse::<StackId>().is_err());
        assert!(serde_json::from_str::<StackId>("\"0123456789ABCDEF0123\"").is_err());
    }
}
