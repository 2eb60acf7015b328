//! The curves as pictures: `target/bench-throughput.svg` and `target/bench-latency.svg`.

use plotters::prelude::*;
use serde_json::Value;

use crate::report::{read, target_directory};

/// Behind the stem of the results' names.
pub const THROUGHPUT: &str = "throughput.svg";
pub const LATENCY: &str = "latency.svg";
const SIZE: (u32, u32) = (900, 520);
const VALIDATE: RGBColor = RGBColor(0, 90, 181);
const EMPTY: RGBColor = RGBColor(220, 120, 20);

type Points = Vec<(f64, f64)>;

/// A line of a picture.
struct Line {
    name: &'static str,
    points: Points,
    style: ShapeStyle,
}

/// Draws the curves in the details.
pub fn draw(stem: &str) {
    let Some(details) = read(&format!("{stem}-details.json")) else { return };
    if let Some(curve) = details["throughput_curve"].as_array() {
        let of = |what| points(curve, |at| (&at["in_flight"], &at[what]["per_second"]));
        let lines = [
            Line { name: "empty RPC", points: of("empty"), style: EMPTY.stroke_width(2) },
            Line { name: "Validate", points: of("validate"), style: VALIDATE.stroke_width(2) },
        ];
        throughput(stem, &lines);
    }
    if let Some(curve) = details["latency_curve"].as_array() {
        let of = |what, part| points(curve, |at| (&at[what]["offered"], &at[what][part]));
        let line = |name, what, part, style| Line { name, points: of(what, part), style };
        let lines = [
            line("empty RPC, p99", "empty", "p99_us", EMPTY.stroke_width(2)),
            line("Validate, p99", "validate", "p99_us", VALIDATE.stroke_width(2)),
            line("empty RPC, p50", "empty", "p50_us", EMPTY.stroke_width(1)),
            line("Validate, p50", "validate", "p50_us", VALIDATE.stroke_width(1)),
        ];
        latency(stem, &lines);
    }
}

fn points<'a>(curve: &'a [Value], of: impl Fn(&'a Value) -> (&'a Value, &'a Value)) -> Points {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    curve.iter().map(of).map(|(x, y)| (number(x), number(y))).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that the library asks for")]
fn whole(value: &f64) -> String {
    format!("{value:.0}")
}

fn most(lines: &[Line], of: fn(&(f64, f64)) -> f64) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(of).fold(1.0, f64::max)
}

fn throughput(stem: &str, lines: &[Line]) {
    let file = target_directory().join(format!("{stem}-{THROUGHPUT}"));
    let root = SVGBackend::new(&file, SIZE).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let (x_most, y_most) = (most(lines, |it| it.0), most(lines, |it| it.1) * 1.1);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("Calls per second of one serving thread, by calls in flight", ("sans-serif", 18))
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d((1.0..x_most).log_scale(), 0.0..y_most)
        .unwrap();
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("calls in flight")
        .y_desc("calls/s")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .light_line_style(WHITE)
        .draw()
        .unwrap();
    series(&mut chart, lines);
    root.present().unwrap();
}

fn latency(stem: &str, lines: &[Line]) {
    let file = target_directory().join(format!("{stem}-{LATENCY}"));
    let root = SVGBackend::new(&file, SIZE).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let (x_most, y_most) = (most(lines, |it| it.0) * 1.05, most(lines, |it| it.1) * 1.5);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("Latency from when a call was due, by calls offered per second", ("sans-serif", 18))
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..x_most, (10.0..y_most).log_scale())
        .unwrap();
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("calls/s")
        .y_desc("µs")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .light_line_style(WHITE)
        .draw()
        .unwrap();
    series(&mut chart, lines);
    root.present().unwrap();
}

fn series<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>, lines: &[Line])
where
    X: Ranged<ValueType = f64> + 'a,
    Y: Ranged<ValueType = f64> + 'a,
{
    for Line { name, points, style } in lines {
        let style = *style;
        let drawn = LineSeries::new(points.iter().copied(), style.filled()).point_size(3);
        let drawn = chart.draw_series(drawn).unwrap();
        drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).draw().unwrap();
}
