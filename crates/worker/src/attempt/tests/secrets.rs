//! Secrets: given to tasks, and seen nowhere.

use serde_json::json;

use super::bench::House;

const PROJECT: &str = "secrets: {token: 'env:TOKEN', key: 'file:key.pem', gone: 'env:GONE', short: 'env:SHORT'}";

fn house() -> House {
    let house = House::new(PROJECT).with("TOKEN", "s3cr3t'x$y").with("SHORT", "abc");
    std::fs::write(house.path().join("key.pem"), "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----\n").unwrap();
    house
}

#[tokio::test]
async fn a_task_gets_secrets_and_neither_its_log_nor_its_result_shows_them() {
    let house = house();
    let task = r#"
    env: {T: "{{ secrets.token }}", K: "{{ secrets.key }}"}
    shell: |
      echo "$T" {{ secrets.token }}
      echo "$K"
      test "$T" = "s3cr3t'x\$y" && test {{ secrets.token }} = "$T" && test "$K" = "$(cat key.pem)" || exit 1
      env
      printf '{"said": ["the token is %s"]}' "$T" > "$MULGIL_RESULT""#;
    let ended = house.run(task).await;
    assert_eq!(ended.result(), json!({"said": ["the token is ***"]}));
    assert!(ended.log.contains("*** ***\n***\n***\n***"), "{}", ended.log);
    assert!(ended.log.contains("TOKEN=***"), "{}", ended.log);
    for secret in ["s3cr3t", "MIIEvQIBADAN", "BEGIN"] {
        assert!(!ended.log.contains(secret), "{secret} in\n{}", ended.log);
    }
}

#[tokio::test]
async fn a_secret_in_a_line_that_is_cut_into_pieces_is_masked_wherever_the_cut_falls() {
    let house = house();
    // Around 64 KiB, where lines are cut.
    for before in (65_536 - 11)..=65_536 {
        let command = format!(r#"{{shell: "head -c {before} /dev/zero | tr '\\0' x; echo \"$TOKEN\" end"}}"#);
        std::fs::remove_file(house.path().join("t.log")).ok();
        let ended = house.run(&command).await;
        let said: String = ended.log.lines().filter(|line| !line.starts_with("[mulgil]")).collect();
        assert_eq!(said.trim_start_matches('x'), "*** end", "after {before}");
    }
}

#[tokio::test]
async fn a_failed_task_does_not_say_the_secret_either() {
    let house = house();
    let ended = house.run(r#"{shell: "echo {{ secrets.token }} >&2; exit 3"}"#).await;
    assert_eq!(ended.error(), "the command ended with exit code 3; its last lines:\n***");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_with_what_to_do_and_others_do_not_mind() {
    let house = house();
    let ended = house.run(r#"{shell: "echo {{ secrets.gone }}"}"#).await;
    assert_eq!(ended.error(), "secret gone: the environment variable GONE is not set: set it where the server starts");
    let ended = house.run(r#"{env: {A: "{{ secrets.short }}"}, shell: "echo $A"}"#).await;
    assert!(ended.error().starts_with("secret short is shorter than 4 characters"), "{}", ended.error());
}
