//! Queues are bounded in bytes, wake whom they should, and lose nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use arrow::array::RecordBatch;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::InputState;

use super::*;

fn time(watermark: i64) -> Message {
    Message::Time(InputTime { watermark: Watermark(watermark), state: InputState::Active })
}

fn watermark(item: &Item) -> i64 {
    match item.message {
        Message::Time(time) => time.watermark.0,
        _ => panic!("no time"),
    }
}

/// A message that stands for itself.
fn read(position: Position) -> Message {
    Message::Read(Batch::append(RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))), position)
}

fn position(item: &Item) -> Position {
    match item.message {
        Message::Read(_, position) => position,
        _ => panic!("nothing read"),
    }
}

#[test]
fn a_newer_time_takes_the_place_of_one_that_nobody_has_taken() {
    let queue = Queue::new(1_000, Signal::Nobody, Signal::Nobody);
    let said = |sender, watermark, state| {
        let time = InputTime { watermark: Watermark(watermark), state };
        queue.push(sender, Message::Time(time), watermark.unsigned_abs());
    };
    said(0, 5, InputState::Active);
    said(1, 7, InputState::Active);
    said(0, 9, InputState::Active);
    // What is behind a row stays behind it.
    queue.push(0, read(1), 0);
    said(0, 11, InputState::Active);
    said(0, i64::MIN, InputState::Idle);
    assert_eq!(queue.size_bytes(), 4 * MESSAGE_BYTES);
    let first = queue.pop().unwrap();
    assert_eq!((first.sender, watermark(&first), first.read_ns), (0, 9, 5));
    assert_eq!(watermark(&queue.pop().unwrap()), 7);
    // One that was taken is gone.
    said(1, 8, InputState::Active);
    assert_eq!(position(&queue.pop().unwrap()), 1);
    let last = queue.pop().unwrap();
    assert!(matches!(last.message, Message::Time(time) if time.state == InputState::Idle && time.watermark.0 == 11));
    assert_eq!(watermark(&queue.pop().unwrap()), 8);
    assert!(queue.pop().is_none() && queue.size_bytes() == 0);
}

#[test]
fn messages_come_out_in_order_and_count_even_without_rows() {
    let queue = Queue::new(100, Signal::Nobody, Signal::Nobody);
    assert!(queue.has_room() && queue.pop().is_none());
    queue.push(3, time(1), 0);
    assert!(queue.has_room());
    queue.push(4, time(2), 0);
    assert!(!queue.has_room());
    let first = queue.pop().unwrap();
    assert_eq!((first.sender, watermark(&first)), (3, 1));
    assert_eq!(watermark(&queue.pop().unwrap()), 2);
    assert_eq!(queue.size_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_waits_for_room_is_woken_for_any_bound() {
    for size_bytes_max in [1, 100, 1_000] {
        let queue = Queue::new(size_bytes_max, Signal::Nobody, Signal::Tasks(Arc::default()));
        let sender = Arc::clone(&queue);
        let sending = tokio::spawn(async move {
            for number in 0..1_000 {
                sender.wait_for_room().await;
                sender.push(0, read(number), 0);
            }
        });
        let mut next = 0;
        while next < 1_000 {
            match queue.pop() {
                Some(item) => {
                    assert_eq!(position(&item), next);
                    next += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
        tokio::time::timeout(Duration::from_secs(60), sending).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_waits_for_messages_gets_all_of_them() {
    let queue = Queue::new(1_000, Signal::Tasks(Arc::default()), Signal::Nobody);
    let receiver = Arc::clone(&queue);
    let receiving = tokio::spawn(async move {
        for number in 0..10_000 {
            assert_eq!(position(&receiver.wait_for_item().await), number);
        }
    });
    std::thread::spawn(move || {
        (0..10_000).for_each(|number| {
            queue.push(0, read(number), 0);
        })
    })
    .join()
    .unwrap();
    tokio::time::timeout(Duration::from_secs(60), receiving).await.unwrap().unwrap();
}

#[test]
fn a_ring_between_listening_and_waiting_is_not_lost() {
    let bell = Arc::new(Bell::default());
    let queue = Queue::new(1_000, Signal::Workers(vec![Arc::clone(&bell)]), Signal::Nobody);
    let sender = Arc::clone(&queue);
    let sending = std::thread::spawn(move || {
        (0..10_000).for_each(|number| {
            sender.push(0, read(number), 0);
        })
    });
    let mut received = 0;
    while received < 10_000 {
        bell.listen();
        let mut worked = false;
        while queue.pop().is_some() {
            received += 1;
            worked = true;
        }
        if !worked {
            bell.wait();
        }
    }
    sending.join().unwrap();
}
