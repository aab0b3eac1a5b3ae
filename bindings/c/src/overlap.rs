//! Outputs and inputs that share memory, which a call refuses.
//!
//! Inputs are memory from the first to the last element, all of which the library may hold as one slice. An output is its
//! elements alone. So an output may lie between the rows of another output, but not between those of an input.

use crate::status::{Failure, QGEMM_OVERLAP, QGEMM_TOO_LARGE};

/// Addresses from `start` on, before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { start: 0, end: 0 };

    /// Memory of some values.
    pub(crate) fn of<T>(values: &[T]) -> Self {
        let start = values.as_ptr().addr();
        Self { start, end: start + size_of_val(values) }
    }

    /// Memory of `len` values at an address that nobody has checked; nothing, if that overflows.
    pub(crate) fn of_array<T>(first: *const T, len: usize) -> Self {
        Self::of_matrix(first.addr(), (1, len), (0, 1), size_of::<T>())
    }

    /// A matrix from the first to the last element; nothing, if that overflows.
    pub(crate) fn of_matrix(
        first: usize,
        shape: (usize, usize),
        strides: (usize, usize),
        bytes: usize,
    ) -> Self {
        Place::new(first, shape, strides, bytes).span().unwrap_or(Self::EMPTY)
    }

    fn is_empty(self) -> bool {
        self.start >= self.end
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }
}

/// The place of a matrix in memory. Strides are in elements of so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) shape: (usize, usize),
    pub(crate) strides: (usize, usize),
    pub(crate) bytes: usize,
}

impl Place {
    /// Strides that no element is reached by may be any.
    pub(crate) fn new(first: usize, shape: (usize, usize), strides: (usize, usize), bytes: usize) -> Self {
        let used = |size, stride| if size > 1 { stride } else { 0 };
        Self { first, shape, strides: (used(shape.0, strides.0), used(shape.1, strides.1)), bytes }
    }

    /// From the first to the last element; `None` if that does not fit the address space, or is more than any memory has.
    fn span(&self) -> Option<Span> {
        let ((rows, cols), (down, right)) = (self.shape, self.strides);
        if rows == 0 || cols == 0 {
            return Some(Span::EMPTY);
        }
        let last = (rows - 1).checked_mul(down)?.checked_add((cols - 1).checked_mul(right)?)?;
        let bytes =
            last.checked_add(1)?.checked_mul(self.bytes).filter(|&bytes| isize::try_from(bytes).is_ok())?;
        let end = bytes.checked_add(self.first)?;
        Some(Span { start: self.first, end })
    }

    /// Whether an element lies in `span`, at least in part.
    fn has_element_in(&self, span: Span) -> bool {
        let Some(own) = self.span() else { return false };
        if !own.meets(span) {
            return false;
        }
        // Lines are along the longer side, so that there are few.
        let ((rows, cols), (down, right)) = (self.shape, self.strides);
        let (lines, apart, len, step) =
            if rows <= cols { (rows, down, cols, right) } else { (cols, right, rows, down) };
        let (apart, step) = (apart * self.bytes, step * self.bytes);
        (0..lines).any(|line| {
            let first = self.first + line * apart;
            if first >= span.end {
                return false;
            }
            // The first element of the line that ends behind the begin of the span.
            let before = (span.start + 1).saturating_sub(first + self.bytes);
            match before {
                0 => true,
                _ if step == 0 => false,
                _ => before.div_ceil(step) < len && first + before.div_ceil(step) * step < span.end,
            }
        })
    }

    /// Whether all elements of two outputs are known to be distinct.
    fn is_apart_from(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (self.span(), other.span()) else { return true };
        if !own.meets(others) {
            return true;
        }
        // Side by side in the rows (or columns) of one larger matrix: no row of it holds both at the same place.
        let beside =
            |(length, step): (usize, usize), distance: usize, (others, others_step), others_distance| {
                let contiguous = (step == 1 || length == 1) && (others_step == 1 || others == 1);
                let (length, others, distance) =
                    (length * self.bytes, others * self.bytes, distance * self.bytes);
                let same = self.bytes == other.bytes && distance == others_distance * other.bytes;
                if !contiguous || !same || distance == 0 {
                    return false;
                }
                let after = (other.first as i128 - self.first as i128).rem_euclid(distance as i128) as usize;
                after >= length && others <= distance - after
            };
        let (rows, cols) = ((self.shape.0, self.strides.0), (self.shape.1, self.strides.1));
        let (others_rows, others_cols) = ((other.shape.0, other.strides.0), (other.shape.1, other.strides.1));
        beside(cols, rows.1, others_cols, others_rows.1) || beside(rows, cols.1, others_rows, others_cols.1)
    }
}

