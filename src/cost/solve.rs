//! Small dense linear algebra for fits of a few dozen parameters.

/// Row-major symmetric matrix helpers work on plain vectors: the sizes are tiny.
pub type Matrix = Vec<Vec<f64>>;

/// Solves `a x = b` by Gaussian elimination with partial pivoting; a singular row gives 0.
pub fn solve(mut a: Matrix, b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut b = b.to_vec();
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        if a[i][i].abs() < 1e-300 {
            continue;
        }
        let (done, rest) = a.split_at_mut(i + 1);
        for (row, value) in rest.iter_mut().zip(i + 1..n) {
            let f = row[i] / done[i][i];
            if f != 0.0 {
                row[i..].iter_mut().zip(&done[i][i..]).for_each(|(x, y)| *x -= f * y);
                b[value] -= f * b[i];
            }
        }
    }
    for i in (0..n).rev() {
        let s: f64 = (i + 1..n).map(|j| a[i][j] * b[j]).sum();
        b[i] = if a[i][i].abs() < 1e-300 { 0.0 } else { (b[i] - s) / a[i][i] };
    }
    b
}

/// Inverse of a symmetric matrix.
pub fn inverse(a: &Matrix) -> Matrix {
    let n = a.len();
    let columns: Matrix = (0..n)
        .map(|j| {
            let e: Vec<f64> = (0..n).map(|i| if i == j { 1.0 } else { 0.0 }).collect();
            solve(a.clone(), &e)
        })
        .collect();
    // Rounding must not make it asymmetric.
    (0..n).map(|i| (0..n).map(|j| f64::midpoint(columns[i][j], columns[j][i])).collect()).collect()
}

/// Lower Cholesky factor; directions without positive variance get none.
pub fn cholesky(a: &Matrix) -> Matrix {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let s: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            if i == j {
                l[i][i] = (a[i][i] - s).max(0.0).sqrt();
            } else if l[j][j] > 1e-150 {
                l[i][j] = (a[i][j] - s) / l[j][j];
            }
        }
    }
    l
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_and_factor_reproduce_the_matrix() {
        let a = vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, 0.2], vec![0.5, 0.2, 2.0]];
        let (inv, l) = (inverse(&a), cholesky(&a));
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| a[i][k] * inv[k][j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
                let square: f64 = (0..3).map(|k| l[i][k] * l[j][k]).sum();
                assert!((square - a[i][j]).abs() < 1e-12);
            }
        }
        let x = solve(a, &[1.0, 2.0, 3.0]);
        assert!((4.0 * x[0] + x[1] + 0.5 * x[2] - 1.0).abs() < 1e-12);
    }
}
