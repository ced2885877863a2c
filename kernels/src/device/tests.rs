//! Elementwise operations on shapes that do not fit. Products and inverses are in the crate's own tests.

use std::ptr::NonNull;

use super::*;

#[test]
fn misfits_are_errors_and_touch_nothing() {
    let (device, activation) = (Cpu::new(1), Activation::SmoothLeaky { alpha: 0.3 });
    let sevens =
        |rows, cols| Matrix::<Cpu, f64>::from_column_major(&device, &vec![7.0; rows * cols], rows, cols, "").unwrap();
    let (one, two, other) = (sevens(2, 1), sevens(2, 2), sevens(2, 3));
    let (one, two, other) = (one.view(), two.view(), other.view());
    let (mut out, mut wide, mut sums) = (sevens(2, 2), sevens(2, 3), [7.0; 3]);
    let results = [
        device.upload(&[1.0; 3], out.view_mut().into_slice()),
        device.download(two.slice(), &mut sums),
        device.copy(other, out.view_mut()),
        device.add_bias(two, out.view_mut()),
        device.add_bias(sevens(1, 1).view(), out.view_mut()),
        device.bias_activate(activation, None, out.view_mut(), wide.view_mut()),
        device.bias_activate(activation, Some(two), out.view_mut(), sevens(2, 2).view_mut()),
        device.backward_error(activation, other, two, out.view_mut()),
        device.backward_error(activation, two, two, wide.view_mut()),
        device.output_error(Base::Normal, None, other, out.view_mut()),
        device.output_error(Base::Normal, Some(activation), other, out.view_mut()),
        device.slope_and_ratio(activation, two, out.view_mut(), wide.view_mut()),
        device.log_slope_sums(activation, two, &mut sums),
        device.log_density_sums(Base::Normal, two, &mut sums),
        device.standardize(two, other, two, out.view_mut()),
        device.conditional_scores(two, out.view_mut(), wide.view_mut()),
        device.scale_rows(two, other, sevens(2, 4).view_mut()),
        device.scale_rows(two, two, out.view_mut()),
        device.scale_rows_in_place(two, out.view_mut()),
        device.curvature_adjoint(two, two, two, two, out.view_mut()),
        device.curvature_adjoint(one, one, two, other, sevens(2, 1).view_mut()),
        device.add_blocks(1.0, other, out.view_mut()),
        device.transpose_blocks(other, out.view_mut()),
        device.transpose_blocks(two, wide.view_mut()),
        device.scale_and_add(other, None, out.view_mut()),
        device.scale_and_add(two, Some(other), out.view_mut()),
        device.blend(1.0, other, 1.0, out.view_mut()),
        device.add_blocks(1.0, two, wide.view_mut()),
    ];
    for (i, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::ShapeMismatch { .. })), "{i}: {result:?}");
    }
    let untouched = [out.view().slice(), wide.view().slice(), &sums].concat();
    assert!(untouched.iter().all(|&x| x == 7.0));
}

#[test]
fn lent_memory_is_written_to_and_left_to_its_owner() {
    let mut numbers = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let start = NonNull::new(numbers.as_mut_ptr()).unwrap();
    // SAFETY: the vector lives longer and is not touched meanwhile.
    let mut matrix = unsafe { Matrix::<Cpu, f64>::lent(start, 2, 3) };
    assert_eq!(matrix.view().columns(1, 1).slice(), [3.0, 4.0]);
    Cpu::new(1).fill(7.0, matrix.view_mut().columns(1, 1)).unwrap();
    drop(matrix);
    assert_eq!(numbers, [1.0, 2.0, 7.0, 7.0, 5.0, 6.0]);
    let view = MatrixRef::<Cpu, f64>::from_slice(&numbers, 3, 2).unwrap();
    assert_eq!((view.shape(), view.columns(1, 1).slice()), ((3, 2), &numbers[3..]));
    let error = MatrixRef::<Cpu, f64>::from_slice(&numbers, 4, 2).err().unwrap();
    assert_eq!(error.to_string(), "view: expected 4×2 numbers, got 6");
}
