//! `docs/performance.md`, written from the results of the runs before.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::{
    plot,
    report::{read, target_directory},
};

/// Text made of results.
type Part = fn(&Value) -> String;

const TEMPLATE: &str = include_str!("performance.md.in");

pub fn write() {
    let details = read("bench-details.json").expect("results: run `make bench` first");
    let parts: [(&str, Part); 6] = [
        ("machine", |it| machine(&it["machine"])),
        ("figures", |it| figures(&it["figures"])),
        ("rates", |it| rates(&it["figures"])),
        ("growth", |it| growth(&it["growth"])),
        ("overload", |it| overload(&it["overload"])),
        ("disturbed", |it| disturbed(&it["disturbed"])),
    ];
    let mut text = TEMPLATE.to_owned();
    for (name, part) in parts {
        text = text.replace(&format!("{{{{{name}}}}}"), part(&details).trim_end());
    }
    plot::draw("bench");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for picture in [plot::THROUGHPUT, plot::LATENCY].map(|it| format!("bench-{it}")) {
        fs::copy(target_directory().join(&picture), docs.join(&picture)).unwrap();
    }
    fs::write(docs.join("performance.md"), text).unwrap();
    println!("docs/performance.md is written");
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text as it is, a number with so many digits behind the point.
fn show(value: &Value, digits: usize) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    value.as_f64().map_or_else(String::new, |number| format!("{number:.digits$}"))
}

fn machine(machine: &Value) -> String {
    let postgres = &machine["postgres"];
    let text = |value: &Value| show(value, 0);
    let mut out = String::from("| | |\n|---|---|\n");
    let lines = [
        ("CPU", format!("{}, {} cores", text(&machine["cpu"]), text(&machine["cores"]))),
        ("memory", text(&machine["memory"])),
        ("kernel", text(&machine["kernel"])),
        (
            "Postgres",
            format!(
                "{}; fsync {}, synchronous_commit {}, shared_buffers {}",
                text(&postgres["server_version"]),
                text(&postgres["fsync"]),
                text(&postgres["synchronous_commit"]),
                text(&postgres["shared_buffers"])
            ),
        ),
        ("jeton", format!("{}, {} build", text(&machine["version"]), text(&machine["profile"]))),
        ("time", text(&machine["time"])),
    ];
    for (name, what) in lines {
        writeln!(out, "| {name} | {what} |").unwrap();
    }
    out
}

fn figures(figures: &Value) -> String {
    let mut out = String::from(
        "| # | measure | measured | floor | value | least … most | bar | |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for it in rows(figures) {
        let text = |name: &str| show(&it[name], 3);
        let [id, name, measured, floor] = ["id", "name", "measured", "floor"].map(text);
        let [value, least, most, bar, verdict] = ["value", "least", "most", "bar", "verdict"].map(text);
        writeln!(
            out,
            "| {id} | {name} | {measured} | {floor} | {value} | {least} … {most} | {bar} | {verdict} |"
        )
        .unwrap();
    }
    out
}

fn rates(figures: &Value) -> String {
    let mut out = String::from(
        "| # | calls/s | floor | ratio of calls/s | load, µs CPU a call |\n|---|---|---|---|---|\n",
    );
    for it in rows(figures).iter().filter(|it| it["beside"]["calls_per_second"].is_number()) {
        let beside = &it["beside"];
        let [rate, floor] = ["calls_per_second", "calls_per_second_floor"].map(|name| show(&beside[name], 0));
        let [ratio, load] =
            ["ratio_of_calls_per_second", "load_us_per_call"].map(|name| show(&beside[name], 2));
        writeln!(out, "| {} | {rate} | {floor} | {ratio} | {load} |", show(&it["id"], 0)).unwrap();
    }
    out
}

fn growth(growth: &Value) -> String {
    if rows(growth).is_empty() {
        return "Not measured in this run: `make bench-growth` does.\n".into();
    }
    let mut out = String::from("| measure | points |\n|---|---|\n");
    for curve in rows(growth) {
        let (x, y) = (show(&curve["of"][0], 0), show(&curve["of"][1], 0));
        let point = |point: &Value| format!("{}: {}", show(&point[0], 0), show(&point[1], 2));
        let points: Vec<String> = rows(&curve["points"]).iter().map(point).collect();
        let name = show(&curve["name"], 0);
        writeln!(out, "| {name} | {x}, {y}: {} |", points.join("; ")).unwrap();
    }
    out
}

fn overload(overload: &Value) -> String {
    rows(overload).iter().map(overload_of).collect()
}

fn overload_of(overload: &Value) -> String {
    let mut out = format!(
        "\nValidate, {}: at twice the capacity, {} of the peak is answered in time.\n\n",
        show(&overload["what"], 0),
        show(&overload["goodput_at_twice"], 2)
    );
    out.push_str(
        "| offered, × capacity | goodput /s | answers by code | late | no answer | p99 ms | p99 of the refused ms |\n|---|---|---|---|---|---|---|\n",
    );
    let ms =
        |it: &Value, name: &str| it[name].as_f64().map_or_else(String::new, |us| format!("{:.1}", us / 1e3));
    for it in rows(&overload["rows"]) {
        let (times, goodput, codes) =
            (show(&it["times"], 1), show(&it["goodput"], 0), it["codes"].to_string());
        let [late, unanswered] = ["late", "unanswered"].map(|name| show(&it[name], 0));
        let (p99, others) = (ms(it, "p99_us"), ms(it, "p99_of_others_us"));
        writeln!(out, "| {times} | {goodput} | {codes} | {late} | {unanswered} | {p99} | {others} |")
            .unwrap();
    }
    out.push_str(
        "\n| callers beside twice the capacity | answered in time | p50 ms | p99 ms |\n|---|---|---|---|\n",
    );
    for it in rows(&overload["others"]) {
        let in_time =
            it["in_time"].as_f64().map_or_else(String::new, |part| format!("{:.1} %", part * 100.0));
        writeln!(
            out,
            "| {} | {in_time} | {} | {} |",
            show(&it["what"], 0),
            ms(it, "p50_us"),
            ms(it, "p99_us")
        )
        .unwrap();
    }
    out
}

fn disturbed(disturbed: &Value) -> String {
    let mut out = String::from(
        "| at the same time | p50 µs | p99 µs | p99 ÷ p99 with nothing else |\n|---|---|---|---|\n",
    );
    for it in rows(disturbed) {
        let [p50, p99] = ["p50_us", "p99_us"].map(|name| show(&it[name], 0));
        writeln!(out, "| {} | {p50} | {p99} | {} |", show(&it["beside"], 0), show(&it["times_quiet"], 2))
            .unwrap();
    }
    out
}
