//! Writing files: all of a file or none of it, and of several files all or none.

use crate::errors::{invalid, invalid_because};
use anyhow::Result;
use npyz::WriterBuilder;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

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

    /// Refuses files of which two are one and the same.
    pub fn check_distinct(files: &[&OutFile]) -> Result<()> {
        for (i, file) in files.iter().enumerate() {
            let same = files[..i].iter().find(|other| !file.special && other.place() == file.place());
            if let Some(other) = same {
                let must = format_args!("another file than {}", other.argument);
                return Err(invalid(file.argument, &file.shown, must));
            }
        }
        Ok(())
    }

    /// The file's directory, with links followed, and its name in it.
    fn place(&self) -> (PathBuf, Option<&OsStr>) {
        let directory = directory(&self.path);
        (directory.canonicalize().unwrap_or_else(|_| directory.into()), self.path.file_name())
    }

    /// Writes a row-major matrix. On failure the file that existed before stays, or none exists.
    pub fn write<T>(&self, shape: (usize, usize), data: &[T]) -> Result<()>
    where
        T: npyz::AutoSerialize + Copy,
    {
        self.write_with(&|file| write_npy(file, shape, data))
    }

    /// Writes what `write` writes. On failure the file that existed before stays, or none exists.
    pub fn write_with(&self, write: &dyn Fn(&mut dyn Write) -> Result<()>) -> Result<()> {
        if self.special {
            let written = self.open_special().and_then(|mut file| write(&mut file));
            return written.map_err(|e| self.refuse(e));
        }
        let content = self.beside(write).map_err(|e| self.refuse(e))?;
        Prepared { file: self, content: Content::File(content) }.finish()
    }

    fn open_special(&self) -> Result<File> {
        Ok(File::options().write(true).open(&self.path)?)
    }

    /// Writes a row-major matrix beside the file, and leaves the file itself as it is until
    /// [`finish`](Prepared::finish).
    pub fn prepare<T>(&self, shape: (usize, usize), data: &[T]) -> Result<Prepared<'_>>
    where
        T: npyz::AutoSerialize + Copy,
    {
        let content = if self.special {
            let mut bytes = Vec::new();
            write_npy(&mut bytes, shape, data).map(|()| Content::Bytes(bytes))
        } else {
            self.beside(&|file| write_npy(file, shape, data)).map(Content::File)
        };
        Ok(Prepared { file: self, content: content.map_err(|e| self.refuse(e))? })
    }

    fn refuse(&self, why: anyhow::Error) -> anyhow::Error {
        invalid_because(self.argument, &self.shown, why, MUST)
    }

    /// Writes a temporary file in the same directory.
    fn beside(&self, write: &dyn Fn(&mut dyn Write) -> Result<()>) -> Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private by default. The result gets the permissions of any new file; the
            // umask is applied to them.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".qgemm-").suffix(".tmp").tempfile_in(directory(&self.path))?;
        write(file.as_file_mut())?;
        Ok(file)
    }
}

/// A result that is written, but not yet under its name. Without [`finish`](Self::finish) nothing is left of it.
pub struct Prepared<'a> {
    file: &'a OutFile,
    content: Content,
}

enum Content {
    /// A temporary file, which is renamed.
    File(NamedTempFile),
    /// The bytes for a device or a pipe.
    Bytes(Vec<u8>),
}

impl Prepared<'_> {
    /// Gives several results their names. Devices and pipes, of which any may fail, come first, before a file is replaced.
    pub fn finish_all(mut results: Vec<Self>) -> Result<()> {
        results.sort_by_key(|result| matches!(result.content, Content::File(_)));
        results.into_iter().try_for_each(Self::finish)
    }

    /// Gives the result its name.
    pub fn finish(self) -> Result<()> {
        let done = match self.content {
            Content::File(file) => file.persist(&self.file.path).map(drop).map_err(|e| e.error.into()),
            Content::Bytes(bytes) => {
                self.file.open_special().and_then(|mut file| Ok(file.write_all(&bytes)?))
            }
        };
        done.map_err(|e| self.file.refuse(e))
    }
}

/// The directory that holds `path`.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_npy<T>(file: &mut dyn Write, (rows, cols): (usize, usize), data: &[T]) -> Result<()>
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
