//! The texts of events: names, words, and the padding that brings an event to its usual size.

use crate::random::Random;

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
/// Where persons live: states.
pub(crate) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
/// Where persons live: cities.
pub(crate) const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
/// The channels of half of all bids.
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// How many other channels there are.
const CHANNELS: u64 = 10_000;

/// First and last name.
pub(crate) fn name(random: &mut Random) -> String {
    format!("{} {}", random.one_of(&FIRST_NAMES), random.one_of(&LAST_NAMES))
}

/// A text of 3 to `length_max - 1` letters, in which about every thirteenth is `gap`.
pub(crate) fn text(random: &mut Random, length_max: u64, gap: char) -> String {
    let length = 3 + random.below(length_max.saturating_sub(3).max(1));
    let mut text = String::with_capacity(length as usize);
    for _ in 0..length {
        let letter = random.below(13 * 26);
        text.push(if letter < 26 { gap } else { char::from(b'a' + (letter % 26) as u8) });
    }
    text.trim().to_owned()
}

/// `word@word.com`.
pub(crate) fn email(random: &mut Random) -> String {
    format!("{}@{}.com", text(random, 7, ' '), text(random, 5, ' '))
}

/// Four groups of four digits.
pub(crate) fn credit_card(random: &mut Random) -> String {
    let mut group = || random.below(10_000);
    format!("{:04} {:04} {:04} {:04}", group(), group(), group(), group())
}

/// A channel and the address that the bid came from. Half of the bids come from four hot channels, whose addresses name
/// no channel; nine tenths of the others' do.
pub(crate) fn channel_and_url(random: &mut Random, seed: u64) -> (String, String) {
    if random.below(2) > 0 {
        let hot = random.one_of(&HOT_CHANNELS);
        let number = hot.len() as u64 * 31 + u64::from(hot.as_bytes().first().copied().unwrap_or_default());
        // The address of a hot channel is always the same.
        return (hot.to_owned(), base_url(&mut Random::of_event(!seed, number)));
    }
    let channel = random.below(CHANNELS);
    // Each channel has one address too.
    let mut own = Random::of_event(!seed, CHANNELS + channel);
    let mut url = base_url(&mut own);
    if own.below(10) > 0 {
        url.push_str(&format!("&channel_id={}", (channel as u32).reverse_bits() >> 1));
    }
    (format!("channel-{channel}"), url)
}

fn base_url(random: &mut Random) -> String {
    let mut part = || text(random, 5, '_');
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", part(), part(), part())
}

/// Letters that bring an event of `size` bytes to about `size_usual`, give or take a fifth of the padding.
pub(crate) fn padding(random: &mut Random, size: usize, size_usual: usize) -> String {
    let Some(missing) = size_usual.checked_sub(size) else { return String::new() };
    let spread = (missing + 2) / 5;
    let count = missing - spread + random.below((2 * spread).max(1) as u64) as usize;
    let mut letters = String::with_capacity(count);
    random.letters(count, &mut letters);
    letters
}
