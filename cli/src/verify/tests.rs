//! Wrong results must be noticed.

use crate::arguments::machine::dispatch;
use crate::files::matrices::Elements8;
use crate::verify::case::{Call, Destination, Layout, OwnedLhs, Product, Static};
use crate::verify::outcome::{Buffer, Outcome, difference};
use crate::verify::run::{by_definition, by_kernels};
use crate::verify::{draw, thread_pools};
use qgemm::Dispatch;
use rayon::ThreadPool;

const CASES: u64 = 300;

fn portable() -> (Dispatch, Vec<ThreadPool>) {
    (dispatch("portable").unwrap(), thread_pools().unwrap())
}

impl Buffer {
    /// Inverts a bit of element `at`.
    fn spoil(&mut self, at: usize) {
        match self {
            Buffer::I32(c) => c[at] ^= 1 << 31,
            Buffer::I8(c) => c[at] ^= 1,
            Buffer::U8(c) => c[at] ^= 1,
            Buffer::F32(c) => c[at] = f32::from_bits(c[at].to_bits() ^ 1),
        }
    }

    fn pop(&mut self) {
        match self {
            Buffer::I32(c) => drop(c.pop()),
            Buffer::I8(c) => drop(c.pop()),
            Buffer::U8(c) => drop(c.pop()),
            Buffer::F32(c) => drop(c.pop()),
        }
    }
}

impl Outcome {
    fn buffers(&mut self) -> &mut Vec<Buffer> {
        match self {
            Outcome::Computed(buffers) => buffers,
            _ => panic!("the case was computed"),
        }
    }
}

/// One wrong bit is found and its place is named, in an element or in what lies between elements.
#[test]
fn one_wrong_bit_is_noticed() {
    let (dispatch, pools) = portable();
    for index in 0..CASES {
        let case = draw::case(1, index);
        let expected = Outcome::of(|| by_definition(&case));
        let mut got = Outcome::of(|| by_kernels(&case, &dispatch, &pools));
        assert_eq!(difference(&expected, &got, &case), None, "case {index}\n{case}");
        for (i, destination) in case.destinations().into_iter().enumerate() {
            let Destination { rows, cols, layout, .. } = *destination;
            let Layout { row_stride, col_stride, len } = layout;
            let mut spoil = |at| {
                got.buffers()[i].spoil(at);
                let difference = difference(&expected, &got, &case).unwrap_or_default();
                got.buffers()[i].spoil(at);
                difference
            };
            let is_empty = rows == 0 || cols == 0;
            if !is_empty {
                let (row, col) = (index as usize % rows, index as usize % cols);
                let message = spoil(row * row_stride + col * col_stride);
                let place = format!("product {i}: 1 differ, the first at row {row}, column {col}: was ");
                assert!(message.starts_with(&place), "case {index}: {message}");
            }
            let end = if is_empty { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
            if end < len {
                assert!(spoil(end).contains("outside of the matrix"), "case {index}");
            }
        }
    }
}

/// An output too few or too many is noticed, and so is a buffer that is too short, on either side.
#[test]
fn missing_outputs_are_noticed() {
    let mut batches = 0;
    for index in 0..CASES {
        let case = draw::case(1, index);
        let Call::Batch(products) = &case.call else { continue };
        if products.is_empty() {
            continue;
        }
        batches += 1;
        let outcome = || Outcome::of(|| by_definition(&case));
        assert_eq!(difference(&outcome(), &outcome(), &case), None);
        let mut fewer = outcome();
        fewer.buffers().pop();
        let mut more = outcome();
        more.buffers().push(Buffer::I8(Vec::new()));
        let mut shorter = outcome();
        let last = shorter.buffers().iter_mut().zip(case.destinations()).rfind(|(_, c)| c.layout.len > 0);
        for wrong in [&fewer, &more] {
            assert!(difference(&outcome(), wrong, &case).is_some(), "case {index}");
            assert!(difference(wrong, &outcome(), &case).is_some(), "case {index}");
            assert!(difference(wrong, wrong, &case).is_some(), "case {index}");
        }
        if let Some((buffer, _)) = last {
            buffer.pop();
            assert!(difference(&outcome(), &shorter, &case).is_some(), "case {index}");
            assert!(difference(&shorter, &outcome(), &case).is_some(), "case {index}");
        }
    }
    assert!(batches > 10, "{batches}");
}

/// Products with another B are noticed, in cases of each kind.
#[test]
fn wrong_products_are_noticed() {
    let (dispatch, pools) = portable();
    let (mut noticed, mut seen) = ([0; 4], [0; 4]);
    for index in 0..CASES {
        let case = draw::case(2, index);
        let expected = Outcome::of(|| by_definition(&case));
        let mut wrong = case;
        let (kind, matrices) = match &mut wrong.call {
            Call::Single(Product { quantization: Static { a: OwnedLhs::Matrix(_), .. }, b, .. }) => {
                (0, vec![b])
            }
            Call::Single(Product { b, .. }) => (1, vec![b]),
            Call::Dynamic(Product { b, .. }) => (2, vec![b]),
            Call::Batch(products) => (3, products.iter_mut().map(|product| &mut product.b).collect()),
        };
        for b in matrices {
            match &mut b.data {
                Elements8::I8(data) => data.iter_mut().for_each(|x| *x ^= 0x40),
                Elements8::U8(data) => data.iter_mut().for_each(|x| *x ^= 0x40),
            }
        }
        let got = Outcome::of(|| by_kernels(&wrong, &dispatch, &pools));
        seen[kind] += 1;
        noticed[kind] += usize::from(difference(&expected, &got, &wrong).is_some());
    }
    // Saturated outputs and empty products do not change with B.
    for (noticed, seen) in noticed.into_iter().zip(seen) {
        assert!(seen >= 20 && noticed * 2 > seen, "{noticed} of {seen}");
    }
}
