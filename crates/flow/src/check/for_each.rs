//! The rules of a task that goes over items.

use super::flow::check_template;
use super::task::Tasks;
use crate::findings::Findings;
use crate::raw::for_each::{GroupingWord, RawForEach, RawForEachInFull, RawGrouping, RawItems};
use crate::read::Located;
use crate::template::ItemShape;
use crate::yaml::Key;
use crate::{ForEach, Grouping, Items, Quote};

impl Tasks<'_> {
    /// What a task goes over.
    pub(super) fn for_each(&self, key: &Key, raw: RawForEach, findings: &mut Findings) -> ForEach {
        let raw = match raw {
            RawForEach::InFull(raw) => *raw,
            RawForEach::Items(items) => RawForEachInFull { items: Some(items), at: key.at, ..Default::default() },
        };
        let max_items = limit(raw.max_items, "max_items", ForEach::MAX_ITEMS_MAX, findings);
        let max_parallel = limit(raw.max_parallel, "max_parallel", u32::MAX, findings);
        let max_items = max_items.unwrap_or(ForEach::MAX_ITEMS_DEFAULT);
        if let (Some(_), Some(sql)) = (&raw.items, &raw.sql) {
            let remedy = "keep one of them".to_owned();
            findings.add(sql.at, format!("for_each of task {} has both items and sql", key.text), Some(remedy));
        }
        let items = match raw.items {
            None if raw.sql.is_some() => {
                raw.sql.map_or(Items::List(Vec::new()), |sql| Items::Query(self.sql(sql, findings)))
            }
            Some(RawItems::List(list)) => {
                if list.value.len() > max_items as usize {
                    let message =
                        format!("for_each has {} items, and at most {max_items} are allowed", list.value.len());
                    findings.add(list.at, message, Some("raise max_items".to_owned()));
                }
                list.value.iter().for_each(|item| self.check_templates_in(item, list.at, findings));
                Items::List(list.value)
            }
            Some(RawItems::Template(text)) => {
                if !text.value.contains("{{") && !text.value.trim_start().starts_with('[') {
                    let remedy =
                        "write a list, such as [a, b], or a template, such as \"{{ results.files }}\"".to_owned();
                    findings.add(text.at, format!("{:?} is no list", text.value), Some(remedy));
                }
                check_template(&text, self.names, self.params, Quote::None, findings);
                Items::Template(text.value)
            }
            None => {
                if !raw.broken {
                    let remedy = "write for_each: [a, b], or for_each: {items: [a, b]}".to_owned();
                    findings.add(raw.at, format!("task {} goes over no items", key.text), Some(remedy));
                }
                Items::List(Vec::new())
            }
        };
        let group = raw.group.and_then(|group| match group {
            RawGrouping::Of(size) => limit(Some(size), "group", Grouping::MAX, findings).map(Grouping::Of),
            RawGrouping::Word(GroupingWord::Auto) => Some(Grouping::Auto),
        });
        ForEach { items, max_items, max_parallel, group }
    }
}

impl ForEach {
    /// What is known of the items before a run.
    pub(super) fn shape(&self) -> ItemShape {
        match &self.items {
            Items::List(items) => ItemShape::of(items),
            Items::Template(_) | Items::Query(_) => ItemShape::Unknown,
        }
    }
}

fn limit(number: Option<Located<u32>>, what: &str, max: u32, findings: &mut Findings) -> Option<u32> {
    let number = number?;
    if !(1..=max).contains(&number.value) {
        let remedy = if max == u32::MAX { "write 1 or more".to_owned() } else { format!("1 to {max}") };
        findings.add(number.at, format!("{what} {} is out of range", number.value), Some(remedy));
        return None;
    }
    Some(number.value)
}
