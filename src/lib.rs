//! Exact, fast int8 matrix multiplication with fused requantization.
//!
//! ```text
//! acc[m,n] = Σ_k (A[m,k] - za[m]) · (B[k,n] - zb[n]) + bias[n]
//! ```
//!
//! A (activations) is M×K, B (weights) K×N, each of `i8` or `u8`. B is packed once ([`PackedB`]), a
//! product is described and run by [`Gemm`], and the same inputs give the same outputs on
//! every CPU, for any K, any values and any number of threads. The output is `acc` modulo 2^32 ([`Gemm::run_i32`]),
//! or 8-bit ([`Requantize`]) or f32 values ([`Dequantize`]) made from the full value of `acc`.
//!
//! # Example
//!
//! ```
//! use qgemm::{ElementType, Gemm, MatMut, MatRef, PackedB, Requantize};
//!
//! // Weights: K = 3, N = 2, row-major. Activations will be u8.
//! let weights = [1i8, -2, 3, 4, 5, -6];
//! let b = PackedB::pack_for(MatRef::row_major(&weights, 3, 2)?, ElementType::U8)?;
//!
//! // Two rows of activations, zero point 10, a bias in the scale of the sums.
//! let a = [10u8, 20, 30, 0, 10, 255];
//! let product = Gemm::new(MatRef::row_major(&a, 2, 3)?, &b).a_zero(10).bias(&[1, 2]);
//!
//! // scale = scale_a · scale_b / scale_out for each column; output zero point -3; ReLU.
//! let output = Requantize::new(&[0.5, 0.25], -3)?.clamp_to(-3, 127);
//! let mut y = [0i8; 4];
//! product.run_requantized(MatMut::row_major(&mut y, 2, 2)?, &output)?;
//! assert_eq!(y, [63, -3, 127, -3]);
//! # Ok::<(), qgemm::Error>(())
//! ```
//!
//! # Which call
//!
//! | you have | you call |
//! |---|---|
//! | a float layer, to run in int8 | [`Linear`]: quantizes, packs, runs in three ways |
//! | f32, f16 or bf16 activations and 8-bit weights | [`DynamicGemm`] |
//! | 8-bit activations and weights | [`Gemm`], with [`Requantize`] or [`Dequantize`] |
//! | two 8-bit matrices, once | [`matmul_i32`] |
//! | a convolution, tokens of an expert | [`Gather`] or [`GatherF32`] as A, [`Conv2d`], [`scatter_add_f32`] |
//! | many small products, heads, groups | [`run_batch`] of [`Task`]s, views by [`MatRef::batch`] and [`MatMut::col_chunks`] |
//! | float weights, biases, ranges | [`quantize_columns`], [`quantize_bias`], [`Observer`], [`QuantParams`] |
//!
//! # Features
//!
//! `rayon` (default): large products use the calling thread's rayon pool, or helpers if it belongs to none. Without it
//! they run on that thread alone, or on the threads that it names, with the same results.
//!
//! `huge-pages` (default): on Linux, packed matrices of 4 MiB and more ask for huge pages (`madvise`), with
//! which a matrix-vector product from memory takes a third less time.
//!
//! `ndarray` (not by default): arrays of the crate ndarray are operands ([`MatRef`] and [`MatMut`] by `try_from`), and products
//! give new ones (`Gemm::array_i32` and so on).
//!
//! `serde` (not by default): [`QuantParams`], [`Multiplier`], [`Rounding`], [`ElementType`] and [`Activation`] are
//! serialized, the last three by their names (`"gelu_tanh"`, `"i8"`).
//!
//! `tracing` (not by default): each call is an event of the crate tracing, of level DEBUG and target `qgemm`, with the fields
//! that `QGEMM_VERBOSE` prints.
//!
//! f16 and bf16, as scales and as activations, need no feature; their crate is [`half`].
//!
//! # Environment
//!
//! `QGEMM_ISA` names the instruction set or the kernel to use (see [`Dispatch::auto`]). `QGEMM_CACHES` gives the
//! sizes of the first, second and third level of cache, as `32K,1M,32M`, in place of those that the CPU tells. Blocks
//! are cut for the second, of which it gives the share of one core; no block depends on the other two today.
//! `QGEMM_AMX_OVERHEAD` is a number of cycles by which AMX is chosen for a product, or AVX-512 VNNI (see
//! [`Dispatch::with_amx_overhead`]). `QGEMM_VERBOSE=1` prints a line to standard error for each call: which (`pack`,
//! `quantize`, `gemm` or `groupwise`), A, B and C, zero points and output stage, the kernel, the blocks, the threads that it
//! was cut for, and microseconds. The variables are read once. A wrong value is an error of every call that needs it. None
//! changes any result.
//!
//! # Threads
//!
//! Large products are shared among the threads of the rayon pool that the calling thread belongs to. A thread outside
//! any pool works itself, and helpers of the library join it: one per core, but no more than `RAYON_NUM_THREADS`, started
//! by the first large product; a forked process starts its own. Products that would not pay for waking threads that sleep
//! (less than 100 µs of work, say) are computed by the calling thread alone, unless others are awake. [`Threads`] limits the
//! threads of a call, or names those of an engine; [`Task::into_parts`] gives the parts to an engine.
//!
//! A pool of rayon in a program:
//!
//! | the caller | who works |
//! |---|---|
//! | is in no pool | it and the helpers: nothing to set up |
//! | is inside `pool.install` | the pool's threads. Install once around a whole model, not around each product: each time a thread that sleeps is woken, which takes some 10 µs |
//! | is a closure of `par_iter`, one of many requests or layers | it and those threads of the pool that are idle; with `.threads(1)` no other thread hears of the product, which is best where there are more closures than threads |
//! | is a thread of an async runtime | as in no pool; a product blocks its thread, so that long ones belong in `spawn_blocking` |
//! | has threads of its own that spin | they, by [`Threads::of`] |
//!
//! ```
//! # #[cfg(feature = "rayon")] {
//! use qgemm::{Gemm, MatMut, MatRef};
//! use rayon::prelude::*;
//!
//! let (a, b) = (vec![1i8; 64 * 32], vec![2i8; 32 * 8]);
//! let (a, b) = (MatRef::row_major(&a, 64, 32)?, MatRef::row_major(&b, 32, 8)?);
//! let product = Gemm::new(a, b);
//! let (mut c, mut requests) = (vec![0; 64 * 8], vec![vec![0; 64 * 8]; 10]);
//!
//! // A pool of the program's own does the work of one large product.
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
//! pool.install(|| product.run_i32(MatMut::row_major(&mut c, 64, 8)?))?;
//!
//! // Many small products side by side, each on one thread.
//! pool.install(|| {
//!     requests.par_iter_mut().try_for_each(|c| product.threads(1).run_i32(MatMut::row_major(c, 64, 8)?))
//! })?;
//! assert!(requests.iter().all(|other| *other == c) && c.iter().all(|c| *c == 64));
//! # }
//! # Ok::<(), qgemm::Error>(())
//! ```
//!
//! # Memory
//!
//! A thread keeps its scratch between calls: after the first call of a size nothing is allocated on any thread. A call
//! for which there is not enough memory is an [`Error::Memory`], and its output is as it was. Scratch takes at most about twice the second-level cache (1 to 4 MiB)
//! per thread. The thread also keeps the memory that a call packs an unpacked B into, and that it quantizes
//! the A of a [`DynamicGemm`] into. [`release_thread_memory`] frees all of it.
//!
//! # Glossary
//!
//! - *zero point*: the integer that stands for the real number 0. Any i32, one per matrix, row of A or column of B.
//! - *scale*: the real distance between two consecutive integers. *Requantize*: from sums to 8 bits by a scale.
//! - *micro-kernel*: the code that multiplies MR rows of A by one *panel*, NR columns of packed B, into a *tile* of C.
//! - *KR*: the number of values of k that lie side by side in a panel, because one instruction multiplies and adds
//!   them; together they are a *k-group*.
//! - *MC, KC*: the rows of A and the values of k of a block, which keep A and a panel in cache. *NC*: the panels whose
//!   sums wait in cache meanwhile.
//! - *epilogue*: the step from a tile's sums to the output, while the tile is in registers or in cache.
//!
//! The repository's ARCHITECTURE.md has the layers of the code and the path of a call. The kernels, and all `unsafe`
//! code, are in the crate `qgemm-kernels`.
#![forbid(unsafe_code)]

