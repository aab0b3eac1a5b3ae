//! The places of the elements of strided matrices: how far they reach, and whether any two coincide.

/// The reason why memory cannot hold a strided matrix, or a batch of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The last element lies past the end of the slice, which needs this length.
    TooShort(usize),
    /// The needed length does not fit the address space.
    TooLarge,
    /// Two elements coincide, or those of a batch are not known to be distinct.
    Overlap,
    /// The first element's address is null, or no multiple of the alignment.
    Address {
        /// The address.
        got: usize,
        /// The alignment that the elements need.
        align: usize,
    },
}

/// The least length of a slice that holds such a matrix; `None` where that overflows.
pub fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    rows.checked_mul(cols)?;
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let down = (rows - 1).checked_mul(row_stride)?;
    let right = (cols - 1).checked_mul(col_stride)?;
    down.checked_add(right)?.checked_add(1)
}

/// The least length of a slice that holds `count` matrices of one shape (rows and columns) and the same strides, each
/// of which begins `distance` elements after the one before it; `None` where that, or the number of elements,
/// overflows.
pub fn batch_extent(
    count: usize,
    distance: usize,
    (rows, cols): (usize, usize),
    (row_stride, col_stride): (usize, usize),
) -> Option<usize> {
    let one = extent(rows, cols, row_stride, col_stride)?;
    count.checked_mul(rows * cols)?;
    if count == 0 || one == 0 {
        return Some(0);
    }
    (count - 1).checked_mul(distance)?.checked_add(one)
}

/// Whether two elements of a matrix coincide.
///
/// (i, j) and (i', j') coincide if (i - i')·rs = (j' - j)·cs. With g = gcd(rs, cs) the smallest such step is cs/g rows
/// against rs/g columns, so there are two such elements exactly if the matrix has more rows and more columns than that.
pub(crate) fn overlaps(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    if rows == 0 || cols == 0 || (col_stride == 1 && row_stride >= cols) {
        return false;
    }
    let (mut g, mut rest) = (row_stride, col_stride);
    while rest != 0 {
        (g, rest) = (rest, g % rest);
    }
    match (row_stride.checked_div(g), col_stride.checked_div(g)) {
        (Some(cols_apart), Some(rows_apart)) => rows_apart < rows && cols_apart < cols,
        _ => rows > 1 || cols > 1,
    }
}

/// Whether the elements of all matrices of a batch are known to be distinct; see [`batch_extent`] for the arguments.
///
/// They are if two of the three dimensions (matrices, rows, columns) make up a matrix of distinct elements, and the
/// stride of the third is at least that matrix's extent, so that one copy of it ends before the next begins. Every
/// batch whose dimensions nest is of this kind. A few others are distinct as well, such as 2x2x2 elements with strides
/// 6, 10 and 15.
pub(crate) fn batch_is_distinct(
    count: usize,
    distance: usize,
    (rows, cols): (usize, usize),
    (row_stride, col_stride): (usize, usize),
) -> bool {
    let (matrices, rows, cols) = ((count, distance), (rows, row_stride), (cols, col_stride));
    let nests = |outer: (usize, usize), x: (usize, usize), y: (usize, usize)| {
        let apart = || extent(x.0, y.0, x.1, y.1).is_some_and(|extent| outer.1 >= extent);
        !overlaps(x.0, y.0, x.1, y.1) && (outer.0 <= 1 || apart())
    };
    let empty = matrices.0 == 0 || rows.0 == 0 || cols.0 == 0;
    empty || nests(matrices, rows, cols) || nests(rows, matrices, cols) || nests(cols, matrices, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_exact() {
        for rows in 0..4 {
            for cols in 0..5 {
                for rs in 0..8 {
                    for cs in 0..8 {
                        let mut seen = [0u8; 64];
                        for i in 0..rows {
                            for j in 0..cols {
                                seen[i * rs + j * cs] += 1;
                            }
                        }
                        let want = seen.iter().any(|&s| s > 1);
                        assert_eq!(overlaps(rows, cols, rs, cs), want, "{rows}x{cols} {rs},{cs}");
                    }
                }
            }
        }
    }

    /// Whether the dimensions, from the one of the least stride on, each step over all of those before.
    fn nest(mut dimensions: [(usize, usize); 3]) -> bool {
        dimensions.sort_by_key(|&(_, stride)| stride);
        let mut extent = 1;
        dimensions.into_iter().filter(|&(size, _)| size > 1).all(|(size, stride)| {
            let over = stride >= extent;
            extent += (size - 1) * stride;
            over
        })
    }

    #[test]
    fn batches_are_called_distinct_only_if_they_are_and_always_if_they_nest_or_are_one_matrix() {
        let (mut accepted, mut refused_though_distinct) = (0, 0);
        for (count, rows, cols) in
            (0..4).flat_map(|b| (0..4).flat_map(move |m| (0..4).map(move |n| (b, m, n))))
        {
            for (distance, rs, cs) in
                (0..17).flat_map(|d| (0..13).flat_map(move |rs| (0..13).map(move |cs| (d, rs, cs))))
            {
                let mut seen = [false; 3 * 16 + 2 * 12 + 2 * 12 + 1];
                let mut distinct = true;
                let mut end = 0;
                for b in 0..count {
                    for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                        let at = b * distance + i * rs + j * cs;
                        distinct &= !core::mem::replace(&mut seen[at], true);
                        end = end.max(at + 1);
                    }
                }
                let of = (count, distance, (rows, cols), (rs, cs));
                assert_eq!(batch_extent(count, distance, (rows, cols), (rs, cs)), Some(end), "{of:?}");
                let called = batch_is_distinct(count, distance, (rows, cols), (rs, cs));
                assert!(distinct || !called, "{of:?}");
                if count <= 1 || rows <= 1 || cols <= 1 {
                    assert_eq!(called, distinct, "{of:?}");
                }
                if nest([(count, distance), (rows, rs), (cols, cs)]) {
                    assert!(called, "{of:?}");
                }
                accepted += usize::from(called);
                refused_though_distinct += usize::from(distinct && !called);
            }
        }
        assert!(accepted > 20 * refused_though_distinct, "{accepted}, {refused_though_distinct}");
    }

    #[test]
    fn extents_that_overflow_are_none() {
        let max = usize::MAX;
        assert_eq!(batch_extent(max, 2, (1, 1), (1, 1)), None);
        assert_eq!(batch_extent(2, max, (1, 1), (1, 1)), None);
        assert_eq!(batch_extent(2, max - 1, (1, 1), (1, 1)), Some(max));
        assert_eq!(batch_extent(2, 0, (1, max), (0, 0)), None);
        assert_eq!(batch_extent(1, max, (1, max), (0, 0)), Some(1));
        assert_eq!(batch_extent(max, max, (0, max), (max, max)), Some(0));
        assert_eq!(batch_extent(0, max, (1, 1), (max, max)), Some(0));
        assert_eq!(batch_extent(0, max, (2, 2), (max, max)), None);
        assert!(batch_is_distinct(0, 0, (max, max), (0, 0)));
        assert!(batch_is_distinct(max, 0, (max, 0), (0, 0)));
        assert!(!batch_is_distinct(2, max, (2, 2), (max, max)));
    }
}
