//! 'Did you mean': the known word nearest to an unknown one.

/// Longest word that is compared, in bytes: no known word is near a longer one.
const LONGEST_BYTES: usize = 40;

/// The known word that at most two edits (a third of a short word) turn the given one into, whatever the case.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_BYTES {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).clamp(1, 2))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of a byte, and swaps of two neighbours (optimal string alignment).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = above[j] + usize::from(from[i] != to[j]);
            let mut least = replaced.min(row[j] + 1).min(above[j + 1] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"same", b"same"), 0);
        assert_eq!(distance(b"tabel", b"table"), 1);
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["max_concurrency", "retry", "run_on", "csv"];
        assert_eq!(nearest("maxConcurrency", known), Some("max_concurrency"));
        assert_eq!(nearest("max-concurrency", known), Some("max_concurrency"));
        assert_eq!(nearest("Retries", known), None);
        assert_eq!(nearest("retrys", known), Some("retry"));
        assert_eq!(nearest("CSV", known), Some("csv"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest(&"r".repeat(60_000), known), None);
    }
}
