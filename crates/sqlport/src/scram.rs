//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: the client proves that it knows the password, and the server that it does,
//! and whoever listens learns nothing that lets him in.

use std::num::NonZeroU32;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::mechanism::{AuthMechanism, AuthState};
use pgwire::api::{ClientInfo, METADATA_USER};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::failure::fatal;

const METHOD: &str = "SCRAM-SHA-256";
/// As PostgreSQL: enough that guessing is slow, little enough that connecting is not.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).expect("not zero");
const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 18;

type Key = [u8; KEY_LENGTH];

/// What checks a password and cannot be used as one.
pub(crate) struct Verifier {
    salt: [u8; SALT_LENGTH],
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// The verifier of a password. `None` where the system has no random numbers.
    pub(crate) fn of(password: &str) -> Option<Self> {
        let mut salt = [0; SALT_LENGTH];
        SystemRandom::new().fill(&mut salt).ok()?;
        let mut salted = [0; KEY_LENGTH];
        // What cannot be prepared is taken as it is, as PostgreSQL does.
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut salted);
        let stored_key = hash(&signature(&salted, b"Client Key"));
        Some(Self { salt, stored_key, server_key: signature(&salted, b"Server Key") })
    }

    /// Checks a proof over the messages of both sides; gives the server's own signature.
    fn check(&self, messages: &str, proof: &[u8]) -> Option<Key> {
        let signed = signature(&self.stored_key, messages.as_bytes());
        let proof: Key = proof.try_into().ok()?;
        let mut client_key = signed;
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        // The same time wherever the two differ.
        let differences =
            hash(&client_key).iter().zip(self.stored_key).fold(0, |sum, (ours, stored)| sum | (ours ^ stored));
        (differences == 0).then(|| signature(&self.server_key, messages.as_bytes()))
    }
}

fn signature(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().unwrap_or_default()
}

fn hash(bytes: &[u8]) -> Key {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// The exchange with one client.
pub(crate) struct Exchange {
    verifier: std::sync::Arc<Verifier>,
    state: State,
}

enum State {
    /// The client begins.
    First,
    /// The client proves: over its first message without the header, our answer, and its header.
    Proof { client_first: String, server_first: String, header: String, nonce: String },
    /// It has been decided.
    Over,
}

impl Exchange {
    pub(crate) fn new(verifier: std::sync::Arc<Verifier>) -> Self {
        Self { verifier, state: State::First }
    }

    /// Answers the client's first message: `n,,n=user,r=nonce`.
    fn begin(&mut self, message: &str) -> Option<String> {
        // Nobody binds the exchange to the encryption here, so a client may at most say that it could have.
        let bare = message.strip_prefix("n,").or_else(|| message.strip_prefix("y,"))?;
        let (_authorized_as, bare) = bare.split_once(',')?;
        let header = message.get(..message.len() - bare.len())?.to_owned();
        let theirs = attribute(bare, "r").filter(|nonce| !nonce.is_empty())?;
        let mut ours = [0; NONCE_LENGTH];
        SystemRandom::new().fill(&mut ours).ok()?;
        let nonce = format!("{theirs}{}", STANDARD.encode(ours));
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(self.verifier.salt));
        self.state = State::Proof { client_first: bare.to_owned(), server_first: server_first.clone(), header, nonce };
        Some(server_first)
    }

    /// Checks the client's last message: `c=header,r=nonce,p=proof`.
    fn end(&mut self, message: &str) -> Option<String> {
        let State::Proof { client_first, server_first, header, nonce } =
            std::mem::replace(&mut self.state, State::Over)
        else {
            return None;
        };
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let is_ours =
            attribute(without_proof, "r")? == nonce && attribute(without_proof, "c")? == STANDARD.encode(header);
        let proof = STANDARD.decode(proof).ok().filter(|_| is_ours)?;
        let signed = self.verifier.check(&format!("{client_first},{server_first},{without_proof}"), &proof)?;
        Some(format!("v={}", STANDARD.encode(signed)))
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn refused(client: &(dyn ClientInfo + Send + Sync)) -> PgWireError {
    let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
    fatal("28P01", format!("password authentication failed for user \"{user}\""))
}

#[async_trait]
impl AuthMechanism for Exchange {
    async fn begin(&mut self, _: &(dyn ClientInfo + Send + Sync)) -> PgWireResult<AuthState> {
        Ok(AuthState::InProgress(Authentication::SASL(vec![METHOD.to_owned()])))
    }

    async fn next(
        &mut self,
        client: &(dyn ClientInfo + Send + Sync),
        message: PasswordMessageFamily,
    ) -> PgWireResult<AuthState> {
        if matches!(self.state, State::First) {
            let first = message.into_sasl_initial_response()?;
            let text = first.data.as_ref().filter(|_| first.auth_method == METHOD);
            let text = text.and_then(|data| std::str::from_utf8(data).ok());
            let answer = text.and_then(|text| Self::begin(self, text)).ok_or_else(|| refused(client))?;
            return Ok(AuthState::InProgress(Authentication::SASLContinue(answer.into())));
        }
        let last = message.into_sasl_response()?;
        let answer = std::str::from_utf8(&last.data).ok().and_then(|text| self.end(text));
        let answer = answer.ok_or_else(|| refused(client))?;
        Ok(AuthState::Ok { final_message: Some(Authentication::SASLFinal(answer.into())), identity: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        let salt: [u8; SALT_LENGTH] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let mut salted = [0; KEY_LENGTH];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, b"pencil", &mut salted);
        let verifier = Verifier {
            salt,
            stored_key: hash(&signature(&salted, b"Client Key")),
            server_key: signature(&salted, b"Server Key"),
        };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let mut exchange = Exchange::new(verifier.into());
        exchange.state = State::Proof {
            client_first: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
            server_first: format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            header: "n,,".to_owned(),
            nonce: nonce.to_owned(),
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(exchange.end(&last).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(exchange.end(&last).is_none(), "a proof counts once");
    }

    #[test]
    fn what_is_not_the_exchange_is_refused() {
        let verifier = std::sync::Arc::new(Verifier::of("a long password").unwrap());
        for first in ["", "n", "n,,n=user", "n,,n=user,r=", "p=tls-unique,,n=user,r=abc", "x,,n=user,r=abc"] {
            assert!(Exchange::new(verifier.clone()).begin(first).is_none(), "{first}");
        }
        let zeros = STANDARD.encode([0; KEY_LENGTH]);
        let lasts = [String::new(), "c=biws,r=other,p=AAAA".to_owned(), format!("c=biws,r=NONCE,p={zeros}")];
        for last in lasts.into_iter().chain([format!("c=eSws,r=NONCE,p={zeros}"), "c=biws,r=NONCE".to_owned()]) {
            let mut exchange = Exchange::new(verifier.clone());
            let server_first = exchange.begin("n,,n=user,r=abc").unwrap();
            let nonce = attribute(&server_first, "r").unwrap().to_owned();
            assert!(exchange.end(&last.replace("NONCE", &nonce)).is_none(), "{last}");
        }
    }
}
