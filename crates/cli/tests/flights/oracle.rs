//! What the project must come to, computed from the bundled file without any of Mulgil.

use std::collections::BTreeMap;
use std::io::BufReader;

use flate2::read::GzDecoder;

/// A scheduled departure.
pub(crate) struct Departure {
    pub(crate) day: String,
    pub(crate) hour: u32,
    pub(crate) origin: String,
    pub(crate) carrier: String,
    /// Minutes; `None` when it never left.
    pub(crate) delay: Option<f64>,
    pub(crate) is_cancelled: bool,
}

/// All of 2013.
pub(crate) fn departures() -> Vec<Departure> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/data/flights.csv.gz");
    let file = std::fs::File::open(path).expect("the bundled data");
    let mut reader = csv::Reader::from_reader(BufReader::new(GzDecoder::new(file)));
    let column = |record: &csv::StringRecord, index: usize| record.get(index).expect("19 fields").to_owned();
    let number = |text: String| -> u32 { text.parse().expect("a number") };
    reader
        .records()
        .map(|record| {
            let record = record.expect("CSV");
            let date = (number(column(&record, 0)), number(column(&record, 1)), number(column(&record, 2)));
            Departure {
                day: format!("{:04}-{:02}-{:02}", date.0, date.1, date.2),
                hour: number(column(&record, 16)),
                origin: column(&record, 12),
                carrier: column(&record, 9),
                delay: column(&record, 5).parse().ok(),
                is_cancelled: column(&record, 3) == "NA",
            }
        })
        .collect()
}

/// `day,origin,carrier,flights,cancelled,minutes of delay` of each day up to `last_day`, as the mart must hold it.
pub(crate) fn daily(departures: &[Departure], last_day: &str) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str, &str), (u64, u64, i64)> = BTreeMap::new();
    for departure in departures.iter().filter(|departure| departure.day.as_str() <= last_day) {
        let key = (departure.day.as_str(), departure.origin.as_str(), departure.carrier.as_str());
        let group = groups.entry(key).or_default();
        group.0 += 1;
        group.1 += u64::from(departure.is_cancelled);
        group.2 += departure.delay.unwrap_or_default() as i64;
    }
    let lines = groups.into_iter().map(|((day, origin, carrier), (flights, cancelled, delay))| {
        format!("{day},{origin},{carrier},{flights},{cancelled},{delay}")
    });
    lines.collect()
}

/// The query over the mart whose rows are [`daily`]'s: the mean times the flights that left is the sum of delays.
pub(crate) const DAILY_QUERY: &str = "SELECT day, origin, carrier, flights, cancelled, \
     CAST(round(coalesce(mean_delay, 0) * (flights - cancelled)) AS BIGINT) AS delay \
     FROM mart.daily_delays";

/// `origin,window_start,flights,minutes of delay` of each hour, as the view must hold it.
pub(crate) fn hourly(departures: &[Departure]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, String), (u64, i64)> = BTreeMap::new();
    for departure in departures {
        if let Some(delay) = departure.delay {
            let window = format!("{}T{:02}:00:00", departure.day, departure.hour);
            let group = groups.entry((&departure.origin, window)).or_default();
            group.0 += 1;
            group.1 += delay as i64;
        }
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|((origin, window), (flights, delay))| format!("{origin},{window},{flights},{delay}"))
        .collect();
    lines.sort();
    lines
}
