//! What event `n` is: a pure function of the seed and of `n`, whoever asks and in whatever order.
//!
//! Of each fifty events one is a new person, three are new auctions and 46 are bids. Ids go up with the events. Some
//! auctions, sellers and bidders are hot: a bid goes to the hot auction every second time, is made by the hot bidder three
//! times of four, and an auction is opened by the hot seller three times of four; who is hot changes every hundred ids.
//! Everybody else is chosen evenly among the latest thousand persons and the latest hundred auctions, a few of them ahead
//! of their own events. Prices are spread evenly over the orders of magnitude.

use crate::random::Random;
use crate::words;

/// Events of a round.
pub const ROUND: u64 = 50;
/// New persons of a round: the first events.
pub const PERSONS_PER_ROUND: u64 = 1;
/// New auctions of a round: after the persons.
pub const AUCTIONS_PER_ROUND: u64 = 3;
/// Bids of a round: the rest.
pub const BIDS_PER_ROUND: u64 = ROUND - PERSONS_PER_ROUND - AUCTIONS_PER_ROUND;

/// The event time of event 0: 2015-07-14 23:59:00, so that a day ends within the first minute.
pub const BASE_TIME_MS: i64 = 1_436_918_400_000 - 60_000;

const FIRST_PERSON: i64 = 1_000;
const FIRST_AUCTION: i64 = 1_000;
const FIRST_CATEGORY: i64 = 10;
const CATEGORIES: i64 = 5;
/// How many persons are active at a time.
const ACTIVE_PERSONS: i64 = 1_000;
/// How many auctions are open at a time.
const OPEN_AUCTIONS: i64 = 100;
/// How far an id may be ahead of its event.
const PERSON_LEAD: i64 = 10;
const AUCTION_LEAD: i64 = 10;
/// Who is hot changes every so many ids.
const HOT_SPAN: i64 = 100;
/// Of so many choices, one is not hot.
const HOT_SELLER_RATIO: u64 = 4;
const HOT_AUCTION_RATIO: u64 = 2;
const HOT_BIDDER_RATIO: u64 = 4;
/// Usual sizes of events in bytes.
const PERSON_SIZE: usize = 200;
const AUCTION_SIZE: usize = 500;
const BID_SIZE: usize = 100;

/// Which stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generator {
    /// Other seeds, other events.
    pub seed: u64,
    /// Events in a second of event time.
    pub events_per_second: u64,
}

impl Default for Generator {
    fn default() -> Self {
        Self { seed: 1, events_per_second: 10_000 }
    }
}

/// Somebody registers.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the columns of the table")]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub email_address: String,
    pub credit_card: String,
    pub city: String,
    pub state: String,
    pub date_time_ms: i64,
    pub extra: String,
}

/// Somebody puts something up for sale.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the columns of the table")]
pub struct Auction {
    pub id: i64,
    pub item_name: String,
    pub description: String,
    pub initial_bid: i64,
    pub reserve: i64,
    pub date_time_ms: i64,
    pub expires_ms: i64,
    pub seller: i64,
    pub category: i64,
    pub extra: String,
}

/// Somebody makes an offer.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the columns of the table")]
pub struct Bid {
    pub auction: i64,
    pub bidder: i64,
    pub price: i64,
    pub channel: String,
    pub url: String,
    pub date_time_ms: i64,
    pub extra: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A new person.
    Person(Person),
    /// A new auction.
    Auction(Auction),
    /// A bid.
    Bid(Bid),
}

impl Generator {
    /// Event `number`.
    pub fn event(&self, number: u64) -> Event {
        let mut random = Random::of_event(self.seed, number);
        match number % ROUND {
            place if place < PERSONS_PER_ROUND => Event::Person(self.person(number, &mut random)),
            place if place < PERSONS_PER_ROUND + AUCTIONS_PER_ROUND => {
                Event::Auction(self.auction(number, &mut random))
            }
            _ => Event::Bid(self.bid(number, &mut random)),
        }
    }

    /// When event `number` happens.
    pub fn time_ms(&self, number: u64) -> i64 {
        BASE_TIME_MS + (u128::from(number) * 1_000 / u128::from(self.events_per_second.max(1))) as i64
    }

