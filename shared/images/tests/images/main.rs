//! Images as cameras, editors and attackers write them, and what becomes of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod broken;
mod looks;
mod make;
mod orientation;
