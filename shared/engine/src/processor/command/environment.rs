//! What a command finds in its environment, and where it is found itself.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use fanfold_domain::pipeline::{Credentials, Environment};
use tempfile::TempDir;

use crate::processor::{Context, Inherited, PACKAGE};

/// What a document says of a command's environment.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Whether AWS credentials are in it.
    pub(crate) credentials: Credentials,
    /// Further variables.
    pub(crate) env: &'a Environment,
}

/// The variables that tell a command what it works on.
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

/// What a command inherits besides PATH, where its libraries are: Lambda names those of layers so.
const LIBRARIES: &str = "LD_LIBRARY_PATH";
/// Texts are UTF-8 unless `env` says otherwise: without a locale most programs take them for ASCII.
const LANG: &str = "C.UTF-8";
/// Where a folder of an attempt's own is made, unless TMPDIR says otherwise.
const TEMPORARY: &str = "/tmp";
/// Where programs are found if PATH says nothing: as `exec` has it.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// A new and empty folder for one attempt, which is gone with it: what programs leave there would fill up the `/tmp` of
/// a function, whose next attempts share it.
pub(super) fn scratch(inherited: &Inherited) -> io::Result<TempDir> {
    let parent = inherited.get("TMPDIR").filter(|folder| !folder.is_empty());
    let parent = parent.map_or(TEMPORARY, String::as_str);
    let made = tempfile::Builder::new().prefix("fanfold-").tempdir_in(parent);
    made.map_err(|error| {
        io::Error::new(error.kind(), format!("no folder could be made for it in {parent}: {error}"))
    })
}

/// The folder of the worker's package, where there is one.
pub(super) fn package(inherited: &Inherited) -> Option<&Path> {
    inherited.get(PACKAGE).map(Path::new)
}

/// Where programs are looked for: first in the package.
fn path(inherited: &Inherited) -> Option<OsString> {
    let own = inherited.get("PATH");
    let Some(package) = package(inherited) else { return own.map(Into::into) };
    let mut path = package.join("bin").into_os_string();
    path.push(":");
    path.push(package);
    path.push(":");
    path.push(own.map_or(DEFAULT_PATH, String::as_str));
    Some(path)
}

/// The whole environment of a command that has the folder `scratch` for itself.
pub(super) fn environment(
    context: &Context<'_>,
    given: Given<'_>,
    scratch: &Path,
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
        context.attempt.to_string().into(),
        context.offset.to_string().into(),
        // Byte for byte in the source's encoding, but for NUL, which no variable can hold.
        OsString::from_vec(header.iter().copied().filter(|byte| *byte != 0).collect()),
    ];
    let own = FANFOLD_VARIABLES.map(str::to_owned).into_iter().zip(values);
    let folders = ["HOME", "TMPDIR"].map(|name| (name.to_owned(), scratch.into()));
    let lang = ("LANG".to_owned(), LANG.into());
    let path = path(context.inherited).map(|path| ("PATH".to_owned(), path));
    let passed = CREDENTIAL_VARIABLES.iter().filter(|_| given.credentials == Credentials::Pass);
    let passed = passed.chain(&[LIBRARIES]);
    let passed = passed.filter_map(|name| Some(((*name).to_owned(), context.inherited.get(*name)?.into())));
    let named = given.env.iter().map(|(name, value)| (name.to_owned(), value.into()));
    // Of two with one name the later counts.
    Ok(own.chain(folders).chain([lang]).chain(path).chain(passed).chain(named).collect())
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

/// A program named by a relative path stands in the worker's package. It is named in full: not all systems change the
/// working directory before they look for the program.
pub(super) fn resolve(program: &str, inherited: &Inherited) -> PathBuf {
    let path = Path::new(program);
    match package(inherited).filter(|_| path.is_relative() && program.contains('/')) {
        Some(package) => package.join(path),
        None => path.to_owned(),
    }
}
