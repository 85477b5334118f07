//! Properties of the stream of events: it is reproducible, ordered in time, and spread as Nexmark says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashMap;

use super::*;

fn bids(generator: Generator, count: u64) -> Vec<Bid> {
    let bid = |event| match event {
        Event::Bid(bid) => Some(bid),
        _ => None,
    };
    (0..count).filter_map(|number| bid(generator.event(number))).collect()
}

#[test]
fn an_event_is_the_same_whoever_asks() {
    let generator = Generator::default();
    let forwards: Vec<Event> = (0..500).map(|number| generator.event(number)).collect();
    let backwards: Vec<Event> = (0..500).rev().map(|number| generator.event(number)).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    let other = Generator { seed: 2, ..generator };
    assert_ne!(generator.event(10), other.event(10));
}

/// Figures in READMEs are about these very events: changing them asks for new figures.
#[test]
fn the_events_of_seed_one_stay() {
    let Event::Person(person) = Generator::default().event(1_000_000) else { panic!("a person") };
    let Event::Auction(auction) = Generator::default().event(1_000_001) else { panic!("an auction") };
    let Event::Bid(bid) = Generator::default().event(1_000_004) else { panic!("a bid") };
    assert_eq!((person.id, person.date_time_ms), (21_000, BASE_TIME_MS + 100_000));
    assert_eq!(auction.id, 61_000);
    assert_eq!(
        (person.name.as_str(), auction.seller, auction.category, bid.auction, bid.bidder, bid.price),
        PINNED,
        "the generator gives other events than before"
    );
}

const PINNED: (&str, i64, i64, i64, i64, i64) = ("Luke Walton", 21_000, 14, 61_000, 20_926, 2_010_686);

#[test]
fn of_fifty_events_one_is_a_person_and_three_are_auctions() {
    let mut counts = [0; 3];
    for number in 0..5_000 {
        counts[match Generator::default().event(number) {
            Event::Person(_) => 0,
            Event::Auction(_) => 1,
            Event::Bid(_) => 2,
        }] += 1;
    }
    assert_eq!(counts, [100, 300, 4_600]);
}

#[test]
fn ids_count_up_and_time_follows_the_rate() {
    let generator = Generator { events_per_second: 1_000, ..Generator::default() };
    let (mut person_next, mut auction_next) = (FIRST_PERSON, FIRST_AUCTION);
    for number in 0..2_000 {
        let time_ms = match generator.event(number) {
            Event::Person(person) => {
                assert_eq!(person.id, person_next);
                person_next += 1;
                person.date_time_ms
            }
            Event::Auction(auction) => {
                assert_eq!(auction.id, auction_next);
                auction_next += 1;
                assert!(auction.expires_ms > auction.date_time_ms && auction.reserve > auction.initial_bid);
                auction.date_time_ms
            }
            Event::Bid(bid) => bid.date_time_ms,
        };
        assert_eq!(time_ms, BASE_TIME_MS + number as i64);
    }
}

#[test]
fn bids_are_spread_as_described() {
    let bids = bids(Generator::default(), 200_000);
    let share = |count: usize| count as f64 / bids.len() as f64;
    let near = |value: f64, wanted: f64| (value - wanted).abs() < 0.02;

    let mut per_auction: HashMap<i64, usize> = HashMap::new();
    bids.iter().for_each(|bid| *per_auction.entry(bid.auction).or_default() += 1);
    let hot: usize = per_auction.iter().filter(|(auction, _)| *auction % HOT_SPAN == 0).map(|(_, count)| count).sum();
    assert!(near(share(hot), 0.5 + 0.5 / 100.0), "hot auctions get {}", share(hot));

    let hot = bids.iter().filter(|bid| (bid.bidder - FIRST_PERSON) % HOT_SPAN == 1).count();
    assert!(near(share(hot), 0.75 + 0.25 / 100.0), "hot bidders make {}", share(hot));

    let named = bids.iter().filter(|bid| bid.url.contains("&channel_id=")).count();
    assert!(near(share(named), 0.45), "{} of the addresses name their channel", share(named));
    assert!(near(share(bids.iter().filter(|bid| bid.channel == "Apple").count()), 0.125));

    // Six orders of magnitude, evenly.
    for power in 2..8 {
        let range = 10_i64.pow(power)..10_i64.pow(power + 1);
        assert!(near(share(bids.iter().filter(|bid| range.contains(&bid.price)).count()), 1.0 / 6.0));
    }
    let extra = bids.iter().map(|bid| bid.extra.len()).sum::<usize>() / bids.len();
    assert_eq!(extra, BID_SIZE - 32 - 1);
}