    fn person(&self, number: u64, random: &mut Random) -> Person {
        let name = words::name(random);
        let email_address = words::email(random);
        let credit_card = words::credit_card(random);
        let city = random.one_of(&words::CITIES).to_owned();
        let state = random.one_of(&words::STATES).to_owned();
        let size = 8 + name.len() + email_address.len() + credit_card.len() + city.len() + state.len();
        let extra = words::padding(random, size, PERSON_SIZE);
        let id = FIRST_PERSON + latest_person(number);
        Person { id, name, email_address, credit_card, city, state, date_time_ms: self.time_ms(number), extra }
    }

    fn auction(&self, number: u64, random: &mut Random) -> Auction {
        let seller = if random.below(HOT_SELLER_RATIO) > 0 {
            latest_person(number) / HOT_SPAN * HOT_SPAN
        } else {
            any_person(number, random)
        };
        let category = FIRST_CATEGORY + random.below_id(CATEGORIES);
        let initial_bid = price(random);
        let reserve = initial_bid + price(random);
        let date_time_ms = self.time_ms(number);
        let expires_ms = date_time_ms + self.auction_length_ms(number, random);
        let item_name = words::text(random, 20, ' ');
        let description = words::text(random, 100, ' ');
        let extra = words::padding(random, 8 * 6 + item_name.len() + description.len(), AUCTION_SIZE);
        Auction {
            id: FIRST_AUCTION + latest_auction(number),
            item_name,
            description,
            initial_bid,
            reserve,
            date_time_ms,
            expires_ms,
            seller: FIRST_PERSON + seller,
            category,
            extra,
        }
    }

    /// On average so long that there are [`OPEN_AUCTIONS`] at a time.
    fn auction_length_ms(&self, number: u64, random: &mut Random) -> i64 {
        let events = OPEN_AUCTIONS.unsigned_abs() * ROUND / AUCTIONS_PER_ROUND;
        let horizon_ms = self.time_ms(number + events) - self.time_ms(number);
        1 + random.below_id(horizon_ms * 2)
    }

    fn bid(&self, number: u64, random: &mut Random) -> Bid {
        let auction = if random.below(HOT_AUCTION_RATIO) > 0 {
            latest_auction(number) / HOT_SPAN * HOT_SPAN
        } else {
            any_auction(number, random)
        };
        let bidder = if random.below(HOT_BIDDER_RATIO) > 0 {
            latest_person(number) / HOT_SPAN * HOT_SPAN + 1
        } else {
            any_person(number, random)
        };
        let price = price(random);
        let (channel, url) = words::channel_and_url(random, self.seed);
        Bid {
            auction: FIRST_AUCTION + auction,
            bidder: FIRST_PERSON + bidder,
            price,
            channel,
            url,
            date_time_ms: self.time_ms(number),
            extra: words::padding(random, 8 * 4, BID_SIZE),
        }
    }
}

/// The number of the last person registered when event `number` happens, that event included.
fn latest_person(number: u64) -> i64 {
    let registered = (number % ROUND + 1).min(PERSONS_PER_ROUND);
    (number / ROUND * PERSONS_PER_ROUND + registered).cast_signed() - 1
}

/// The number of the last auction opened when event `number` happens, that event included; -1 before the first.
fn latest_auction(number: u64) -> i64 {
    let opened = (number % ROUND + 1).saturating_sub(PERSONS_PER_ROUND).min(AUCTIONS_PER_ROUND);
    (number / ROUND * AUCTIONS_PER_ROUND + opened).cast_signed() - 1
}

fn any_person(number: u64, random: &mut Random) -> i64 {
    let count = latest_person(number) + 1;
    let active = count.min(ACTIVE_PERSONS);
    count - active + random.below_id(active + PERSON_LEAD)
}

fn any_auction(number: u64, random: &mut Random) -> i64 {
    let latest = latest_auction(number);
    let oldest = (latest - OPEN_AUCTIONS).max(0);
    oldest + random.below_id(latest - oldest + 1 + AUCTION_LEAD)
}

/// From 100 to 100,000,000 cents.
fn price(random: &mut Random) -> i64 {
    (10_f64.powf(random.fraction() * 6.0) * 100.0).round() as i64
}

#[cfg(test)]
mod tests;
