//! Plots as SVG.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::report::Report;
use crate::timeline::Slot;

const SIZE: (u32, u32) = (920, 300);

const BLUE_DEEP: RGBColor = RGBColor(31, 97, 165);
const ORANGE: RGBColor = RGBColor(217, 119, 34);
const GREEN_DARK: RGBColor = RGBColor(47, 125, 79);
const PURPLE: RGBColor = RGBColor(122, 74, 160);
const GREY: RGBColor = RGBColor(120, 126, 132);

/// A line with a name.
struct Line {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// `None`: there is nothing to show, or it could not be drawn, which only a broken backend does.
type Plot = Option<String>;

pub(super) fn latency(report: &Report) -> Plot {
    let line = |name, color, value: fn(&Slot) -> Option<f64>| {
        let point = |slot: &Slot| Some((middle(report, slot), value(slot)?.max(0.001)));
        Line { name, color, points: report.timeline.iter().filter_map(point).collect() }
    };
    let lines = [
        line("slowest", GREY, |slot| slot.max_ms),
        line("p99", ORANGE, |slot| slot.p99_ms),
        line("p50", BLUE_DEEP, |slot| slot.p50_ms),
    ];
    let (low, high) = bounds(&lines)?;
    draw(
        seconds(report)?,
        (decade_below(low)..decade_above(high)).log_scale(),
        "seconds",
        &time_label,
        &plain,
        &lines,
    )
}

pub(super) fn rates(report: &Report) -> Plot {
    let slot_s = slot_seconds(report)?;
    let line = |name, color, value: fn(&Slot) -> u64| {
        let point = |slot: &Slot| (middle(report, slot), value(slot) as f64 / slot_s);
        Line { name, color, points: report.timeline.iter().map(point).collect() }
    };
    let lines = [
        line("due", GREY, |slot| slot.due),
        line("acknowledged", ORANGE, |slot| slot.acked),
        line("shown", BLUE_DEEP, |slot| slot.delivered),
    ];
    let (_, high) = bounds(&lines)?;
    draw(seconds(report)?, 0.0..high.max(1.0) * 1.1, "seconds", &count_label, &plain, &lines)
}

pub(super) fn distribution(report: &Report) -> Plot {
    // The share as how many messages one is the slowest of: 90 % is one in 10, 99 % one in 100.
    let one_in = |(share, ms): &(f64, f64)| (1.0 / (1.0 - share), ms.max(0.001));
    let points: Vec<(f64, f64)> = report.latency_curve.iter().map(one_in).collect();
    // A little more, so that the last mark is inside.
    let last = points.last().filter(|(one_in, _)| *one_in > 2.0)?.0 * 1.02;
    let marks: Vec<f64> =
        [1.0, 2.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6].into_iter().filter(|mark| *mark <= last).collect();
    let lines = [Line { name: "latency", color: BLUE_DEEP, points }];
    let (low, high) = bounds(&lines)?;
    draw(
        (1.0..last).log_scale().with_key_points(marks),
        (decade_below(low)..decade_above(high)).log_scale(),
        "share of messages",
        &time_label,
        &share_label,
        &lines,
    )
}

pub(super) fn sessions(report: &Report) -> Plot {
    let slot_s = slot_seconds(report)?;
    let most = report.timeline.iter().map(|slot| slot.sessions.total()).max().filter(|most| *most > 0)?;
    let names = report.timeline[0].sessions.each().map(|(name, _)| name);
    let colors = [BLUE_DEEP, ORANGE, GREEN_DARK, PURPLE];
    let mut used = Vec::new();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(62)
            .build_cartesian_2d(seconds(report)?, 0.0..most as f64 * 1.1)
            .ok()?;
        mesh(&mut chart, "seconds", &count_label, &plain)?;
        for (number, color) in colors.into_iter().enumerate() {
            let bars = report.timeline.iter().filter_map(|slot| {
                let counts = slot.sessions.each();
                let below: u64 = counts[..number].iter().map(|(_, count)| count).sum();
                let count = counts[number].1;
                let corner = (slot.at_s + slot_s * 0.96, (below + count) as f64);
                (count > 0).then(|| Rectangle::new([(slot.at_s, below as f64), corner], color.filled()))
            });
            let bars: Vec<_> = bars.collect();
            if !bars.is_empty() {
                chart.draw_series(bars).ok()?;
                used.push((names[number], color));
            }
        }
        drop(chart);
        area.present().ok()?;
    }
    Some(legend(&used) + &svg)
}

