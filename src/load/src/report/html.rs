//! The report as a page for people. It asks for nothing from anywhere: style and plots are in it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::report::Report;
use crate::report::table::{self, grouped, millis};

mod plot;

const STYLE: &str = include_str!("html/style.css");

pub(super) fn render(report: &Report) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let title = format!("{} over {}", report.scenario, report.transport);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>nearport load: {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut page, report, &title);
    cards(&mut page, report);
    plots(&mut page, report);
    figures(&mut page, report);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(page: &mut String, report: &Report, title: &str) {
    let (class, verdict) = match report.is_clean() {
        true => ("good", "clean: nothing lost, duplicated, reordered or failed"),
        false => ("bad", "not clean"),
    };
    let _ = writeln!(page, "<h1>{title}</h1>\n<p class=\"verdict {class}\">{verdict}</p>");
    let _ = writeln!(page, "<p>{}</p>", escaped(&table::run(report)));
    if let Some(network) = &report.impair {
        let _ = writeln!(page, "<p>Network: <code>{}</code></p>", escaped(network));
    }
    if let Some(error) = &report.first_error {
        let _ = writeln!(page, "<p class=\"bad\">First error: {}</p>", escaped(error));
    }
}

/// The figures that one looks for first.
fn cards(page: &mut String, report: &Report) {
    let count = |count: Option<u64>| count.map(grouped);
    let ms = |value: Option<f64>| value.map(|_| millis(value));
    let mut cards = vec![
        ("acknowledged", count(report.acked)),
        ("lost", count(report.lost)),
        ("duplicated", count(report.duplicated)),
        ("reordered", count(report.reordered)),
        ("errors", Some(grouped(report.errors))),
        ("latency p50", ms(report.latency_ms.p50)),
        ("latency p99", ms(report.latency_ms.p99)),
        ("login p50", ms(report.connect.p50_ms)),
        ("login p99", ms(report.connect.p99_ms)),
        ("reconnects", Some(grouped(report.reconnects))),
    ];
    if let Some(roam) = &report.roam {
        cards.push(("sessions that survived", Some(grouped(roam.survived))));
        cards.push(("forwarded in user space", count(roam.handed_over)));
    }
    if let Some(storm) = &report.storm {
        cards.push(("back", Some(format!("{} of {}", grouped(storm.returned), grouped(storm.clients)))));
        cards.push(("all back after", storm.all_back_s.map(|s| format!("{s:.1} s"))));
        cards.push(("peak memory / steady", storm.rss_ratio.map(|ratio| format!("{ratio:.2}"))));
    }
    page.push_str("<div class=\"cards\">\n");
    for (name, value) in cards {
        if let Some(value) = value {
            let _ = writeln!(page, "<div><b>{value}</b><span>{name}</span></div>");
        }
    }
    page.push_str("</div>\n");
}

fn plots(page: &mut String, report: &Report) {
    let plots = [
        (
            "Latency by the time at which messages were due",
            "From the intended send time to the display at the receiver, in each slot of the window. Logarithmic.",
            plot::latency(report),
        ),
        (
            "Messages per second",
            "Due, acknowledged by the server, shown at the receiver.",
            plot::rates(report),
        ),
        ("Sessions by transport", "At the end of each slot.", plot::sessions(report)),
        (
            "Distribution of latency",
            "Which share of messages was at least so fast. Each step to the right is a factor of ten rarer.",
            plot::distribution(report),
        ),
    ];
    for (title, caption, plot) in plots {
        // A plot needs something to show.
        if let Some(svg) = plot {
            let _ = writeln!(
                page,
                "<h2>{title}</h2>\n<figure>\n{svg}<figcaption>{caption}</figcaption>\n</figure>"
            );
        }
    }
}

/// Every figure of the JSON report that there is, but the timeline.
fn figures(page: &mut String, report: &Report) {
    let Ok(Value::Object(all)) = serde_json::to_value(report) else { return };
    page.push_str("<h2>All figures</h2>\n<table>\n");
    for (name, value) in all.iter().filter(|(name, _)| *name != "timeline") {
        rows(page, name, value);
    }
    page.push_str("</table>\n");
}

fn rows(page: &mut String, name: &str, value: &Value) {
    let text = match value {
        Value::Object(parts) => {
            return parts.iter().for_each(|(part, value)| rows(page, &format!("{name}.{part}"), value));
        }
        Value::Null => return,
        Value::String(text) => escaped(text),
        other => other.to_string(),
    };
    let _ = writeln!(page, "<tr><th>{name}</th><td>{text}</td></tr>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
#[path = "html/tests.rs"]
mod tests;
