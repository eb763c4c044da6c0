//! Small dense linear algebra for fits of a few dozen parameters, on `nalgebra`.

use nalgebra::{DMatrix, DVector};

/// Row-major; the form in which matrices stand in profiles.
pub type Matrix = Vec<Vec<f64>>;

pub(super) fn dense(a: &Matrix) -> DMatrix<f64> {
    let columns = a.first().map_or(0, Vec::len);
    DMatrix::from_fn(a.len(), columns, |i, j| a[i][j])
}

pub(super) fn rows(a: &DMatrix<f64>) -> Matrix {
    a.row_iter().map(|r| r.iter().copied().collect()).collect()
}

/// Solves `a x = b`; directions in which `a` is singular get 0.
pub fn solve(a: &Matrix, b: &[f64]) -> Vec<f64> {
    let (a, b) = (dense(a), DVector::from_row_slice(b));
    let found = a.clone().lu().solve(&b).filter(|x| x.iter().all(|v| v.is_finite()));
    let least = || a.svd(true, true).solve(&b, f64::EPSILON).ok();
    found.or_else(least).map_or_else(|| vec![0.0; b.len()], |x| x.iter().copied().collect())
}

/// Inverse of a symmetric positive definite matrix; of a singular one, its pseudo-inverse.
pub fn inverse(a: &Matrix) -> Matrix {
    let a = dense(a);
    let n = a.nrows();
    let inverse = match a.clone().cholesky() {
        Some(c) => c.inverse(),
        None => a.pseudo_inverse(f64::EPSILON).unwrap_or_else(|_| DMatrix::zeros(n, n)),
    };
    rows(&inverse)
}

/// Lower Cholesky factor of a positive semidefinite matrix; directions without positive variance get (next to) none.
pub fn cholesky(a: &Matrix) -> Matrix {
    let a = dense(a);
    let n = a.nrows();
    let largest = a.diagonal().amax().max(f64::MIN_POSITIVE);
    // Rounding may have made it slightly indefinite.
    let factor = [0.0, 1e-12, 1e-9, 1e-6]
        .iter()
        .find_map(|jitter| (&a + DMatrix::identity(n, n) * (jitter * largest)).cholesky())
        .map_or_else(|| DMatrix::from_diagonal(&a.diagonal().map(|v| v.max(0.0).sqrt())), |c| c.l());
    rows(&factor)
}

/// The matrix that turns draws with this covariance into independent ones of unit variance.
pub fn whitening(covariance: &Matrix) -> Matrix {
    let l = dense(&cholesky(covariance));
    let n = l.nrows();
    rows(&l.solve_lower_triangular(&DMatrix::identity(n, n)).unwrap_or_else(|| DMatrix::zeros(n, n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_and_factor_reproduce_the_matrix() {
        let a = vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, 0.2], vec![0.5, 0.2, 2.0]];
        let (inv, l, w) = (inverse(&a), cholesky(&a), whitening(&a));
        for i in 0..3 {
            for j in 0..3 {
                let unit = f64::from(u8::from(i == j));
                let product: f64 = (0..3).map(|k| a[i][k] * inv[k][j]).sum();
                assert!((product - unit).abs() < 1e-12);
                let square: f64 = (0..3).map(|k| l[i][k] * l[j][k]).sum();
                assert!((square - a[i][j]).abs() < 1e-12);
                let white: f64 = (0..3).map(|k| w[i][k] * l[k][j]).sum();
                assert!((white - unit).abs() < 1e-12);
            }
        }
        let x = solve(&a, &[1.0, 2.0, 3.0]);
        assert!((4.0 * x[0] + x[1] + 0.5 * x[2] - 1.0).abs() < 1e-12);
    }
}
