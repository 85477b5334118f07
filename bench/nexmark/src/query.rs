//! The 23 questions, and how their answers are compared.

/// How the final rows of a stream are compared to those of batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// All columns.
    Rows,
    /// Some columns: which of several equally good rows has the others is left open.
    Columns(&'static [&'static str]),
    /// The sum of a column, which must be the number of bids: the rows depend on when the query runs.
    TotalOfBids(&'static str),
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// `q0` to `q22`.
    pub name: &'static str,
    /// Its `SELECT`.
    pub text: &'static str,
    /// How its answers are compared.
    pub compare: Compare,
    /// The table that it writes to, where that is part of the question; else its rows are thrown away.
    pub file_sink: Option<&'static str>,
}

const BID_LOG: &str = "CREATE TABLE bid_log (auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), \
                       extra VARCHAR, dt VARCHAR, hm VARCHAR) PARTITIONED BY (dt, hm) {files}";

macro_rules! query {
    ($name:literal) => {
        Query {
            name: $name,
            text: include_str!(concat!("../queries/", $name, ".sql")),
            compare: Compare::Rows,
            file_sink: None,
        }
    };
}

/// All of them.
pub const QUERIES: [Query; 23] = [
    query!("q0"),
    query!("q1"),
    query!("q2"),
    query!("q3"),
    query!("q4"),
    query!("q5"),
    query!("q6"),
    query!("q7"),
    query!("q8"),
    query!("q9"),
    Query { file_sink: Some(BID_LOG), ..query!("q10") },
    query!("q11"),
    Query { compare: Compare::TotalOfBids("bid_count"), ..query!("q12") },
    query!("q13"),
    query!("q14"),
    query!("q15"),
    query!("q16"),
    query!("q17"),
    query!("q18"),
    Query { compare: Compare::Columns(&["auction", "price", "rank_number"]), ..query!("q19") },
    query!("q20"),
    query!("q21"),
    query!("q22"),
];

/// Beside Nexmark: what stream and batch engines can be compared on.
pub const TUMBLE: Query = query!("tumble");

/// The queries of these names; all of Nexmark where none is named; `None` where a name is unknown.
pub fn queries(names: &[String]) -> Option<Vec<Query>> {
    if names.is_empty() {
        return Some(QUERIES.to_vec());
    }
    names.iter().map(|name| QUERIES.into_iter().chain([TUMBLE]).find(|query| query.name == name)).collect()
}
