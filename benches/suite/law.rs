//! Which law a curve follows: the simplest of constant, logarithmic and linear that its points allow, by least squares.

use serde_json::{Value, json};

/// Points that differ from their mean by no more than this part of it are those of a constant.
const SAME: f64 = 0.10;

/// A curve with a name.
pub struct Curve {
    pub name: String,
    /// The meaning of x, and of y.
    pub of: [&'static str; 2],
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    pub fn new(name: impl Into<String>, of: [&'static str; 2]) -> Self {
        Self { name: name.into(), of, points: Vec::new() }
    }

    pub fn law(&self) -> String {
        let mean = self.points.iter().map(|(_, y)| y).sum::<f64>() / self.points.len() as f64;
        let furthest = self.points.iter().map(|(_, y)| (y - mean).abs()).fold(0.0, f64::max);
        if furthest <= SAME * mean.abs() || self.points.len() < 3 {
            return format!("constant: {mean:.4}");
        }
        let linear = fit(&self.points, |x| x);
        let logarithmic = fit(&self.points, |x| (x + 1.0).log10());
        if linear.error <= logarithmic.error {
            format!("linear: {:.4} + {} × {}", linear.base, short(linear.slope), self.of[0])
        } else {
            format!("logarithmic: {:.4} + {:.4} per tenfold", logarithmic.base, logarithmic.slope)
        }
    }

    /// Prints the law, and returns the part for the details.
    pub fn show(&self) -> Value {
        println!("\n{} ({}): {}", self.name, self.of[1], self.law());
        for (x, y) in &self.points {
            println!("    {x:>10} {:<14} {y:.3}", self.of[0]);
        }
        json!({ "name": self.name, "of": self.of, "points": self.points, "law": self.law() })
    }
}

fn short(number: f64) -> String {
    if number.abs() < 1e-3 { format!("{number:.2e}") } else { format!("{number:.4}") }
}

/// y = base + slope × f(x).
struct Fit {
    base: f64,
    slope: f64,
    /// Sum of squares.
    error: f64,
}

fn fit(points: &[(f64, f64)], f: fn(f64) -> f64) -> Fit {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(&|(x, _)| f(*x)), mean(&|(_, y)| *y));
    let together = mean(&|(x, y)| (f(*x) - x_mean) * (y - y_mean));
    let alone = mean(&|(x, _)| (f(*x) - x_mean).powi(2));
    let slope = if alone > 0.0 { together / alone } else { 0.0 };
    let base = y_mean - slope * x_mean;
    let error = points.iter().map(|(x, y)| (y - base - slope * f(*x)).powi(2)).sum();
    Fit { base, slope, error }
}
