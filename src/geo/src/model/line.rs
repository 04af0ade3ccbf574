//! The distance line.

/// Round trip by distance: a base and a slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Milliseconds at no distance.
    pub base_ms: f64,
    /// Milliseconds for each kilometre.
    pub ms_per_km: f64,
}

/// Turns of the fit; it is within 0.01 ms long before.
const TURNS: usize = 50;

/// Below this residual a point weighs no more, so that points on the line do not divide by nothing.
const RESIDUAL_MIN_MS: f64 = 0.1;

impl Default for Line {
    /// What 105 cities saw of 32 PoPs in July 2020, rounded.
    fn default() -> Self {
        Self { base_ms: 15.0, ms_per_km: 0.017 }
    }
}

impl Line {
    /// The line of the least sum of absolute residuals through (kilometres, milliseconds): single detours, however
    /// long, do not bend it. Iteratively reweighted least squares. Fewer than 8 points give the default, and so do
    /// points that say that what is farther is nearer.
    #[must_use]
    pub fn fit(points: &[(f64, f64)]) -> Self {
        let mut line = Self::default();
        if points.len() < 8 {
            return line;
        }
        for _ in 0..TURNS {
            let (mut w, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (km, ms) in points {
                let weight = 1.0 / (ms - line.at(*km)).abs().max(RESIDUAL_MIN_MS);
                w += weight;
                x += weight * km;
                y += weight * ms;
                xx += weight * km * km;
                xy += weight * km * ms;
            }
            let spread = w * xx - x * x;
            if spread.abs() < 1e-9 {
                return Self::default();
            }
            let slope = (w * xy - x * y) / spread;
            line = Self { base_ms: (y - slope * x) / w, ms_per_km: slope };
        }
        let sane = line.base_ms.is_finite() && line.ms_per_km.is_finite() && line.ms_per_km > 0.0;
        if sane { line } else { Self::default() }
    }

    /// Milliseconds at a distance.
    #[must_use]
    pub fn at(self, km: f64) -> f64 {
        self.base_ms + self.ms_per_km * km
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_do_not_bend_the_line() {
        let mut points: Vec<_> =
            (0..100).map(|n| (f64::from(n) * 100.0, 10.0 + f64::from(n) * 1.8)).collect();
        points.extend((0..30).map(|n| (f64::from(n) * 50.0, 300.0)));
        let line = Line::fit(&points);
        assert!((line.base_ms - 10.0).abs() < 0.5 && (line.ms_per_km - 0.018).abs() < 1e-4, "{line:?}");
    }

    #[test]
    fn too_little_or_senseless_evidence_gives_the_default() {
        assert_eq!(Line::fit(&[]), Line::default());
        assert_eq!(Line::fit(&[(100.0, 5.0); 20]), Line::default());
        let backwards: Vec<_> = (0..20).map(|n| (f64::from(n) * 100.0, 300.0 - f64::from(n))).collect();
        assert_eq!(Line::fit(&backwards), Line::default());
    }
}
