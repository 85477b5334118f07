//! The form of what starts a run from outside.

use crate::read::{Entries, Text, raw_map};

raw_map! {
    /// Something that starts runs: exactly one of file or webhook.
    RawTrigger: "the trigger" {
        /// Each new file that matches the pattern, relative to the project's folder, starts a run: `landing/*.csv`.
        "file" file: Text,
        /// The parameter that gets the file's path. Without it, `file`.
        "param" param: Text,
        /// The flow has an address, `POST /api/v1/hooks/FLOW`, and each signed request to it starts a run.
        "webhook" webhook: RawWebhook,
    }
}

raw_map! {
    /// Who may ask over the webhook, and how its body becomes parameters.
    RawWebhook: "the webhook" {
        /// The name of the secret with which the sender signs the body (HMAC-SHA256), declared under `secrets:` of mulgil.yaml.
        #[schemars(required)]
        "secret" secret: Text,
        /// Where in the body a parameter is: `repo: repository.full_name`. Without it, under the parameter's own name at the top.
        "params" params: Entries<Text>,
    }
}
