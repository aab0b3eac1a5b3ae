//! Files of packed weights, as `qgemm pack` writes them.

use crate::errors::invalid_because;
use anyhow::Result;
use qgemm::SAVED_MAGIC;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The bytes of the file at `path`, the value of `argument`, if it begins as saved weights do. Pipes are not looked into.
pub fn saved_bytes(argument: &'static str, path: &Path) -> Result<Option<Vec<u8>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let read = || {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(SAVED_MAGIC.len() as u64).read_to_end(&mut bytes)?;
        if bytes != SAVED_MAGIC {
            return Ok(None);
        }
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    read()
        .map_err(|e: std::io::Error| invalid_because(argument, path.display(), e, "a file that can be read"))
}