/// Checks that the extent of an output fits the address space, and that none of its elements lies in an input.
pub(crate) fn check_output(name: &'static str, output: &Place, inputs: &[Span]) -> Result<(), Failure> {
    if output.span().is_none() {
        return Err(Failure::new(QGEMM_TOO_LARGE, name, "reaches past the end of the address space"));
    }
    match inputs.iter().any(|input| output.has_element_in(*input)) {
        true => Err(Failure::new(QGEMM_OVERLAP, name, "overlaps an input of the call, or another output")),
        false => Ok(()),
    }
}

/// Sorts spans and joins those that meet or touch, so that many products have few.
pub(crate) fn join(spans: &mut Vec<Span>) {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable();
    spans.dedup_by(|next, kept| {
        let joined = next.start <= kept.end;
        if joined {
            kept.end = kept.end.max(next.end);
        }
        joined
    });
}

/// Those of joined spans that an output's memory meets.
pub(crate) fn near<'s>(output: &Place, spans: &'s [Span]) -> &'s [Span] {
    let Some(own) = output.span() else { return &[] };
    let first = spans.partition_point(|span| span.end <= own.start);
    let count = spans[first..].partition_point(|span| span.start < own.end);
    &spans[first..first + count]
}

/// Finds an output of a batch that is not known to be apart from all others. `outputs` holds each with its number.
pub(crate) fn find_overlap(outputs: &mut [(Place, usize)]) -> Option<usize> {
    outputs.sort_unstable_by_key(|(place, _)| place.span().map_or(0, |span| span.start));
    for (at, (place, _)) in outputs.iter().enumerate() {
        let Some(own) = place.span() else { continue };
        let later = outputs[at + 1..].iter();
        let near = later.take_while(|(other, _)| other.span().is_none_or(|span| span.start < own.end));
        for (other, number) in near {
            if !place.is_apart_from(other) {
                return Some(*number);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn bytes(place: &Place) -> HashSet<usize> {
        let ((rows, cols), (down, right)) = (place.shape, place.strides);
        let elements = (0..rows).flat_map(|i| (0..cols).map(move |j| i * down + j * right));
        elements.flat_map(|at| (0..place.bytes).map(move |b| place.first + at * place.bytes + b)).collect()
    }

    fn places(first: usize, bytes: usize) -> impl Iterator<Item = Place> {
        let shapes = (0..4).flat_map(|rows| (0..4).map(move |cols| (rows, cols)));
        let strides = (0..7).flat_map(|down| (0..7).map(move |right| (down, right)));
        shapes.flat_map(move |shape| {
            strides.clone().map(move |strides| Place::new(first, shape, strides, bytes))
        })
    }

    #[test]
    fn elements_in_a_span_are_found() {
        for element in [1, 2, 4] {
            for place in places(100, element) {
                let all = bytes(&place);
                for start in 95..112 {
                    for end in start..start + 9 {
                        let want = (start..end).any(|at| all.contains(&at));
                        assert_eq!(
                            place.has_element_in(Span { start, end }),
                            want,
                            "{place:?} {start}..{end}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn outputs_called_apart_are_apart() {
        let (mut apart, mut refused) = (0, 0);
        for one in places(100, 2) {
            let own = bytes(&one);
            for other in (92..112).step_by(2).flat_map(|first| places(first, 2)) {
                if one.is_apart_from(&other) {
                    assert!(own.is_disjoint(&bytes(&other)), "{one:?} {other:?}");
                    apart += 1;
                } else {
                    refused += 1;
                }
            }
        }
        assert!(apart > 100_000 && refused > 100_000);
        let head = |first| Place::new(first, (5, 4), (12, 1), 4);
        let mut heads = [(head(16), 0), (head(0), 1), (head(32), 2)];
        assert_eq!(find_overlap(&mut heads), None);
        heads[0].0.first += 4;
        assert!(find_overlap(&mut heads).is_some());
    }

    #[test]
    fn outputs_that_no_memory_holds_are_refused_at_once() {
        // Its lines are too many to be looked at one by one.
        let half = 1 << (usize::BITS / 2);
        let all = Span { start: 0, end: usize::MAX };
        for strides in [(half / 2, 1), (1, half / 2)] {
            let place = Place::new(8, (half, half), strides, 1);
            assert!(check_output("output", &place, &[all]).is_err());
            assert_eq!(place.span(), None);
        }
    }

    #[test]
    fn spans_are_joined_and_found() {
        let span = |start, end| Span { start, end };
        let mut spans = vec![span(5, 9), span(1, 3), span(20, 30), span(9, 10), span(7, 7), span(2, 4)];
        join(&mut spans);
        assert_eq!(spans, [span(1, 4), span(5, 10), span(20, 30)]);
        let row = |first| Place::new(first, (1, 5), (5, 1), 1);
        assert_eq!(near(&row(10), &spans), []);
        assert_eq!(near(&row(3), &spans), &spans[..2]);
        assert_eq!(near(&row(16), &spans), &spans[2..]);
    }
}