mod buffer;
mod call;
mod dispatch;
mod element;
mod engine;
mod error;
mod matrix;
mod one_or_each;
mod output;
mod product;
mod quantize;
pub mod reference;
mod rounding;
mod trace;
mod weights;

pub use call::batch::{run_batch, run_batch_on};
pub use call::dynamic::DynamicGemm;
pub use call::gemm::Gemm;
pub use call::groupwise::GroupwiseGemm;
pub use call::linear::builder::LinearBuilder;
pub use call::linear::layer::Linear;
pub use call::matmul::matmul_i32;
pub use call::memory::release_thread_memory;
pub use call::scatter::{scatter_add_f32, scatter_add_i32};
pub use call::task::Task;
pub use dispatch::select::{Dispatch, KernelInfo};
pub use element::{ElementType, Int8Element};
pub use engine::threads::{ParallelFor, Threads};
pub use error::{Error, SavedProblem};
pub use half;
pub use matrix::conv2d::{Conv2d, Conv2dBuilder};
pub use matrix::gather::Gather;
pub use matrix::gather_f32::GatherF32;
pub use matrix::half_matrix::HalfMatrix;
pub use matrix::operand::Operand;
pub use matrix::view::{MatMut, MatRef};
#[cfg(feature = "ndarray")]
pub use ndarray;
pub use one_or_each::OneOrEach;
pub use output::activation::Activation;
pub use output::dequantize::Dequantize;
pub use output::f64_factors::F64Factors;
pub use output::fixed_point::{Multiplier, Multipliers, Rounding};
pub use output::owned::{OwnedDequantize, OwnedRequantize};
pub use output::requantize::Requantize;
pub use output::scale::Scale;
pub use output::table::Table;
pub use product::groupwise::Activations;
pub use product::operands::{FloatLhs, Lhs, Rhs};
pub use product::zero_point::ZeroPoint;
pub use qgemm_kernels::{Amx, Caches, CodeBits, Isa, RawParts, RawPartsMut, ScaleBits};
pub use quantize::bias::{fold_bias, quantize_bias};
pub use quantize::functions::{dequantize, dynamic_quantize_linear, quantize};
pub use quantize::observer::Observer;
pub use quantize::params::QuantParams;
pub use quantize::per_channel::{quantize_columns, quantize_rows};
pub use quantize::scales::{product_scales, requantize_scale, requantize_scales};
pub use weights::groupwise::awq::Awq;
pub use weights::groupwise::builder::GroupwiseBuilder;
pub use weights::groupwise::gguf::GgufType;
pub use weights::groupwise::gptq::Gptq;
pub use weights::groupwise::onnx::{MatMulNBits, OnnxZeros};
pub use weights::groupwise::packed::GroupwiseB;
pub use weights::groupwise::round_to_nearest::{GroupScheme, QuantizedGroups, quantize_groups};
pub use weights::groupwise::scales::GroupScales;
pub use weights::packed::PackedB;
pub use weights::saved::columns::OtherLayout;
pub use weights::saved::format::SAVED_MAGIC;
pub use weights::saved::info::{SavedInfo, SavedKind, saved_info};

/// The README's example is tested like all others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the book are tested, too: a page each.
#[cfg(doctest)]
#[doc = include_str!("../docs/src/linear.md")]
struct BookLinear;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/frameworks.md")]
struct BookFrameworks;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/zero-points.md")]
struct BookZeroPoints;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/four-bits.md")]
struct BookFourBits;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/saved.md")]
struct BookSaved;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/threads.md")]
struct BookThreads;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/migrating.md")]
struct BookMigrating;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/exact.md")]
struct BookExact;
#[cfg(doctest)]
#[doc = include_str!("../docs/src/speed.md")]
struct BookSpeed;
