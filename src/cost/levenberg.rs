//! Levenberg-Marquardt on a vector of residuals, as a solver of `argmin`.

use super::solve::{Matrix, solve};
use argmin::core::{Error, IterState, KV, Operator, Problem, Solver, TerminationReason, TerminationStatus};

/// State of a fit: parameters, Jacobian, residuals.
pub type FitState = IterState<Vec<f64>, (), Matrix, (), Vec<f64>, f64>;

/// Damped Gauss-Newton with a forward-difference Jacobian. Cost is the sum of squared residuals.
#[derive(Debug, Clone)]
pub struct LevenbergMarquardt {
    /// Step of the forward difference.
    pub difference: f64,
    /// Longest change of one parameter in one iteration.
    pub longest: f64,
    /// Ends when an iteration gains less than this share of the cost.
    pub tolerance: f64,
    damping: f64,
    stalled: bool,
}

impl Default for LevenbergMarquardt {
    fn default() -> LevenbergMarquardt {
        LevenbergMarquardt { difference: 0.03, longest: 0.8, tolerance: 2e-3, damping: 0.1, stalled: false }
    }
}

fn cost(r: &[f64]) -> f64 {
    r.iter().map(|v| v * v).sum()
}

impl LevenbergMarquardt {
    fn jacobian<O>(&self, problem: &mut Problem<O>, x: &[f64], r: &[f64]) -> Result<Matrix, Error>
    where
        O: Operator<Param = Vec<f64>, Output = Vec<f64>>,
    {
        let mut rows = vec![vec![0.0; x.len()]; r.len()];
        for j in 0..x.len() {
            let mut y = x.to_vec();
            y[j] += self.difference;
            let moved = problem.problem("residuals", |p| p.apply(&y))?;
            for (row, (a, b)) in rows.iter_mut().zip(moved.iter().zip(r)) {
                row[j] = (a - b) / self.difference;
            }
        }
        Ok(rows)
    }
}

/// `JᵀJ` and `Jᵀr`.
pub fn normal_equations(jacobian: &Matrix, r: &[f64]) -> (Matrix, Vec<f64>) {
    let n = jacobian.first().map_or(0, Vec::len);
    let mut a = vec![vec![0.0; n]; n];
    let mut g = vec![0.0; n];
    for (row, ri) in jacobian.iter().zip(r) {
        for j in 0..n {
            g[j] += row[j] * ri;
            for k in 0..n {
                a[j][k] += row[j] * row[k];
            }
        }
    }
    (a, g)
}

impl<O> Solver<O, FitState> for LevenbergMarquardt
where
    O: Operator<Param = Vec<f64>, Output = Vec<f64>>,
{
    fn name(&self) -> &'static str {
        "Levenberg-Marquardt"
    }

    fn init(
        &mut self,
        problem: &mut Problem<O>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let x = state.take_param().unwrap_or_default();
        let r = problem.problem("residuals", |p| p.apply(&x))?;
        let jacobian = self.jacobian(problem, &x, &r)?;
        let c = cost(&r);
        Ok((state.param(x).residuals(r).jacobian(jacobian).cost(c), None))
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<O>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let x = state.take_param().unwrap_or_default();
        let r = state.take_residuals().unwrap_or_default();
        let jacobian = state.take_jacobian().unwrap_or_default();
        let (a, g) = normal_equations(&jacobian, &r);
        let before = cost(&r);
        for _ in 0..6 {
            let mut damped = a.clone();
            for (j, row) in damped.iter_mut().enumerate() {
                row[j] *= 1.0 + self.damping;
            }
            let step = solve(&damped, &g);
            let y: Vec<f64> =
                x.iter().zip(&step).map(|(v, s)| v - s.clamp(-self.longest, self.longest)).collect();
            let moved = problem.problem("residuals", |p| p.apply(&y))?;
            let after = cost(&moved);
            if after < before {
                self.stalled = before - after < self.tolerance * before;
                self.damping = (self.damping * 0.3).max(1e-4);
                let jacobian = self.jacobian(problem, &y, &moved)?;
                return Ok((state.param(y).residuals(moved).jacobian(jacobian).cost(after), None));
            }
            self.damping *= 4.0;
        }
        self.stalled = true;
        Ok((state.param(x).residuals(r).jacobian(jacobian).cost(before), None))
    }

    fn terminate(&mut self, _: &FitState) -> TerminationStatus {
        if self.stalled {
            TerminationStatus::Terminated(TerminationReason::SolverConverged)
        } else {
            TerminationStatus::NotTerminated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argmin::core::{Executor, State};

    /// y = a e^{-bx} at seven points.
    struct Decay(Vec<(f64, f64)>);

    impl Operator for Decay {
        type Param = Vec<f64>;
        type Output = Vec<f64>;
        fn apply(&self, p: &Vec<f64>) -> Result<Vec<f64>, Error> {
            Ok(self.0.iter().map(|(x, y)| p[0].exp() * (-p[1].exp() * x).exp() - y).collect())
        }
    }

    #[test]
    fn a_curve_is_recovered() {
        let points = (0..7).map(|i| (f64::from(i), 3.0 * (-0.4 * f64::from(i)).exp())).collect();
        let solver = LevenbergMarquardt { tolerance: 1e-9, ..LevenbergMarquardt::default() };
        let done = Executor::new(Decay(points), solver)
            .configure(|s: FitState| s.param(vec![0.0, 0.0]).max_iters(60))
            .run()
            .unwrap();
        let p = done.state().get_best_param().unwrap();
        assert!((p[0].exp() - 3.0).abs() < 1e-3 && (p[1].exp() - 0.4).abs() < 1e-3, "{p:?}");
    }
}
