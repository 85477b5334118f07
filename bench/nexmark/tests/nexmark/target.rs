//! What the questions of the kill matrix write to: a table's columns and key for each question, and its options for each
//! system.

/// A question of the matrix, and the table that takes its answer.
pub(crate) struct Answer {
    pub(crate) query: &'static str,
    columns: &'static str,
    /// The key by which rows are updated; without one, rows only come.
    pub(crate) key: Option<&'static str>,
    /// The columns that are compared: where several rows are equally good, not all.
    pub(crate) compared: &'static str,
}

const BID: &str =
    "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP(3), extra VARCHAR";
const COUNTS: &str = "total_bids BIGINT, rank1_bids BIGINT, rank2_bids BIGINT, rank3_bids BIGINT";
const DISTINCT: &str = "total_bidders BIGINT, rank1_bidders BIGINT, rank2_bidders BIGINT, rank3_bidders BIGINT, \
                        total_auctions BIGINT, rank1_auctions BIGINT, rank2_auctions BIGINT, rank3_auctions BIGINT";

const fn answer(query: &'static str, columns: &'static str, key: Option<&'static str>) -> Answer {
    Answer { query, columns, key, compared: "*" }
}

/// The questions of the matrix.
pub(crate) const ANSWERS: [Answer; 13] = [
    answer("q3", "name VARCHAR, city VARCHAR, state VARCHAR, id BIGINT", None),
    answer("q4", "category BIGINT, average DOUBLE", Some("category")),
    answer("q5", "auction BIGINT, num BIGINT", None),
    answer("q7", "auction BIGINT, price BIGINT, bidder BIGINT, date_time TIMESTAMP(3), extra VARCHAR", None),
    answer("q8", "id BIGINT, name VARCHAR, window_start TIMESTAMP(3)", None),
    answer(
        "q9",
        "id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), expires \
         TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR, auction BIGINT, bidder BIGINT, price BIGINT, bid_date_time \
         TIMESTAMP(3), bid_extra VARCHAR",
        Some("id"),
    ),
    answer("q11", "bidder BIGINT, bid_count BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)", None),
    answer("q15", "dt VARCHAR, {counts}, {distinct}", Some("dt")),
    answer("q16", "channel VARCHAR, dt VARCHAR, minute_max VARCHAR, {counts}, {distinct}", Some("channel, dt")),
    answer(
        "q17",
        "auction BIGINT, dt VARCHAR, {counts}, min_price BIGINT, max_price BIGINT, avg_price DOUBLE, sum_price BIGINT",
        Some("auction, dt"),
    ),
    answer("q18", "{bid}", Some("bidder, auction")),
    Answer {
        compared: "auction, price, rank_number",
        ..answer("q19", "{bid}, rank_number BIGINT", Some("auction, rank_number"))
    },
    answer(
        "q20",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, bid_date_time TIMESTAMP(3), bid_extra \
         VARCHAR, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, auction_date_time TIMESTAMP(3), \
         expires TIMESTAMP(3), seller BIGINT, category BIGINT, auction_extra VARCHAR",
        None,
    ),
];

impl Answer {
    fn columns(&self) -> String {
        self.columns.replace("{bid}", BID).replace("{counts}", COUNTS).replace("{distinct}", DISTINCT)
    }

    /// The table `out` with these options. Where changes are written as such, no key replaces a row.
    pub(crate) fn table(&self, system: System, options: &str) -> String {
        let key = self.key.filter(|_| system == System::Postgres);
        let key = key.map_or_else(String::new, |key| format!(", PRIMARY KEY ({key}) NOT ENFORCED"));
        format!("CREATE TABLE out ({}{key}) WITH ({options});\n", self.columns())
    }

    /// The same table in PostgreSQL.
    pub(crate) fn database_table(&self, name: &str) -> String {
        let columns = self.columns().replace("DOUBLE", "DOUBLE PRECISION");
        let key = self.key.map_or_else(String::new, |key| format!(", PRIMARY KEY ({key})"));
        format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns}{key})")
    }
}

/// A system that takes rows exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// A view's own result.
    View,
    /// A topic of the embedded event log.
    Log,
    /// Files.
    Files,
    /// A table of the lake.
    Lake,
    /// PostgreSQL.
    Postgres,
    /// Apache Kafka.
    Kafka,
}

impl System {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [Self::View, Self::Log, Self::Files, Self::Lake, Self::Postgres, Self::Kafka];

    /// Whether it takes updates of rows that it has: topics as a changelog, which their reader folds.
    pub(crate) fn takes_changes(self) -> bool {
        !matches!(self, Self::Files | Self::Lake)
    }

    /// Whether it takes what came between two checkpoints as a transaction. A view's result is part of the checkpoint, and files
    /// are renamed into place.
    pub(crate) fn has_commit(self) -> bool {
        !matches!(self, Self::View | Self::Files)
    }
}
