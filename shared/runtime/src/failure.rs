//! Errors as logs show them.

use std::error::Error;

/// An error and its causes in one line.
///
/// Many of our errors say their cause themselves; a cause is left out where the text before it has it.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use thiserror::Error;

    #[derive(Debug, Error)]
    #[error("{said}")]
    struct Outer {
        said: &'static str,
        source: io::Error,
    }

    fn outer(said: &'static str) -> String {
        causes(&Outer { said, source: io::Error::other("disk full") })
    }

    #[test]
    fn a_cause_is_said_once() {
        assert_eq!(outer("cannot write"), "cannot write: disk full");
        assert_eq!(outer("cannot write (disk full)"), "cannot write (disk full)");
    }
}
