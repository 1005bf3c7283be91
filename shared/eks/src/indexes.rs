//! Indexes as Kubernetes writes them: `1,3-5`.

use thiserror::Error;

/// A Job of ours has 1,000 at most. The limit keeps a stranger's Job of `0-2147483647` out of memory.
const MOST: usize = 100_000;

/// A text that is no list of indexes, or of too many.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no list of at most {MOST} indexes such as 1,3-5")]
pub(crate) struct NoIndexes(String);

/// Parses a list of indexes; the empty text has none.
pub(crate) fn parse(text: &str) -> Result<Vec<u32>, NoIndexes> {
    let invalid = || NoIndexes(text.chars().take(100).collect());
    let mut indexes = Vec::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let first: u32 = first.parse().map_err(|_| invalid())?;
        let last: u32 = last.parse().map_err(|_| invalid())?;
        let count = last.checked_sub(first).ok_or_else(invalid)? as usize + 1;
        if indexes.len() + count > MOST {
            return Err(invalid());
        }
        indexes.extend(first..=last);
    }
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_indexes_and_ranges_are_read() {
        assert_eq!(parse("").unwrap(), Vec::<u32>::new());
        assert_eq!(parse("0").unwrap(), [0]);
        assert_eq!(parse("1,2,4-7,10").unwrap(), [1, 2, 4, 5, 6, 7, 10]);
        assert_eq!(parse("0-999").unwrap().len(), 1_000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["a", "1,", ",1", "3-1", "-1", "1-", "1 ,2", "1-2-3", "0-2147483647", "0-99999,7"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
