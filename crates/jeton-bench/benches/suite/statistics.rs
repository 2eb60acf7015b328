//! Rounds in pairs: a measure and its floor alternate, so that other work of the machine affects both. The median of
//! the ratios counts; their spread is shown.

/// One round.
#[derive(Clone, Copy)]
pub struct Pair {
    pub measured: f64,
    pub floor: f64,
    pub result: f64,
}

/// The result of several rounds.
#[derive(Clone, Copy)]
pub struct Summary {
    /// The value of the round with the median result.
    pub measured: f64,
    pub floor: f64,
    /// The median.
    pub value: f64,
    pub least: f64,
    pub most: f64,
}

impl Pair {
    /// For costs: the floor's cost as a part of the measured cost.
    pub fn of_costs(measured: f64, floor: f64) -> Self {
        Self { measured, floor, result: floor / measured }
    }

    /// The multiple of the floor.
    pub fn times(measured: f64, floor: f64) -> Self {
        Self { measured, floor, result: measured / floor }
    }

    /// The excess over the floor.
    pub fn above(measured: f64, floor: f64) -> Self {
        Self { measured, floor, result: measured - floor }
    }
}

impl Summary {
    pub fn of(pairs: &[Pair]) -> Self {
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|a, b| a.result.total_cmp(&b.result));
        let (first, middle, last) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
        Self {
            measured: middle.measured,
            floor: middle.floor,
            value: middle.result,
            least: first.result,
            most: last.result,
        }
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    part(values, 0.5)
}

/// The least that this part of them does not exceed.
pub fn part(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
