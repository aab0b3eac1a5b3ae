//! SmolLM2-135M-Instruct, a llama of 135 million parameters, from its GGUF file.
//!
//! All products with weights are `qgemm`'s. The rest is f32 code in which each sum has a fixed order and nothing is fused, so
//! that logits have the same bits on every CPU, for any number of threads, and however many tokens are computed together.

pub mod attention;
pub mod bench;
pub mod cache;
pub mod chat;
pub mod config;
pub mod digest;
pub mod error;
pub mod exp;
pub mod generate;
pub mod gguf;
pub mod lanes;
pub mod model;
pub mod norm;
pub mod options;
pub mod profile;
pub mod rope;
pub mod sampling;
pub mod session;
pub mod tokenizer;
