//! YAML as a tree in which every node knows its place in the text.
//!
//! Scalars stay text until somebody asks for a type, so that `07:30`, `5` and `2013-01-01` mean what their reader makes
//! of them. Anchors and aliases work, within a budget; tags other than `!!str` do not.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::Diagnostic;
use crate::findings::{Findings, Position};

/// How deep a text may nest. Deeper texts are attacks or accidents, and would exhaust the stack.
const DEPTH_MAX: usize = 64;
/// How many nodes a text may have, aliases expanded. Keeps ten lines of nested anchors from filling the memory.
const NODES_MAX: usize = 100_000;

/// A node of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub data: Data,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Data {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys are scalars, each there once, in the text's order.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub at: Position,
    /// Its text.
    pub text: String,
}

/// A scalar as it is written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its text.
    pub text: String,
    /// How it is written.
    pub style: Style,
}

/// How a scalar is written, as far as it matters for types and places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be read as a number, a truth value or nothing.
    Plain,
    /// In quotes, which take one column.
    Quoted,
    /// A `|` block; its place is that of its text.
    Literal,
    /// A `>` block; its place is that of its text, but its lines are no longer those of the file.
    Folded,
}

impl Node {
    /// Whether nothing is written here: `key:` or `key: null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.data {
            Data::Scalar(scalar) => scalar.style == Style::Plain && matches!(scalar.text.as_str(), "" | "~" | "null"),
            _ => false,
        }
    }

    fn nodes(&self) -> usize {
        match &self.data {
            Data::Scalar(_) => 1,
            Data::List(items) => 1 + items.iter().map(Self::nodes).sum::<usize>(),
            Data::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + value.nodes()).sum::<usize>(),
        }
    }
}

/// Reads a text as one document, for whoever reads other files than flows.
///
/// # Errors
/// It is no YAML, or a key appears twice.
pub fn read(file_name: &str, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut findings = Findings::new(file_name);
    let root = parse(text, &mut findings);
    findings.finish(root)
}

/// Reads a text as one document. `None`: it is no YAML, and the findings say why. Keys that appear twice are found, and
/// the first stands.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, findings };
    match builder.document() {
        Ok(node) => Some(node),
        Err(Stop { at, message, remedy }) => {
            findings.add(at, message, Some(remedy.to_owned()));
            None
        }
    }
}

/// Why building ended early.
struct Stop {
    at: Position,
    message: String,
    remedy: &'static str,
}

impl Stop {
    fn new(at: Position, message: impl Into<String>, remedy: &'static str) -> Self {
        Self { at, message: message.into(), remedy }
    }
}

const CHECK_SYNTAX: &str = "check indentation, quotes and brackets up to here";

struct Builder<'a, 'f> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    findings: &'f mut Findings,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    let message = "a second document begins here";
                    return Err(Stop::new(position(span.start), message, "move it to a file of its own"));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let nothing = Scalar { text: String::new(), style: Style::Plain };
        Ok(root.unwrap_or(Node { at: Position { line: 1, column: 1 }, data: Data::Scalar(nothing) }))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                Err(Stop::new(position(*error.marker()), format!("not YAML: {}", error.info()), CHECK_SYNTAX))
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let at = position(span.start);
        if depth > DEPTH_MAX {
            return Err(Stop::new(at, format!("nested deeper than {DEPTH_MAX} levels"), "make it flatter"));
        }
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted_by_tag = check_tag(at, tag.as_deref())?;
                (Data::Scalar(scalar(text.into_owned(), style, quoted_by_tag)), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(at, tag.as_deref())?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(at, tag.as_deref())?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(at, anchor),
            _ => return Err(Stop::new(at, "not YAML: a value is missing", CHECK_SYNTAX)),
        };
        self.count(1, at)?;
        let node = Node { at, data };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Result<Node, Stop> {
        let node = self.anchors.get(&anchor).cloned();
        let node =
            node.ok_or_else(|| Stop::new(at, "an alias refers to something it is part of", "write the value out"))?;
        self.count(node.nodes(), at)?;
        Ok(node)
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            Err(Stop::new(at, format!("more than {NODES_MAX} values"), "split the file, or use fewer aliases"))
        } else {
            Ok(())
        }
    }

    fn list(&mut self, depth: usize) -> Result<Data, Stop> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(Data::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Data, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines = HashMap::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let Data::Scalar(scalar) = key.data else {
                return Err(Stop::new(key.at, "a key is a list or a map", "write a word before the colon"));
            };
            let key = Key { at: key.at, text: scalar.text };
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, span, depth + 1)?;
            match lines.get(&key.text) {
                Some(line) => {
                    let message = format!("{} appears twice; it is on line {line} already", key.text);
                    self.findings.add(key.at, message, Some("keep one of them".to_owned()));
                }
                None => {
                    lines.insert(key.text.clone(), key.at.line);
                    entries.push((key, value));
                }
            }
        }
        Ok(Data::Map(entries))
    }
}

fn scalar(text: String, style: ScalarStyle, quoted_by_tag: bool) -> Scalar {
    let style = match style {
        ScalarStyle::Plain if !quoted_by_tag => Style::Plain,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
        _ => Style::Quoted,
    };
    Scalar { text, style }
}

/// Whether a tag makes its scalar text; an error for tags that say anything else.
fn check_tag(at: Position, tag: Option<&Tag>) -> Result<bool, Stop> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.handle == "tag:yaml.org,2002:" && tag.suffix == "str" => Ok(true),
        Some(tag) => Err(Stop::new(at, format!("unknown tag {}{}", tag.handle, tag.suffix), "leave it out")),
    }
}

fn position(marker: Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col()).saturating_add(1) }
}
