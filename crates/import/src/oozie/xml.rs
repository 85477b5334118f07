//! XML as a tree in which every element knows its line. Namespaces are left out: Oozie's change with its versions.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Deeper files are attacks or accidents.
const DEPTH_MAX: usize = 64;

/// An element.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    /// Its name without prefix.
    pub(super) name: String,
    /// Its line, from 1.
    pub(super) line: u32,
    /// Its text, without what is inside its children.
    pub(super) text: String,
    /// The elements inside.
    pub(super) children: Vec<Element>,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// An attribute's value.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first element of that name inside.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All elements of that name inside.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first element of that name inside.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// Reads a document; the error is a line and a sentence.
pub(super) fn parse(text: &str) -> Result<Element, (u32, String)> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let line = line_at(text, reader.buffer_position());
        let wrong = |what: String| (line, what);
        match reader.read_event().map_err(|error| wrong(format!("not XML: {error}")))? {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err(wrong(format!("nested deeper than {DEPTH_MAX} levels")));
                }
                let line = line_at(text, reader.buffer_position());
                open.push(element(&start, line));
            }
            Event::Empty(start) => {
                let made = element(&start, line_at(text, reader.buffer_position()));
                open.last_mut().into_iter().for_each(|around| around.children.push(made.clone()));
            }
            Event::End(_) => {
                if let Some(ended) = open.pop()
                    && let Some(around) = open.last_mut()
                {
                    around.children.push(ended);
                }
            }
            Event::Text(piece) => add(&mut open, &String::from_utf8_lossy(&piece)),
            Event::CData(piece) => add(&mut open, &String::from_utf8_lossy(&piece)),
            Event::GeneralRef(name) => {
                let bytes: &[u8] = &name;
                let named = match bytes {
                    b"lt" => Some('<'),
                    b"gt" => Some('>'),
                    b"amp" => Some('&'),
                    b"quot" => Some('"'),
                    b"apos" => Some('\''),
                    _ => None,
                };
                let letter = name.resolve_char_ref().ok().flatten().or(named);
                add(&mut open, &letter.map(String::from).unwrap_or_default());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let root = open.into_iter().next().and_then(|document| document.children.into_iter().next());
    root.ok_or_else(|| (1, "not XML: there is no element".to_owned()))
}

fn add(open: &mut [Element], text: &str) {
    if let Some(around) = open.last_mut() {
        around.text.push_str(text);
    }
}

fn element(start: &BytesStart<'_>, line: u32) -> Element {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    let attributes = start.attributes().flatten().map(|attribute| {
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = attribute.unescape_value().unwrap_or_default().into_owned();
        (key, value)
    });
    Element { name, line, attributes: attributes.collect(), ..Element::default() }
}

fn line_at(text: &str, position: u64) -> u32 {
    let before = usize::try_from(position).ok().and_then(|position| text.as_bytes().get(..position));
    let lines = before.map_or(0, |before| before.iter().filter(|byte| **byte == b'\n').count());
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}
