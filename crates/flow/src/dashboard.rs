//! A dashboard: a page of panels, each a query over views that is asked again when its view changes. A file of `dashboards/`.

use crate::findings::{Findings, Position};
use crate::raw::dashboard::{RawDashboard, RawPanel};
use crate::read::{FromNode, Text};
use crate::{Diagnostic, yaml};

/// How many panels a page may have: all of their queries run whenever their views change.
const PANELS_MAX: usize = 24;

/// A page of panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// Its name, unique in the project.
    pub name: String,
    /// The page's heading.
    pub title: String,
    /// What the page tells.
    pub description: Option<String>,
    /// The file that it stands in, relative to the project's folder.
    pub file: String,
    /// Its panels, from top to bottom; at least one.
    pub panels: Vec<Panel>,
}

/// A query that is drawn: as lines where its rows have a time, as a table otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Its heading.
    pub title: String,
    /// The view that it follows.
    pub view: String,
    /// The query.
    pub sql: String,
    /// Where the view is named.
    pub at: Position,
}

impl Dashboard {
    /// Checks the text of a dashboard's file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the text's order. Whether the queries can be computed is not asked here.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::new(file);
        let raw = yaml::parse(text, &mut findings).and_then(|root| RawDashboard::from_node(&root, &mut findings));
        let dashboard = raw.map(|raw| checked(file, raw, &mut findings));
        findings.finish(dashboard)
    }
}

fn checked(file: &str, raw: RawDashboard, findings: &mut Findings) -> Dashboard {
    let name = required(raw.dashboard, "the dashboard", "dashboard", (raw.at, raw.broken), findings);
    let panels = raw.panels.unwrap_or_default();
    if panels.is_empty() && !raw.broken {
        findings.add(raw.at, "the dashboard has no panels", Some("add panels: with at least one".to_owned()));
    }
    if let Some(beyond) = panels.get(PANELS_MAX) {
        let remedy = "make another dashboard of the rest".to_owned();
        findings.add(beyond.at, format!("a dashboard has at most {PANELS_MAX} panels"), Some(remedy));
    }
    Dashboard {
        title: raw.title.map_or_else(|| name.clone(), |title| title.value),
        name,
        description: raw.description.map(|text| text.value),
        file: file.to_owned(),
        panels: panels.into_iter().map(|raw| panel(raw, findings)).collect(),
    }
}

fn panel(raw: RawPanel, findings: &mut Findings) -> Panel {
    let whole = (raw.at, raw.broken);
    let at = raw.view.as_ref().map_or(raw.at, |view| view.at);
    Panel {
        title: required(raw.title, "the panel", "title", whole, findings),
        view: required(raw.view, "the panel", "view", whole, findings),
        sql: required(raw.sql, "the panel", "sql", whole, findings),
        at,
    }
}

/// A key's text; where something is wrong with a key already, what seems to be missing may be that.
fn required(
    text: Option<Text>,
    of: &str,
    key: &str,
    (at, broken): (Position, bool),
    findings: &mut Findings,
) -> String {
    if text.is_none() && !broken {
        findings.add(at, format!("{of} has no {key}"), Some(format!("add {key}:")));
    }
    text.map(|text| text.value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn panels_are_read_and_mistakes_are_told_with_their_places() {
        let text = "dashboard: shop\npanels:\n  - title: Sold\n    view: sales\n    sql: |\n      SELECT *\n      FROM sales\n";
        let dashboard = Dashboard::parse("dashboards/shop.yaml", text).unwrap();
        assert_eq!((dashboard.name.as_str(), dashboard.title.as_str()), ("shop", "shop"));
        assert_eq!(dashboard.panels[0].sql, "SELECT *\nFROM sales\n");
        assert_eq!(dashboard.panels[0].at, Position { line: 4, column: 11 });

        let told = |text: &str| -> Vec<String> {
            Dashboard::parse("d.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told("panels: []\n"),
            [
                "d.yaml:1:1: the dashboard has no dashboard (add dashboard:)",
                "d.yaml:1:1: the dashboard has no panels (add panels: with at least one)"
            ]
        );
        assert_eq!(
            told("dashboard: a\npanels:\n  - title: b\n    sql: c\n"),
            ["d.yaml:3:5: the panel has no view (add view:)"]
        );
        assert_eq!(
            told("dashboard: a\npanels:\n  - title: b\n    veiw: v\n    sql: c\n"),
            ["d.yaml:4:5: unknown key in the panel: veiw (did you mean view?)"]
        );
        let many = "  - {title: t, view: v, sql: s}\n".repeat(PANELS_MAX + 1);
        let found = told(&format!("dashboard: a\npanels:\n{many}"));
        assert_eq!(found, ["d.yaml:27:5: a dashboard has at most 24 panels (make another dashboard of the rest)"]);
    }
}
