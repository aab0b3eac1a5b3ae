//! The ways in which a file may not be the model that this program runs.

/// A file that this program cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The metadata has no such key, or one of another type.
    #[error("metadata '{key}' is missing or is no {expected}")]
    Metadata {
        /// The key.
        key: String,
        /// The type.
        expected: &'static str,
    },
    /// A number or text of the metadata is none that this program supports.
    #[error("metadata '{key}' is {got}, must be {expected}")]
    Unsupported {
        /// The key.
        key: String,
        /// The value in the file.
        got: String,
        /// The values that are supported.
        expected: String,
    },
    /// There is no such tensor.
    #[error("tensor '{0}' is missing")]
    MissingTensor(String),
    /// A tensor has another shape than the metadata say.
    #[error("tensor '{name}' is {got:?}, must be {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file, the dimension of contiguous values first.
        got: Vec<u64>,
        /// The shape that the metadata say.
        expected: Vec<u64>,
    },
    /// A tensor has a type that this program does not read.
    #[error("tensor '{name}' has type {got}, must be {expected}")]
    Type {
        /// The tensor.
        name: String,
        /// The number of the type, as in `ggml`.
        got: u32,
        /// The types that are read.
        expected: &'static str,
    },
    /// The file ends within a tensor.
    #[error("tensor '{0}' does not lie within the file")]
    Truncated(String),
}
