//! How a user's program gets to the worker: `scripts/build --with` and `scripts/cluster image --from`, without a build.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

/// What a program says of how it went: stdout if well, else stderr.
fn told(command: &mut Command) -> Result<String, String> {
    let done = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
}

/// A folder of a user's, and a package with the worker in it.
fn folders() -> TempDir {
    let folders = tempfile::tempdir().unwrap();
    for folder in ["own/bin", "package"] {
        fs::create_dir_all(folders.path().join(folder)).unwrap();
    }
    fs::write(folders.path().join("package/bootstrap"), "the worker").unwrap();
    write(&folders.path().join("own/bin/tool"), "a tool", 0o755);
    write(&folders.path().join("own/program.py"), "a program", 0o644);
    folders
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn pack(folders: &TempDir) -> Result<String, String> {
    let arguments = ["-m", "local.package", "own", "package"];
    told(Command::new("python3").env("PYTHONPATH", scripts()).current_dir(folders.path()).args(arguments))
}

#[test]
fn what_is_in_the_folder_is_in_the_package_with_its_modes_and_links_as_what_they_lead_to() {
    let folders = folders();
    symlink("tool", folders.path().join("own/bin/same")).unwrap();
    symlink("bin", folders.path().join("own/programs")).unwrap();
    let said = pack(&folders).unwrap();
    assert!(said.starts_with("5 files of own beside the worker, "), "{said}");
    let package = folders.path().join("package");
    for (name, text, mode) in [
        ("bootstrap", "the worker", 0o644),
        ("program.py", "a program", 0o644),
        ("bin/tool", "a tool", 0o755),
        ("bin/same", "a tool", 0o755),
        ("programs/same", "a tool", 0o755),
    ] {
        let found = fs::symlink_metadata(package.join(name)).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o777 == mode, "{name}: {found:?}");
        assert_eq!(fs::read_to_string(package.join(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn what_would_be_different_on_lambda_is_refused() {
    type Spoil = fn(&Path);
    let cases: [(Spoil, &str); 7] = [
        (|own| write(&own.join("bootstrap"), "", 0o755), "own/bootstrap: the worker itself has this name"),
        (
            |own| symlink("/etc/passwd", own.join("out")).unwrap(),
            "outside of own: copy the file itself there",
        ),
        (|own| symlink("../../package", own.join("bin/up")).unwrap(), "outside of own: copy the file itself"),
        (|own| symlink(".", own.join("bin/loop")).unwrap(), "which is its own folder: remove it"),
        (|own| symlink("nowhere", own.join("lost")).unwrap(), "which is not there: remove it"),
        (|own| write(&own.join("secret"), "", 0o600), "own/secret has the mode 0600"),
        (
            |own| fs::File::create(own.join("large")).unwrap().set_len(250 << 20).unwrap(),
            "and Lambda takes 262144000 unpacked, with all layers",
        ),
    ];
    for (spoil, refusal) in cases {
        let folders = folders();
        spoil(&folders.path().join("own"));
        let said = pack(&folders).unwrap_err();
        assert!(said.starts_with("scripts/build: ") && said.contains(refusal), "{said}");
        assert_eq!(fs::read_dir(folders.path().join("package")).unwrap().count(), 1, "nothing was copied");
    }
}

fn image(folder: &TempDir, arguments: &[&str]) -> Result<String, String> {
    let program = scripts().join("cluster");
    told(Command::new(program).current_dir(folder.path()).arg("image").args(arguments))
}

/// The files of an OCI archive, by their names.
fn unpacked(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    told(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path())).unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// A manifest and the config that it names.
fn described(files: &BTreeMap<String, Vec<u8>>) -> (Value, Value) {
    let blob = |described: &Value| {
        let digest = described["digest"].as_str().unwrap().replace(':', "/");
        serde_json::from_slice::<Value>(&files[&format!("blobs/{digest}")]).unwrap()
    };
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let manifest = blob(&index["manifests"][0]);
    let config = blob(&manifest["config"]);
    (manifest, config)
}

#[test]
fn an_image_of_a_users_gets_one_layer_more_and_another_entry_point() {
    let folder = folders();
    let base = ["base.tar", "tools:1", "--entrypoint", "/tool", "--env", "PATH=/bin", "--env", "SHARED=base"];
    image(&folder, &[&base[..], &["own/bin/tool=/bin/tool:755"]].concat()).unwrap();
    let ours =
        ["--entrypoint", "/fanfold-worker", "--env", "SHARED=ours", "package/bootstrap=/fanfold-worker:755"];
    image(&folder, &[&["whole.tar", "tools:2", "--from", "base.tar"], &ours[..]].concat()).unwrap();

    let [base, whole] = ["base.tar", "whole.tar"].map(|name| unpacked(&folder.path().join(name)));
    let ((base_manifest, base_config), (manifest, config)) = (described(&base), described(&whole));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]), (2, &base_manifest["layers"][0]));
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!((ids.len(), &ids[0]), (2, &base_config["rootfs"]["diff_ids"][0]));
    let wanted = json!({
        "Entrypoint": ["/fanfold-worker"], "Env": ["PATH=/bin", "SHARED=ours"], "WorkingDir": "/",
    });
    assert_eq!(config["config"], wanted);

    // Both layers are there, and ours says nothing of folders, which are the other's.
    let listed = |layer: &Value| {
        let packed = folder.path().join("layer");
        let digest = layer["digest"].as_str().unwrap().replace(':', "/");
        fs::write(&packed, &whole[&format!("blobs/{digest}")]).unwrap();
        told(Command::new("tar").arg("-tzf").arg(&packed)).unwrap()
    };
    assert!(listed(&layers[0]).contains("bin/tool\n"));
    assert_eq!(listed(&layers[1]), "fanfold-worker\n");
}

#[test]
fn what_is_no_oci_archive_is_refused_with_how_one_is_made() {
    let folder = folders();
    for base in ["own/program.py", "own"] {
        let ours = ["--entrypoint", "/w", "package/bootstrap=/w"];
        let said =
            image(&folder, &[&["whole.tar", "tools:2", "--from", base], &ours[..]].concat()).unwrap_err();
        assert!(
            said.contains("podman save --format oci-archive") || said.contains("there is no file"),
            "{said}"
        );
        assert!(!folder.path().join("whole.tar").exists());
    }
}
