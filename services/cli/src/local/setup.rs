//! What a local run starts from: the document, the source and its identity, the places of the output.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    ETag, ObjectName, Origin, Run, RunId, SourcePin, Timestamp,
    pipeline::{Format, Pipeline, Process},
};
use fanfold_local::{LocalObjects, Places};

use crate::Failed;

/// The folder of each bucket.
pub(super) type Folders = BTreeMap<String, PathBuf>;

/// The bucket that names files rather than objects.
pub(crate) const FILES: &str = "local";

/// The bucket that names results beside the output, unless the pipeline names one.
const RESULTS: &str = "results";

/// Where a run finds the objects that it lists or that its records name, by their bucket, and where it puts those that
/// are made of them: in the folder `input` or beside the file `input`, and beside the output.
pub(super) fn folders(pipeline: &mut Pipeline, source: &SourcePin, input: &Path, output: &Path) -> Folders {
    let mut folders = Folders::new();
    let lists = pipeline.source.format == Format::Objects;
    if let Process::Resize(resize) = &mut pipeline.stages[0].process {
        let results = resize.bucket.get_or_insert_with(|| RESULTS.to_owned()).clone();
        folders.insert(results, directory_of(output).to_owned());
    } else if !lists {
        return folders;
    }
    let of_source = if lists { input } else { directory_of(input) };
    folders.insert(source.object.bucket.clone(), of_source.to_owned());
    folders
}

/// Reads a pipeline's document.
pub(crate) fn read_pipeline(path: &Path) -> Result<Pipeline, Failed> {
    let named = || format!("pipeline {}", path.display());
    let text = fs::read_to_string(path).with_context(named).map_err(Failed::Usage)?;
    Pipeline::parse(&text).with_context(named).map_err(Failed::Usage)
}

/// What a run reads: a file, or the folder that stands for the bucket whose objects are listed; nothing of a pipeline
/// that makes its own records.
pub(super) fn input<'a>(pipeline: &Pipeline, named: Option<&'a Path>) -> anyhow::Result<&'a Path> {
    match (pipeline.source.format, named) {
        (Format::Objects, Some(folder)) if folder.is_dir() => Ok(folder),
        (Format::Objects, Some(other)) => Err(anyhow!(
            "input {} is not a folder: the pipeline lists objects, and a folder stands for their bucket",
            other.display()
        )),
        (Format::Objects, None) => {
            Err(anyhow!("the pipeline lists objects: name the folder that stands for their bucket"))
        }
        (_, Some(file)) if pipeline.source.is_object() => Ok(file),
        (_, Some(_)) => Err(anyhow!("the pipeline reads no file, and an input is given")),
        (_, None) if pipeline.source.is_object() => Err(anyhow!("the pipeline reads a file: name it")),
        (_, None) => Ok(Path::new("")),
    }
}

/// Refuses a file to be written that would be among the objects which the pipeline lists: the next run would read it.
pub(super) fn check_unlisted(
    pipeline: &Pipeline,
    folder: &Path,
    name: &str,
    file: &Path,
) -> anyhow::Result<()> {
    let source = &pipeline.source;
    let (folder, place) = (real(folder), real(file));
    let Ok(key) = place.strip_prefix(&folder) else { return Ok(()) };
    let key = key.to_string_lossy();
    if source.format == Format::Objects && key.starts_with(&source.prefix) && key.ends_with(&source.suffix) {
        return Err(anyhow!(
            "{name} {} would be among the objects that the pipeline lists, and the next run would read it: write it \
             elsewhere, or have source.prefix or source.suffix leave it out",
            file.display()
        ));
    }
    Ok(())
}

/// The file that a path leads to, by whichever way, whether or not it is there yet.
pub(crate) fn real(path: &Path) -> PathBuf {
    let place = fanfold_local::followed(path);
    let of_new = || Some(fs::canonicalize(directory_of(&place)).ok()?.join(place.file_name()?));
    fs::canonicalize(path).ok().or_else(of_new).unwrap_or_else(|| path.to_owned())
}

/// Where a file stands.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Pins a file: as the object that `source` names, else under its own path.
pub(crate) fn pin(file: &Path, source: Option<&str>) -> Result<SourcePin, Failed> {
    let seen = fs::metadata(file).with_context(|| format!("input {}", file.display()))?;
    if !seen.is_file() {
        return Err(anyhow!("input {} is not a file", file.display()).into());
    }
    let (object, etag) = match source {
        Some(text) => parse_source(text)?,
        None => (ObjectName::new(FILES, file.to_string_lossy()), ETag::new("local")),
    };
    Ok(SourcePin { object, version: None, etag, size_bytes: seen.len() })
}

/// Reads `s3://bucket/key@etag`; the key may itself have an `@`.
fn parse_source(text: &str) -> Result<(ObjectName, ETag), Failed> {
    let parts = text.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let named = parts.and_then(|(bucket, rest)| Some((bucket, rest.rsplit_once('@')?)));
    match named {
        Some((bucket, (key, etag))) if !bucket.is_empty() && !key.is_empty() && !etag.is_empty() => {
            Ok((ObjectName::new(bucket, key), ETag::new(etag)))
        }
        _ => Err(Failed::Usage(anyhow!("--source is {text:?}, and must be s3://BUCKET/KEY@ETAG"))),
    }
}

/// The places of a run on `file`.
pub(crate) fn places(file: &Path, pin: &SourcePin, outputs: BTreeMap<ObjectName, PathBuf>) -> Places {
    Places { source: file.to_owned(), pin: pin.clone(), outputs }
}

/// Opens the places.
pub(crate) fn open(places: Places, output: &Path) -> Result<LocalObjects, Failed> {
    let named = format!("input {}, output {}", places.source.display(), output.display());
    Ok(LocalObjects::open(places, output).context(named)?)
}

/// A run of `pipeline` on `source`, whose output is called `output`.
pub(crate) fn new_run(pipeline: Pipeline, source: SourcePin, output: &Path, errors: &Path) -> Run {
    let key = source.object.to_string();
    let id = RunId::derive(&pipeline.name, &Origin::Submission { idempotency_key: &key });
    let name = |path: &Path| ObjectName::new(FILES, path.to_string_lossy());
    Run::new(id, pipeline, source, name(output), name(errors), Timestamp(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_bucket_key_and_etag() {
        let (object, etag) = parse_source("s3://in/a/b@c.csv@\"e\"").ok().unwrap();
        assert_eq!((object, etag), (ObjectName::new("in", "a/b@c.csv"), ETag::new("e")));
        for wrong in ["in/a@e", "s3://in", "s3://in/a", "s3:///a@e", "s3://in/@e"] {
            assert!(matches!(parse_source(wrong), Err(Failed::Usage(_))), "{wrong}");
        }
    }
}
