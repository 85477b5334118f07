//! Who is let in, over the wire.

use mulgil_server::client::Client;

use super::fixture::{DAILY, Fixture, refusal};

const TOKEN: &str = "a-token-of-good-length";

fn raw() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None).build().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_can_neither_read_by_rebinding_nor_change_anything() {
    let fixture = Fixture::start(&[DAILY]).await;
    let url = fixture.url();
    fixture
        .call(move |_| {
            let post = |header: &str, value: &str| {
                let request = raw().post(format!("{url}/api/v1/flows/daily/pause")).header(header, value);
                request.send_empty().unwrap().status().as_u16()
            };
            assert_eq!(post("Origin", "http://evil.example"), 403);
            assert_eq!(post("Sec-Fetch-Site", "cross-site"), 403);
            assert_eq!(post("Origin", &url), 204);
            let rebound = raw().get(format!("{url}/api/v1/flows")).header("Host", "evil.example").call().unwrap();
            assert_eq!(rebound.status().as_u16(), 403);
        })
        .await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_as_header_or_as_a_browser_s_cookie() {
    let fixture = Fixture::start_with(&[DAILY], Some(TOKEN)).await;
    let url = fixture.url();
    assert_eq!(fixture.call(|client| client.flows()).await.unwrap().len(), 1);
    fixture
        .call(move |_| {
            let (status, code, _) = refusal(Client::new(&url, None).flows());
            assert_eq!((status, code.as_str()), (401, "unauthorized"));
            assert_eq!(raw().get(format!("{url}/api/v1/healthz")).call().unwrap().status().as_u16(), 200);
            let entered = raw().get(format!("{url}/?token={TOKEN}")).call().unwrap();
            assert_eq!(entered.status().as_u16(), 303);
            let cookie = entered.headers()["set-cookie"].to_str().unwrap().to_owned();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
            let cookie = cookie.split(';').next().unwrap();
            let answer = raw().get(format!("{url}/api/v1/flows")).header("Cookie", cookie).call().unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            let wrong = raw().get(format!("{url}/?token=wrong")).call().unwrap();
            assert!(wrong.headers().get("set-cookie").is_none());
        })
        .await;
    fixture.stop().await;
}
