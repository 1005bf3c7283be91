//! How messages make batches.

use fanfold_ports::queues::{MAX_DELAY_S, Outgoing};

/// Messages in a batch, at most (SQS).
const MAX_MESSAGES: usize = 10;
/// Bytes of a batch, and so of a message, at most: the limit of 256 KiB that every region and every stand-in
/// has, though SQS by now takes 1 MiB.
const MAX_BYTES: usize = 256 << 10;

/// Divides messages, in their order, into as few batches as that order allows.
///
/// # Errors
/// A message that fits none; what is wrong with it.
pub(super) fn batches(messages: Vec<Outgoing>) -> Result<Vec<Vec<Outgoing>>, String> {
    let mut batches: Vec<Vec<Outgoing>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.body.len();
        if size > MAX_BYTES {
            return Err(format!("a message of {size} bytes, and at most {MAX_BYTES} can be sent"));
        }
        if message.delay_s > MAX_DELAY_S {
            return Err(format!("a delay of {} s, and the longest is {MAX_DELAY_S} s", message.delay_s));
        }
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_MESSAGES && bytes + size <= MAX_BYTES => {
                batch.push(message);
                bytes += size;
            }
            _ => {
                batches.push(vec![message]);
                bytes = size;
            }
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: &[usize]) -> Result<Vec<Vec<usize>>, String> {
        let messages = bytes.iter().map(|n| Outgoing::now("x".repeat(*n))).collect();
        let batches = batches(messages)?;
        Ok(batches.iter().map(|batch| batch.iter().map(|m| m.body.len()).collect()).collect())
    }

    #[test]
    fn ten_messages_are_a_batch() {
        let batches = sizes(&[1; 25]).unwrap();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(sizes(&[]).unwrap(), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn a_batch_holds_256_kib() {
        let half = MAX_BYTES / 2;
        assert_eq!(sizes(&[half, half, 1]).unwrap(), [vec![half, half], vec![1]]);
        assert_eq!(sizes(&[1, MAX_BYTES, 1]).unwrap(), [vec![1], vec![MAX_BYTES], vec![1]]);
        assert!(sizes(&[1, MAX_BYTES + 1]).unwrap_err().contains("262145"));
    }

    #[test]
    fn a_delay_is_15_minutes_at_most() {
        let delayed = |delay_s| vec![Outgoing { body: String::new(), delay_s }];
        assert!(batches(delayed(900)).is_ok());
        assert!(batches(delayed(901)).unwrap_err().contains("901 s"));
    }
}
