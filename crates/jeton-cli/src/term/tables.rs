//! Tables as text: whole in a pipe, no wider than a terminal on one. Pure.

use comfy_table::{ContentArrangement, Table, presets};

use crate::term::escape::escape;

/// The least width of a column of values, however narrow the terminal is.
const LEAST_COLUMNS: usize = 20;

/// Names and values, a pair on a line. `columns` is the width of a terminal.
pub fn facts(facts: &[(&str, String)], columns: Option<usize>) -> String {
    let mut table = Table::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), escape(value)]);
    }
    plain(table, columns)
}

/// Rows under a header. On a terminal, columns without any value are left out, and rows that do not fit become blocks of
/// lines.
pub fn rows(header: &[&str], rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return whole(header, rows) };
    let is_used = |index: usize| rows.iter().any(|row| row.get(index).is_some_and(|value| !value.is_empty()));
    let used: Vec<bool> = (0..header.len()).map(|index| rows.is_empty() || is_used(index)).collect();
    let kept = |row: Vec<String>| -> Vec<String> {
        let kept = row.into_iter().zip(&used).filter(|(_, is_used)| **is_used);
        kept.map(|(value, _)| in_seconds(value)).collect()
    };
    let header: Vec<&str> =
        header.iter().zip(&used).filter(|(_, is_used)| **is_used).map(|(name, _)| *name).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(kept).collect();
    let text = whole(&header, rows.clone());
    if text.lines().all(|line| line.chars().count() <= columns) {
        return text;
    }
    let names: Vec<String> = header.iter().map(|name| name.to_lowercase()).collect();
    let block = |row: Vec<String>| {
        let pairs: Vec<_> = names.iter().map(String::as_str).zip(row).collect();
        facts(&pairs, Some(columns))
    };
    rows.into_iter().map(block).collect::<Vec<_>>().join("\n\n")
}

fn whole(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.set_header(header.iter().map(|name| (*name).to_owned()));
    for row in rows {
        let cell = |value: String| if value.is_empty() { "-".to_owned() } else { escape(&value) };
        table.add_row(row.into_iter().map(cell));
    }
    plain(table, None)
}

fn plain(mut table: Table, columns: Option<usize>) -> String {
    table.load_style(presets::NOTHING);
    match columns.and_then(|columns| u16::try_from(columns.max(LEAST_COLUMNS)).ok()) {
        Some(columns) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A time without the fraction of its second; any other text as it is.
fn in_seconds(value: String) -> String {
    let Some((seconds, fraction)) = value.split_once('.') else { return value };
    let is_time = seconds.len() == "2026-01-31T09:00:00".len()
        && seconds.as_bytes().get(10) == Some(&b'T')
        && fraction.strip_suffix('Z').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if is_time { format!("{seconds}Z") } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Vec<Vec<String>> {
        let row = |id: &str| {
            let id = id.repeat(36);
            vec![id.clone(), "user:7".into(), String::new(), "2026-01-31T09:00:00.123456Z".into(), id]
        };
        vec![row("a"), row("b")]
    }

    const HEADER: [&str; 5] = ["SESSION", "SUBJECT", "NOTE", "CREATED", "KEY"];

    #[test]
    fn a_pipe_gets_every_column_on_one_line() {
        let text = rows(&HEADER, sessions(), None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().skip(1).all(|line| line.contains("09:00:00.123456Z") && line.contains(" - ")),
            "{text}"
        );
    }

    #[test]
    fn a_terminal_gets_lines_that_fit_and_nothing_is_cut() {
        let text = rows(&HEADER, sessions(), Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for whole in ["a".repeat(36), "b".repeat(36), "2026-01-31T09:00:00Z".to_owned()] {
            assert!(text.contains(&whole), "{text}");
        }
        assert!(!text.contains("note") && text.contains("\n\n"), "{text}");
        let wide = rows(&HEADER, sessions(), Some(200));
        assert!(wide.starts_with("SESSION") && wide.lines().count() == 3, "{wide}");
        assert_eq!(rows(&HEADER, Vec::new(), Some(80)).lines().count(), 1);
    }

    #[test]
    fn a_long_value_is_wrapped() {
        let text = facts(&[("scopes", "orders:read ".repeat(12)), ("empty", String::new())], Some(80));
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(facts(&[("scopes", "x ".repeat(100))], None).lines().count(), 1);
        assert_eq!(in_seconds("1.8841".into()), "1.8841");
    }
}
