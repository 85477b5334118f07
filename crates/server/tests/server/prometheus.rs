//! `GET /metrics` is a page that Prometheus can read: every line is parsed, every metric is declared and documented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mulgil_server::events::Event;
use mulgil_server::topics::AppendQuery;

use super::assets::get;
use super::fixture::Fixture;
use super::views::{LINES, SOURCE, VIEW};

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The page's samples and the kind of each metric; panics where Prometheus would refuse.
fn parse(page: &str) -> (Vec<Sample>, BTreeMap<String, String>) {
    let (mut samples, mut kinds, mut helped) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["gauge", "counter", "summary"].contains(&kind) && helped.contains(name), "{line}");
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let sample = sample(line);
            let stem = sample.name.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(
                kinds.contains_key(&sample.name) || kinds.get(stem).is_some_and(|kind| kind == "summary"),
                "{line}"
            );
            samples.push(sample);
        }
    }
    (samples, kinds)
}

fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match head.split_once('{') {
        None => (head, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.starts_with("mulgil_") && name.chars().all(is_name), "{line}");
    let mut parsed = BTreeMap::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let mut end = 0;
        while !after[end..].starts_with('"') {
            end += if after[end..].starts_with('\\') { 2 } else { after[end..].chars().next().unwrap().len_utf8() };
        }
        assert!(key.chars().all(is_name) && parsed.insert(key.to_owned(), after[..end].to_owned()).is_none(), "{line}");
        rest = after[end + 1..].trim_start_matches(',');
    }
    Sample { name: name.to_owned(), labels: parsed, value: value.parse().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_views_are_on_the_page() {
    let fixture = Fixture::start(&[SOURCE, VIEW]).await;
    let is_filled = |event| match event {
        Event::View(view) if view.rows == 2 => Some(()),
        _ => None,
    };
    let filled = fixture.listen(is_filled).await;
    fixture.call(|client| client.append("departures", &AppendQuery::default(), LINES.as_bytes())).await.unwrap();
    filled.await;
    let url = fixture.url();
    let (page, same) = fixture
        .call(move |_| {
            let read = |path: &str| get(&format!("{url}{path}")).body_mut().read_to_string().unwrap();
            (read("/metrics"), read("/api/v1/metrics"))
        })
        .await;
    let (samples, kinds) = parse(&page);
    assert_eq!(parse(&same).1, kinds, "both addresses give the same page");

    let value = |name: &str, label: (&str, &str)| -> f64 {
        let of_view = |sample: &&Sample| sample.labels.get("view").is_some_and(|view| view == "per_hour");
        let fits = |sample: &&Sample| sample.labels.get(label.0).is_some_and(|text| text == label.1);
        let found: Vec<&Sample> = samples.iter().filter(|s| s.name == name).filter(of_view).filter(fits).collect();
        assert!(!found.is_empty(), "{name} {label:?} is not on the page:\n{page}");
        found.iter().map(|sample| sample.value).sum()
    };
    assert_eq!(value("mulgil_view_source_rows_total", ("partition", "departures-0")), 4.0);
    assert!(value("mulgil_view_source_bytes_total", ("source", "departures")) > 4.0 * 8.0);
    assert_eq!(value("mulgil_view_source_watermark_seconds", ("partition", "departures-0")), 1_357_003_740.0);
    assert!(value("mulgil_view_held_back_since_seconds", ("partition", "departures-0")) > 1.6e9);
    assert_eq!(value("mulgil_view_sink_rows_total", ("view", "per_hour")), 2.0);
    assert_eq!(value("mulgil_view_latency_seconds_count", ("view", "per_hour")), 2.0);
    let p50 = value("mulgil_view_latency_seconds", ("quantile", "0.5"));
    let p99 = value("mulgil_view_latency_seconds", ("quantile", "0.99"));
    assert!(0.0 < p50 && p50 <= p99 && p99 < 60.0, "{p50} {p99}");
    for doing in ["busy", "blocked", "idle"] {
        assert!(value("mulgil_view_subtask_seconds_total", ("doing", doing)) >= 0.0);
    }
    assert_eq!(value("mulgil_view_edge_fullness", ("exchange", "write")), 0.0);
    assert!(value("mulgil_view_subtask_input_watermark_seconds", ("input", "0")) >= 1_357_003_740.0);
    fixture.stop().await;

    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let documented = std::fs::read_to_string(documented).unwrap();
    let missing: Vec<&String> = kinds.keys().filter(|name| !documented.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new(), "docs/metrics.md says nothing of these");
}
