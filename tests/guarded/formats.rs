//! Weights in the layouts of other software, and saved ones, packed from memory between pages.

use crate::memory::{Guarded, Side};
use crate::{Random, SIDES, cases};
use qgemm::half::f16;
use qgemm::{
    Awq, CodeBits, Error, GgufType, Gptq, GroupwiseB, MatMulNBits, MatMut, MatRef, OnnxZeros, OtherLayout,
    PackedB, saved_info,
};

fn bytes(count: usize, side: Side, r: &mut Random) -> Guarded<u8> {
    Guarded::new(&r.values(count, |x| x as u8), side)
}

fn scales(count: usize, side: Side, r: &mut Random) -> Guarded<f16> {
    Guarded::new(&r.values(count, |x| f16::from_f32((x % 100) as f32 * 0.01)), side)
}

/// Takes the codes out again, to memory between pages.
fn unpack(b: Result<GroupwiseB, Error>, side: Side) {
    let b = b.unwrap();
    let mut codes = Guarded::new(&vec![0u8; b.k() * b.n()], side);
    let mut values = Guarded::new(&vec![0f32; b.k() * b.n()], side);
    if b.element_type() == qgemm::ElementType::U8 {
        b.unpack(MatMut::row_major(&mut codes, b.k(), b.n()).unwrap()).unwrap();
        let last = b.code(b.k() - 1, b.n() - 1).unwrap();
        assert_eq!(i32::from(codes[codes.len() - 1]), last);
    }
    b.dequantize(MatMut::row_major(&mut values, b.k(), b.n()).unwrap()).unwrap();
}

#[test]
fn layouts_of_other_software() {
    let mut r = Random(11);
    for side in SIDES {
        for _ in 0..cases(60) {
            let (groups, n) = (1 + r.below(4), 8 * (1 + r.below(12)));
            let group = r.pick(&[32, 64]);
            let k = groups * group;
            let bits = r.pick(&[CodeBits::Four, CodeBits::Eight]);
            let each = 32 / bits.bits();

            let kind = r.pick(&[GgufType::Q4_0, GgufType::Q4_1, GgufType::Q8_0]);
            let (any_n, blocks) = (1 + r.below(40), k / 32);
            let mut tensor = r.values(any_n * blocks * kind.block_bytes(), |x| x as u8);
            for block in tensor.chunks_exact_mut(kind.block_bytes()) {
                // Finite scales and minimums.
                (block[1], block[3]) = (block[1] & 0x3f, block[3] & 0x3f);
            }
            unpack(GroupwiseB::from_gguf(kind, (any_n, k), &Guarded::new(&tensor, side)), side);

            let (qweight, qzeros) =
                (bytes(k / each * n * 4, side, &mut r), bytes(groups * (n / each) * 4, side, &mut r));
            let of_groups = scales(groups * n, side, &mut r);
            let of_groups = MatRef::row_major(&of_groups, groups, n).unwrap().into();
            let order: Vec<i32> = (0..k).map(|row| (row / group) as i32).collect();
            let order = Guarded::new(&order, side);
            let g_idx = if r.below(2) == 0 { Some(&*order) } else { None };
            let (qweight, qzeros) = (&*qweight, &*qzeros);
            let layer =
                Gptq { k, n, bits, group, qweight, qzeros, scales: of_groups, g_idx, zeros_less_one: false };
            unpack(GroupwiseB::from_gptq(&layer), side);

            let (qweight, qzeros) = (bytes(k * n / 2, side, &mut r), bytes(groups * n / 2, side, &mut r));
            let (qweight, qzeros) = (&*qweight, &*qzeros);
            unpack(GroupwiseB::from_awq(&Awq { k, n, group, qweight, qzeros, scales: of_groups }), side);

            // K that is no multiple of the group.
            let k = k - r.below(group);
            let block_bytes = group * bits.bits() / 8;
            let (b, zeros) = (
                bytes(any_n * groups * block_bytes, side, &mut r),
                bytes(any_n * (groups * bits.bits()).div_ceil(8), side, &mut r),
            );
            let of_columns = scales(any_n * groups, side, &mut r);
            let of_columns = MatRef::row_major(&of_columns, any_n, groups).unwrap().into();
            let zero_points = if r.below(2) == 0 { OnnxZeros::Packed(&zeros) } else { OnnxZeros::None };
            let tensors =
                MatMulNBits { k, n: any_n, bits, block_size: group, b: &b, scales: of_columns, zero_points };
            unpack(GroupwiseB::from_onnx(&tensors), side);
        }
    }
}

/// Saved bytes of every length up to their own, and each with a bit changed somewhere: read, or refused, and no more is read.
#[test]
fn saved_weights() {
    let mut r = Random(12);
    let dispatch = qgemm::Dispatch::auto().unwrap();
    let codes: Vec<i8> = r.values(40 * 9, |x| x as i8);
    let packed = PackedB::pack(MatRef::row_major(&codes, 40, 9).unwrap()).unwrap();
    let w: Vec<f32> = r.values(40 * 9, |x| x as i16 as f32);
    let w = MatRef::row_major(&w, 40, 9).unwrap();
    let groups = qgemm::quantize_groups(w, CodeBits::Four, 16, qgemm::GroupScheme::Asymmetric)
        .unwrap()
        .pack()
        .unwrap();
    let (mut of_columns, mut of_groups) = (Vec::new(), Vec::new());
    packed.save(&mut of_columns).unwrap();
    groups.save(&mut of_groups).unwrap();
    let read = |saved: &[u8], side: Side| {
        let again = || Guarded::new(saved, side);
        let all = [
            saved_info(&again()).is_ok(),
            PackedB::load(&again(), dispatch, OtherLayout::Repack).is_ok(),
            PackedB::map(again(), dispatch, OtherLayout::Repack).is_ok(),
            GroupwiseB::load(&again()).is_ok(),
            GroupwiseB::map(again()).is_ok(),
        ];
        all.iter().filter(|read| **read).count()
    };
    for (saved, side) in
        [&of_columns, &of_groups].into_iter().flat_map(|saved| SIDES.map(|side| (saved, side)))
    {
        assert_eq!(read(saved, side), 3);
        for _ in 0..cases(200) {
            assert_eq!(read(&saved[..r.below(saved.len())], side), 0);
            let mut changed = saved.clone();
            changed[r.below(saved.len())] ^= 1 << r.below(8);
            assert_eq!(read(&changed, side), 0);
            // With a checksum that holds, it may be other weights.
            changed[24..28].fill(0);
            let sum = crc32fast::hash(&changed);
            changed[24..28].copy_from_slice(&sum.to_le_bytes());
            read(&changed, side);
        }
    }
}
