//! What views, weights and layers print of themselves: shapes, not their elements.

use qgemm::*;

#[test]
fn shapes_are_printed() {
    let (bytes, floats, mut sums) = ([1u8; 12], [1f32; 12], [0i32; 12]);
    let a = MatRef::new(&bytes, 3, 2, 4, 1).unwrap();
    assert_eq!(format!("{a:?}"), "MatRef { rows: 3, cols: 2, row_stride: 4, col_stride: 1, .. }");
    let c = MatMut::new(&mut sums, 3, 2, 4, 1).unwrap();
    assert_eq!(format!("{c:?}"), "MatMut { rows: 3, cols: 2, row_stride: 4, col_stride: 1, .. }");

    let gather = format!("{:?}", Gather::new(a, &[0, 1, 2, 0], 2).unwrap());
    assert!(gather.starts_with("Gather { rows: 2, cols: 4, taps: 2, source: "), "{gather}");
    let x = MatRef::row_major(&floats, 3, 4).unwrap();
    let gather = format!("{:?}", GatherF32::new(x, &[0, 1, 2, 0], 2).unwrap());
    assert!(gather.starts_with("GatherF32 { rows: 2, cols: 8, taps: 2, source: MatRef"), "{gather}");

    let packed = PackedB::pack(a).unwrap();
    assert!(format!("{packed:?}").starts_with("PackedB { k: 3, n: 2, "), "{packed:?}");
    let groups = quantize_groups(x, CodeBits::Four, 8, GroupScheme::Symmetric).unwrap().pack().unwrap();
    let printed = format!("{groups:?}");
    assert!(
        printed.starts_with("GroupwiseB { k: 3, n: 4, bits: Four, group: 8, element_type: U8, "),
        "{printed}"
    );
    let layer = Linear::out_in(x).build().unwrap();
    let printed = format!("{layer:?}");
    assert!(printed.starts_with("Linear { weights: PackedB { k: 4, n: 3, "), "{printed}");
}
