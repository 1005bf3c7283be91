//! What a command finds in its environment, and where it is found itself.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use fanfold_domain::pipeline::Credentials;

use crate::processor::{Context, Inherited};

/// The variables that a command is given besides PATH; its environment has no others.
const FANFOLD_VARIABLES: [&str; 6] =
    ["FANFOLD_RUN", "FANFOLD_STAGE", "FANFOLD_CHUNK", "FANFOLD_ATTEMPT", "FANFOLD_OFFSET", "FANFOLD_HEADER"];
/// What AWS credentials come in, passed on only with `credentials: pass`.
const CREDENTIAL_VARIABLES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];
/// A value any longer is refused by the kernel (`MAX_ARG_STRLEN`, 128 KiB with the name).
const MAX_HEADER_BYTES: usize = 120 * 1024;

/// The whole environment of a command.
pub(super) fn environment(
    context: &Context<'_>,
    credentials: Credentials,
) -> io::Result<Vec<(String, OsString)>> {
    let header = context.header.unwrap_or_default();
    if header.len() > MAX_HEADER_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::ArgumentListTooLong,
            format!("the header has {} bytes, and FANFOLD_HEADER holds {MAX_HEADER_BYTES}", header.len()),
        ));
    }
    let values = [
        context.run.id.to_string().into(),
        context.stage.name.clone().into(),
        context.chunk.to_string().into(),
        context.attempt.into(),
        context.offset.to_string().into(),
        // Byte for byte in the source's encoding, but for NUL, which no variable can hold.
        OsString::from_vec(header.iter().copied().filter(|byte| *byte != 0).collect()),
    ];
    let own = FANFOLD_VARIABLES.map(str::to_owned).into_iter().zip(values);
    let passed = CREDENTIAL_VARIABLES.iter().filter(|_| credentials == Credentials::Pass).chain(&["PATH"]);
    let passed = passed.filter_map(|name| Some(((*name).to_owned(), context.inherited.get(*name)?.into())));
    Ok(own.chain(passed).collect())
}

/// Closes the environment and the memory of this process, from now on, to other processes of its user: what a
/// command is not given it must not read of whoever began it. To root they stay open.
#[cfg(target_os = "linux")]
pub(super) fn hide_ours() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Other systems have no environments in a file system.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) fn hide_ours() -> io::Result<()> {
    Ok(())
}

/// A program named by a relative path stands in the Lambda's package, beside the worker.
pub(super) fn resolve(program: &str, inherited: &Inherited) -> PathBuf {
    let path = Path::new(program);
    match inherited.get("LAMBDA_TASK_ROOT").filter(|_| path.is_relative() && program.contains('/')) {
        Some(root) => Path::new(root).join(path),
        None => path.to_owned(),
    }
}
