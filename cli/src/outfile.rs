//! Writing a `.npy` file: all of it or none of it.

use crate::input::bad_because;
use anyhow::{Error, Result};
use npyz::WriterBuilder;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const MUST: &str = "a file in a directory that exists and can be written";

/// Where the result goes, checked before it is computed.
pub struct OutFile {
    argument: &'static str,
    /// As it was given.
    shown: String,
    path: PathBuf,
    /// A device or a pipe, which is written to, not replaced.
    special: bool,
}

impl OutFile {
    /// Checks that a file can be made there; makes none that stays.
    pub fn new(argument: &'static str, path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let refuse = |why: &dyn std::fmt::Display| bad_because(argument, &shown, why, MUST);
        // `y.npy/` names a directory, though a path forgets it.
        if shown.ends_with(std::path::is_separator) {
            return Err(refuse(&"it is a directory"));
        }
        // A link is followed: its target is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let found = path.metadata().ok();
        if found.as_ref().is_some_and(|found| found.is_dir()) || path.file_name().is_none() {
            return Err(refuse(&"it is a directory"));
        }
        let special = found.is_some_and(|found| !found.is_file());
        let directory = directory(&path);
        if !special && !directory.is_dir() {
            return Err(refuse(&"there is no such directory"));
        }
        if !special {
            tempfile::tempfile_in(directory).map_err(|e| refuse(&e.kind()))?;
        }
        Ok(Self { argument, shown, path, special })
    }

    /// As it was given.
    pub fn path(&self) -> &str {
        &self.shown
    }

    /// Writes a matrix in C order. On failure there is no file, or the one that was there before.
    pub fn write<T>(&self, shape: (usize, usize), data: &[T]) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy,
    {
        let attempt = || -> Result<()> {
            if self.special {
                return write_npy(&mut File::options().write(true).open(&self.path)?, shape, data);
            }
            let mut builder = tempfile::Builder::new();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                // What a new file gets; the umask takes its part.
                builder.permissions(std::fs::Permissions::from_mode(0o666));
            }
            let mut file = builder.prefix(".qgemm-").suffix(".tmp").tempfile_in(directory(&self.path))?;
            write_npy(file.as_file_mut(), shape, data)?;
            file.persist(&self.path)?;
            Ok(())
        };
        attempt().map_err(|e: Error| bad_because(self.argument, self.path(), e, MUST))
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_npy<T>(file: &mut File, (rows, cols): (usize, usize), data: &[T]) -> Result<()>
where
    T: npyz::AutoSerialize + Copy,
{
    let mut out = BufWriter::new(file);
    let options = npyz::WriteOptions::new().default_dtype().shape(&[rows as u64, cols as u64]);
    let mut writer = options.writer(&mut out).begin_nd()?;
    writer.extend(data.iter().copied())?;
    writer.finish()?;
    out.flush()?;
    Ok(())
}
