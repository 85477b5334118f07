//! The coordinator: its frequency as a schedule, its properties as values for the workflow.

use mulgil_flow::Cron;

use super::xml::{self, Element};
use super::{Reader, is_word};
use crate::draft::Draft;
use crate::report::Finding;

impl Reader {
    /// Reads the coordinator; the findings are about its own file.
    pub(super) fn coordinator(&mut self, file: &str, text: &str) -> Vec<Finding> {
        let mut notes = Draft::new(file, 1, "coordinator");
        match xml::parse(text) {
            Ok(root) if root.name == "coordinator-app" => self.coordinator_app(&root, &mut notes),
            Ok(root) => notes.missing(root.line, root.name, "it is no coordinator"),
            Err((line, why)) => notes.missing(line, "file", why),
        }
        notes.into_findings()
    }

    fn coordinator_app(&mut self, root: &Element, notes: &mut Draft) {
        let frequency = root.attribute("frequency").unwrap_or_default().trim();
        let start = root.attribute("start").unwrap_or_default();
        match rule(frequency, start) {
            Some((key, rule)) => {
                self.draft.set_in("schedule", key, rule);
                self.draft.set_in("schedule", "timezone", "UTC");
                let zone = root.attribute("timezone").unwrap_or("UTC");
                if !matches!(zone, "UTC" | "GMT") {
                    let why = "times are UTC, as Oozie writes them; it moves them with the daylight saving of this zone, a flow in UTC does not";
                    notes.approximated(root.line, format!("timezone {zone}"), why);
                }
                for key in ["start", "end"] {
                    if let Some(value) = root.attribute(key).filter(|value| !value.contains("${")) {
                        // Oozie leaves the seconds out, which an instant needs.
                        self.draft.set_in("schedule", key, value.replace('Z', ":00Z"));
                        notes.imported(root.line, key);
                    }
                }
                self.draft.set_in("schedule", "catchup", "all");
                let why =
                    "Oozie runs at the nominal time for what comes then, Mulgil after the interval that it is about";
                notes.approximated(root.line, format!("frequency {frequency}"), why);
            }
            None => notes.missing(
                root.line,
                format!("frequency {frequency}"),
                "write schedule: {cron: ...} or {every: ...}",
            ),
        }
        for control in root.child("controls").into_iter().flat_map(|controls| &controls.children) {
            match (control.name.as_str(), control.text.trim().parse::<u32>()) {
                ("concurrency", Ok(number)) if number > 0 => {
                    self.draft.set("concurrency", number);
                    notes.imported(control.line, "concurrency");
                }
                (name, _) => {
                    notes.missing(control.line, name, "runs wait for a place, oldest first, and do not give up")
                }
            }
        }
        for name in ["datasets", "input-events", "output-events"] {
            if let Some(found) = root.child(name) {
                notes.missing(found.line, name, "let the flow begin with a task that waits for the data");
            }
        }
        let workflow = root.child("action").and_then(|action| action.child("workflow"));
        let properties = workflow.and_then(|workflow| workflow.child("configuration"));
        for property in properties.into_iter().flat_map(|all| all.all("property")) {
            self.property(property, notes);
        }
    }

    fn property(&mut self, property: &Element, notes: &mut Draft) {
        let name = property.text_of("name").unwrap_or_default().to_owned();
        let value = property.text_of("value").unwrap_or_default().to_owned();
        let what = format!("property {name}");
        let times = [
            ("coord:formatTime(coord:nominalTime(), 'yyyy-MM-dd')", "{{ ds }}"),
            ("coord:formatTime(coord:nominalTime(),'yyyy-MM-dd')", "{{ ds }}"),
            ("coord:formatTime(coord:nominalTime(), 'yyyyMMdd')", "{{ ds_nodash }}"),
            ("coord:formatTime(coord:nominalTime(),'yyyyMMdd')", "{{ ds_nodash }}"),
            ("coord:nominalTime()", "{{ data_interval_end }}"),
        ];
        let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some((_, ours)) = times.iter().find(|(theirs, _)| inner == Some(*theirs)) {
            self.properties.insert(name, (*ours).to_owned());
            let why = "the nominal time is when a run starts; ds is the day that it is about, the day before for a daily flow: check it";
            notes.approximated(property.line, what, why);
        } else if value.contains("${") || !is_word(&name) {
            notes.missing(property.line, what, "write the value out, or use a parameter");
        } else {
            self.draft.set_in("params", &name, value);
            notes.imported(property.line, what);
        }
    }
}

/// The key of a schedule, and what it says.
fn rule(frequency: &str, start: &str) -> Option<(&'static str, String)> {
    if frequency.split_whitespace().count() == 5 {
        return Cron::parse(frequency).ok().map(|_| ("cron", frequency.to_owned()));
    }
    if let Ok(minutes) = frequency.parse::<u32>() {
        return (minutes > 0).then(|| ("every", format!("{minutes}m")));
    }
    let call = frequency.strip_prefix("${coord:")?.strip_suffix(")}")?;
    let (unit, count) = call.split_once('(')?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
    // `2009-01-01T08:30Z`
    let time = |from: usize, to: usize| start.get(from..to)?.parse::<u32>().ok();
    match (unit, count) {
        ("minutes", count) => Some(("every", format!("{count}m"))),
        ("hours", count) => Some(("every", format!("{count}h"))),
        ("days", 1) => Some(("cron", format!("{} {} * * *", time(14, 16)?, time(11, 13)?))),
        ("days", count) => Some(("every", format!("{}h", count * 24))),
        ("months", 1) => Some(("cron", format!("{} {} {} * *", time(14, 16)?, time(11, 13)?, time(8, 10)?))),
        ("endOfDays", 1) => Some(("cron", "0 0 * * *".to_owned())),
        _ => None,
    }
}
