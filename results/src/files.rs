//! Reading and writing the files of a bundle: JSON that is the same bytes for the same content,
//! digests, and the self-checking wrapper for files that no digest list covers.

use crate::error::BundleError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// The hexadecimal SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hexadecimal SHA-256 of a file, read in pieces.
pub(crate) fn sha256_of(file: &Path) -> Result<String, BundleError> {
    let failed = |e| BundleError::io(file, "read", e);
    let mut input = File::open(file).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0u8; 64 << 10];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(count) => digest.update(&piece[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a whole file.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, BundleError> {
    fs::read(file).map_err(|e| BundleError::io(file, "read", e))
}

/// Writes a whole file and waits until it is on the disk: the rename that publishes a bundle must
/// not overtake its contents.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let failed = |e| BundleError::io(file, "written", e);
    let mut out = File::create(file).map_err(failed)?;
    out.write_all(bytes).map_err(failed)?;
    out.sync_all().map_err(failed)
}

/// Replaces a file as a whole: a reader sees the old content or the new one.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = file.with_file_name(name);
    write(&partial, bytes)?;
    fs::rename(&partial, file).map_err(|e| BundleError::io(file, "published", e))
}

/// The one rendering of `content` as JSON.
pub(crate) fn json<T: Serialize>(file: &Path, content: &T) -> Result<Vec<u8>, BundleError> {
    let mut bytes = serde_json::to_vec_pretty(content)
        .map_err(|e| BundleError::io(file, "written", io::Error::other(e)))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|e| BundleError::damaged(file, e))
}

/// A file that carries its own digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked<T> {
    /// The digest of the content's compact JSON.
    check: String,
    content: T,
}

/// Renders `content` with its own digest.
pub(crate) fn checked<T: Serialize>(file: &Path, content: &T) -> Result<Vec<u8>, BundleError> {
    let compact = serde_json::to_vec(content)
        .map_err(|e| BundleError::io(file, "written", io::Error::other(e)))?;
    json(
        file,
        &Checked {
            check: sha256(&compact),
            content,
        },
    )
}

/// Reads what [`checked`] rendered. Any change of any byte, even of a space, is an error.
pub(crate) fn read_checked<T: Serialize + DeserializeOwned>(file: &Path) -> Result<T, BundleError> {
    let bytes = read(file)?;
    let Checked { content, .. }: Checked<T> = parse(file, &bytes)?;
    if checked(file, &content)? != bytes {
        return Err(BundleError::damaged(
            file,
            "its content does not have the digest it carries",
        ));
    }
    Ok(content)
}
