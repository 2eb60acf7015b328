//! The results: a table on standard output, line by line; `target/bench.json` and `target/bench-details.json`. Those of
//! short rounds: `target/bench-quick.json` and `target/bench-quick-details.json`, so that they are not taken for more.

use std::{fs, path::PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::statistics::Summary;

/// The bound of a value.
#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing: it is shown beside others.
    None,
}

/// The units of a measured value and its floor.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Seconds of CPU per call, shown as µs.
    Cpu,
    PerSecond,
    Ms,
    Us,
    Seconds,
    Bytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Cpu => format!("{:.2} µs CPU", value * 1e6),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Ms => format!("{value:.2} ms"),
            Self::Us => format!("{value:.1} µs"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Bytes => format!("{value:.1} B"),
        }
    }
}

impl Bar {
    fn text(self) -> String {
        match self {
            Self::AtLeast(bar) => format!("≥ {bar}"),
            Self::AtMost(bar) => format!("≤ {bar}"),
            Self::None => String::new(),
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
            Self::None => true,
        }
    }
}

/// One value.
pub struct Figure<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub bar: Bar,
    pub unit: Unit,
    pub summary: Summary,
    /// Names and values beside it, for the details.
    pub beside: Value,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    name: String,
    value: f64,
    bar: String,
    holds: bool,
}

pub struct Report {
    /// The beginning of its files' names.
    pub stem: &'static str,
    entries: Vec<Entry>,
    details: Map<String, Value>,
    figures: Vec<Value>,
}

impl Report {
    pub fn new(machine: Value, quick: bool) -> Self {
        println!(
            "| # | measure | measured | floor | value (least … most) | bar | |\n|---|---|---|---|---|---|---|"
        );
        let details = Map::from_iter([("machine".to_owned(), machine)]);
        let stem = if quick { "bench-quick" } else { "bench" };
        Self { stem, entries: Vec::new(), details, figures: Vec::new() }
    }

    pub fn add(&mut self, figure: &Figure<'_>) {
        let Figure { id, name, bar, unit, summary, beside } = figure;
        let Summary { measured, floor, value, least, most } = *summary;
        let holds = bar.holds(value);
        let verdict = match (bar, holds) {
            (Bar::None, _) => "",
            (_, true) => "holds",
            (_, false) => "**not reached**",
        };
        println!(
            "| {id} | {name} | {} | {} | {value:.3} ({least:.3} … {most:.3}) | {} | {verdict} |",
            unit.show(measured),
            unit.show(floor),
            bar.text()
        );
        self.figures.push(json!({
            "id": id, "name": name, "value": value, "least": least, "most": most,
            "measured": unit.show(measured), "floor": unit.show(floor), "bar": bar.text(), "verdict": verdict,
            "beside": beside,
        }));
        if !matches!(bar, Bar::None) {
            let rounded = (value * 1e4).round() / 1e4;
            let (id, name) = ((*id).to_owned(), (*name).to_owned());
            self.entries.push(Entry { id, name, value: rounded, bar: bar.text(), holds });
        }
    }

    /// Something else that was found.
    pub fn detail(&mut self, name: &str, value: Value) {
        self.details.insert(name.to_owned(), value);
    }

    /// Writes the files. What another run found of other things stays.
    pub fn write(mut self) {
        self.details.insert("figures".into(), self.figures.into());
        let entries = serde_json::to_value(&self.entries).unwrap();
        let [brief, full] = ["", "-details"].map(|part| format!("{}{part}.json", self.stem));
        write(&brief, &merged(&brief, entries));
        write(&full, &merged(&full, Value::Object(self.details)));
    }
}

/// The directory of the files.
pub fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    // target/PROFILE/deps/PROGRAM.
    program.ancestors().nth(3).unwrap().to_owned()
}

pub fn read(file: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(target_directory().join(file)).ok()?).ok()
}

fn write(file: &str, value: &Value) {
    fs::write(target_directory().join(file), serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}

/// The new beside what of the old it does not replace.
fn merged(file: &str, new: Value) -> Value {
    match (read(file), new) {
        (Some(Value::Array(old)), Value::Array(new)) => by_id(old, new),
        (Some(Value::Object(mut old)), Value::Object(mut new)) => {
            let figures = (old.remove("figures"), new.remove("figures"));
            if let (Some(Value::Array(before)), Some(Value::Array(now))) = figures {
                old.insert("figures".into(), by_id(before, now));
            }
            old.extend(new);
            Value::Object(old)
        }
        (_, new) => new,
    }
}

fn by_id(old: Vec<Value>, new: Vec<Value>) -> Value {
    let mut all = old;
    for value in new {
        match all.iter_mut().find(|it| it["id"] == value["id"]) {
            Some(place) => *place = value,
            None => all.push(value),
        }
    }
    all.sort_by_key(|it| order(it["id"].as_str().unwrap_or_default()));
    all.into()
}

/// P2 before P10.
fn order(id: &str) -> (u32, String) {
    let number = id.trim_start_matches('P').split('.').next().and_then(|number| number.parse().ok());
    (number.unwrap_or(u32::MAX), id.to_owned())
}
