//! `--out-type`: the type of the output.

use crate::errors::invalid;
use anyhow::Result;
use qgemm::ElementType;
use std::fmt::{self, Display, Formatter};

/// The type of the output.
#[derive(Clone, Copy, PartialEq)]
pub enum OutType {
    I32,
    F32,
    Int8(ElementType),
}

impl OutType {
    pub fn read(text: &str) -> Result<Self> {
        match text {
            "i32" => Ok(OutType::I32),
            "f32" => Ok(OutType::F32),
            "i8" => Ok(OutType::Int8(ElementType::I8)),
            "u8" => Ok(OutType::Int8(ElementType::U8)),
            other => Err(invalid("--out-type", other, "i32, f32, i8 or u8")),
        }
    }
}

impl Display for OutType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OutType::I32 => f.write_str("i32"),
            OutType::F32 => f.write_str("f32"),
            OutType::Int8(element) => write!(f, "{element}"),
        }
    }
}