fn draw<X, Y>(x: X, y: Y, x_name: &str, y_label: Label<'_>, x_label: Label<'_>, lines: &[Line]) -> Plot
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(62)
            .build_cartesian_2d(x, y)
            .ok()?;
        mesh(&mut chart, x_name, y_label, x_label)?;
        for Line { color, points, .. } in lines.iter().filter(|line| !line.points.is_empty()) {
            let color = *color;
            let series = LineSeries::new(points.iter().copied(), color.stroke_width(2));
            chart.draw_series(series).ok()?;
        }
        drop(chart);
        area.present().ok()?;
    }
    let names: Vec<_> = lines.iter().map(|line| (line.name, line.color)).collect();
    Some(if names.len() > 1 { legend(&names) + &svg } else { svg })
}

type Label<'a> = &'a dyn Fn(&f64) -> String;
type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn mesh<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    x_name: &str,
    y_label: Label<'_>,
    x_label: Label<'_>,
) -> Option<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let text = ("sans-serif", 13).into_font().color(&RGBColor(70, 75, 80));
    chart
        .configure_mesh()
        .x_desc(x_name)
        .x_label_formatter(x_label)
        .y_label_formatter(y_label)
        .label_style(text)
        .light_line_style(RGBColor(244, 244, 241))
        .bold_line_style(RGBColor(228, 228, 223))
        .axis_style(RGBColor(160, 164, 168))
        .draw()
        .ok()
}

/// Names above the plot: inside they would hide what is plotted.
fn legend(names: &[(&str, RGBColor)]) -> String {
    let item = |(name, RGBColor(r, g, b)): &(&str, RGBColor)| {
        format!("<span style=\"border-color: rgb({r}, {g}, {b})\">{name}</span>")
    };
    format!("<div class=\"legend\">{}</div>\n", names.iter().map(item).collect::<String>())
}

/// Length of a slot.
fn slot_seconds(report: &Report) -> Option<f64> {
    match report.timeline.as_slice() {
        [first, second, ..] => Some(second.at_s - first.at_s),
        _ => None, // one slot is no timeline
    }
}

fn middle(report: &Report, slot: &Slot) -> f64 {
    slot.at_s + slot_seconds(report).unwrap_or(1.0) / 2.0
}

fn seconds(report: &Report) -> Option<Range<f64>> {
    Some(0.0..report.timeline.last()?.at_s + slot_seconds(report)?)
}

/// Smallest and largest value.
fn bounds(lines: &[Line]) -> Option<(f64, f64)> {
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    (lines.iter().any(|line| line.points.len() > 1)).then_some((low, high))
}

fn decade_below(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

fn decade_above(value: f64) -> f64 {
    10f64.powf((value.log10() + 0.01).ceil())
}

fn time_label(ms: &f64) -> String {
    match *ms {
        ms if ms >= 1_000.0 => format!("{} s", ms / 1_000.0),
        ms if ms >= 1.0 => format!("{ms} ms"),
        ms => format!("{:.0} µs", ms * 1_000.0),
    }
}

fn count_label(count: &f64) -> String {
    if *count < 10.0 && count.fract() != 0.0 { format!("{count:.1}") } else { format!("{count:.0}") }
}

fn plain(value: &f64) -> String {
    count_label(value)
}

/// One in a hundred is the slowest: 99 % are not.
fn share_label(one_in: &f64) -> String {
    let share = 100.0 - 100.0 / one_in;
    format!("{} %", (share * 1e4).round() / 1e4)
}
