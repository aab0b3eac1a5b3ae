//! Writing a `.npy` file: all of it or none of it.

use crate::errors::invalid_because;
use anyhow::Result;
use npyz::WriterBuilder;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const MUST: &str = "a file in a directory that exists and can be written";

/// The file for a result, checked before the result is computed.
pub struct OutFile {
    argument: &'static str,
    /// The path as the user wrote it.
    shown: String,
    /// The path with links followed.
    path: PathBuf,
    /// The path is a device or a pipe. It is opened and written, not replaced by a new file.
    special: bool,
}

impl OutFile {
    /// Checks that a file can be created at `path`; leaves none behind.
    pub fn new(argument: &'static str, path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let refuse = |why: &dyn std::fmt::Display| invalid_because(argument, &shown, why, MUST);
        // Of a link, the target is replaced and the link stays.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let found = path.metadata().ok();
        if found.as_ref().is_some_and(|found| found.is_dir()) {
            return Err(refuse(&"it is a directory"));
        }
        let special = found.is_some_and(|found| !found.is_file());
        let directory = directory(&path);
        // `Path` ignores the separator at the end of `y.npy/`, which names a directory as `..` does.
        let names_directory = shown.ends_with(std::path::is_separator) || path.file_name().is_none();
        if names_directory || !special && !directory.is_dir() {
            return Err(refuse(&"there is no such directory"));
        }
        if !special {
            tempfile::tempfile_in(directory).map_err(|e| refuse(&e.kind()))?;
        }
        Ok(Self { argument, shown, path, special })
    }

    /// Writes a row-major matrix. On failure the file that existed before stays, or none exists.
    pub fn write<T>(&self, shape: (usize, usize), data: &[T]) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy,
    {
        let written = if self.special { self.write_special(shape, data) } else { self.replace(shape, data) };
        written.map_err(|e| invalid_because(self.argument, &self.shown, e, MUST))
    }

    fn write_special<T>(&self, shape: (usize, usize), data: &[T]) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy,
    {
        write_npy(&mut File::options().write(true).open(&self.path)?, shape, data)
    }

    /// Writes a temporary file in the same directory and renames it.
    fn replace<T>(&self, shape: (usize, usize), data: &[T]) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy,
    {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private by default. The result gets the permissions of any new file; the
            // umask is applied to them.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".qgemm-").suffix(".tmp").tempfile_in(directory(&self.path))?;
        write_npy(file.as_file_mut(), shape, data)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// The directory that holds `path`.
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
