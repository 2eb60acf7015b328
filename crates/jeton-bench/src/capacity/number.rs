//! Numbers for people.

/// Three significant digits, and thousands separated.
pub fn number(value: f64) -> String {
    let whole = value.round();
    let is_whole = (value - whole).abs() < 1e-9;
    if value >= 100.0 || is_whole {
        return grouped(&format!("{whole:.0}"));
    }
    let digits = match value {
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(index);
        if index > 0 && left.is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Decimal bytes.
pub fn bytes(value: f64) -> String {
    scaled(value, ["B", "kB", "MB", "GB", "TB"])
}

/// Bits per second.
pub fn bits(value: f64) -> String {
    format!("{}/s", scaled(value, ["bit", "kbit", "Mbit", "Gbit", "Tbit"]))
}

fn scaled(value: f64, units: [&str; 5]) -> String {
    let [first, larger @ ..] = units;
    let (mut value, mut unit) = (value, first);
    for next in larger {
        if value < 1e3 {
            break;
        }
        (value, unit) = (value / 1e3, next);
    }
    format!("{} {unit}", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (value, text) in [
            (0.0, "0"),
            (4.4, "4.40"),
            (0.012, "0.0120"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1e6, "1 000 000"),
            (18_200.0, "18 200"),
            (10.0, "10"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (bytes(64.0), bytes(35.4e6), bytes(3.2e12)),
            ("64 B".into(), "35.4 MB".into(), "3.20 TB".into())
        );
        assert_eq!(bits(2.1e9), "2.10 Gbit/s");
    }
}
