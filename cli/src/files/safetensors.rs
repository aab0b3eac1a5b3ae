//! Tensors of `.safetensors` files, as if they were in `.npy` files.

use crate::files::npy_header::Header;
use crate::text::one_line;
use qgemm::half::bf16;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// The file and the tensor that `FILE.safetensors:TENSOR` names; `None` if it names none.
pub fn tensor_of(path: &Path) -> Option<(PathBuf, &str)> {
    const ENDING: &str = ".safetensors";
    let text = path.to_str()?;
    let at = text.find(&format!("{ENDING}:"))? + ENDING.len();
    Some((text[..at].into(), &text[at + 1..]))
}

/// Reads a tensor. bfloat16 becomes float32, which is exact.
pub fn read(file: &Path, tensor: &str) -> Result<(Header, Vec<u8>), String> {
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    let wrong_header = |e| format!("safetensors header: {}", one_line(&format!("{e}")));
    let tensors = SafeTensors::deserialize(&bytes).map_err(wrong_header)?;
    let found = tensors
        .tensor(tensor)
        .map_err(|_| format!("it has no tensor of this name{}", some_names(&tensors)))?;
    let descr = match found.dtype() {
        Dtype::BOOL => "|b1",
        Dtype::I8 => "|i1",
        Dtype::U8 => "|u1",
        Dtype::I16 => "<i2",
        Dtype::U16 => "<u2",
        Dtype::I32 => "<i4",
        Dtype::U32 => "<u4",
        Dtype::I64 => "<i8",
        Dtype::U64 => "<u8",
        Dtype::F16 => "<f2",
        Dtype::F32 | Dtype::BF16 => "<f4",
        Dtype::F64 => "<f8",
        other => return Err(format!("it is of {other:?}")),
    };
    let header = Header { descr: descr.into(), fortran: false, shape: found.shape().to_vec() };
    let data = if found.dtype() == Dtype::BF16 {
        let (values, _) = found.data().as_chunks();
        values.iter().flat_map(|value| bf16::from_le_bytes(*value).to_f32().to_le_bytes()).collect()
    } else {
        found.data().to_vec()
    };
    Ok((header, data))
}

/// A few of the names that there are.
fn some_names(tensors: &SafeTensors<'_>) -> String {
    let mut names = tensors.names();
    names.sort_unstable();
    let more = if names.len() > 5 { format!(", and {} more", names.len() - 5) } else { String::new() };
    names.truncate(5);
    format!("; it has {}{more}", one_line(&names.join(", ")))
}
