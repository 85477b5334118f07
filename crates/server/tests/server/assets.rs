//! The web UI's files, and what stands around the API.

use super::fixture::{DAILY, Fixture};

pub(super) fn get(url: &str) -> ureq::http::Response<ureq::Body> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    ureq::Agent::from(config).get(url).call().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_the_app_and_carries_its_policy() {
    let fixture = Fixture::start(&[]).await;
    let url = fixture.url();
    fixture
        .call(move |_| {
            for page in ["/", "/flows/daily", "/runs/3"] {
                let answer = get(&format!("{url}{page}"));
                assert_eq!(answer.status().as_u16(), 200, "{page}");
                let headers = answer.headers();
                assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"), "{page}");
                assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'self'"));
                assert_eq!(headers["cache-control"], "no-cache");
            }
            assert_eq!(get(&format!("{url}/assets/nothing.js")).status().as_u16(), 404);
            let mut unknown = get(&format!("{url}/api/v1/nothing"));
            assert_eq!(unknown.status().as_u16(), 404);
            let body: mulgil_server::error::ErrorBody = unknown.body_mut().read_json().unwrap();
            assert_eq!(body.code, "not_found");
        })
        .await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_documents_are_served() {
    let fixture = Fixture::start(&[DAILY]).await;
    let url = fixture.url();
    fixture
        .call(move |_| {
            let metrics = get(&format!("{url}/api/v1/metrics")).body_mut().read_to_string().unwrap();
            assert!(
                metrics.contains("# TYPE mulgil_pool_slots gauge\nmulgil_pool_slots{pool=\"default\"} 8\n"),
                "{metrics}"
            );
            let schema: serde_json::Value =
                get(&format!("{url}/api/v1/flow-schema.json")).body_mut().read_json().unwrap();
            assert!(schema["properties"]["tasks"].is_object());
            let document: serde_json::Value =
                get(&format!("{url}/api/v1/openapi.json")).body_mut().read_json().unwrap();
            assert!(document["paths"]["/api/v1/runs/{run}"].is_object());
        })
        .await;
    fixture.stop().await;
}
