//! A curve: what is measured, by an amount.

use serde_json::{Value, json};

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

    /// Prints it, and returns the part for the details.
    pub fn show(&self) -> Value {
        println!("\n{} ({})", self.name, self.of[1]);
        for (x, y) in &self.points {
            println!("    {x:>10} {:<14} {y:.3}", self.of[0]);
        }
        json!({ "name": self.name, "of": self.of, "points": self.points })
    }
}
