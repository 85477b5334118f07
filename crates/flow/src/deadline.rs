//! The deadline of a run: the first time after it is due at which the wall clock of the flow's zone shows the deadline.
//!
//! A time that the clock skips is the first instant after the gap, one that comes twice its first coming: as for schedules.

use jiff::{Timestamp, ToSpan};

use crate::{DataInterval, Flow, clock};

impl Flow {
    /// By when the run that is due at `due` has to have ended; `None` without a deadline.
    #[must_use]
    pub fn deadline_after(&self, due: Timestamp) -> Option<Timestamp> {
        let time = self.deadline?;
        let first = self.timezone.to_datetime(due).date();
        (0..3_i64).find_map(|days| {
            let date = first.checked_add(days.days()).ok()?;
            clock::instant_of(&self.timezone, date.to_datetime(time)).filter(|instant| *instant > due)
        })
    }

    /// When the scheduled run of an interval is due.
    #[must_use]
    pub fn due(&self, interval: DataInterval) -> Option<Timestamp> {
        let fire = self.schedule.as_ref()?.fires(interval.start).find(|fire| fire.interval.start >= interval.start)?;
        (fire.interval == interval).then_some(fire.at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::Project;

    fn flow(zone: &str, deadline: &str) -> Flow {
        let text = format!(
            "flow: f\nschedule: {{cron: '0 6 * * *', timezone: {zone}}}\ndeadline: {deadline}\ntasks: {{a: {{shell: x}}}}"
        );
        Flow::parse("f.yaml", &text, &Project::default()).unwrap()
    }

    #[test]
    fn the_deadline_is_the_first_such_time_after_the_run_is_due() {
        let cases = [
            ("UTC", "07:30", "2026-03-01T06:00:00Z", "2026-03-01T07:30:00Z"),
            // It is over for today.
            ("UTC", "05:00", "2026-03-01T06:00:00Z", "2026-03-02T05:00:00Z"),
            ("UTC", "06:00", "2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z"),
            ("Asia/Seoul", "07:30", "2026-02-28T21:00:00Z", "2026-02-28T22:30:00Z"),
            // Skipped in spring: the first instant after the gap. Twice in autumn: the first coming, and then the next day.
            ("Europe/Berlin", "02:30", "2026-03-28T23:30:00Z", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "02:30", "2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z"),
            ("Europe/Berlin", "02:30", "2026-10-25T00:45:00Z", "2026-10-26T01:30:00Z"),
            // A day that never was: all of it is skipped.
            ("Pacific/Apia", "09:00", "2011-12-30T00:00:00Z", "2011-12-30T10:00:00Z"),
        ];
        for (zone, deadline, due, expected) in cases {
            let found = flow(zone, deadline).deadline_after(due.parse().unwrap());
            assert_eq!(found, Some(expected.parse().unwrap()), "{zone}, {deadline} after {due}");
        }
    }

    #[test]
    fn a_scheduled_run_is_due_at_its_fire_not_at_the_end_of_its_interval() {
        let flow = flow("America/New_York", "07:30");
        let start: Timestamp = "2026-03-07T05:00:00Z".parse().unwrap();
        let interval = flow.schedule.as_ref().unwrap().intervals(start, start + 1.hours()).next().unwrap();
        let due = flow.due(interval).unwrap();
        // Across the night in which the clocks change.
        assert_eq!(
            (interval.end.to_string(), due.to_string()),
            ("2026-03-08T05:00:00Z".into(), "2026-03-08T10:00:00Z".into())
        );
        assert_eq!(flow.deadline_after(due).unwrap().to_string(), "2026-03-08T11:30:00Z");
        let other = DataInterval { end: interval.end + 1.hours(), ..interval };
        assert_eq!(flow.due(other), None);
    }
}
