//! Signed URLs compared with other implementations: URLs signed by botocore are accepted by the stand-in, and our
//! signatures verify with OpenSSL. Both cover ECDSA P-256 and RSA-2048.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::{
    config::{BehaviorVersion, Credentials, Region},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use axum::{Router, body::Body, extract::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;
use xfiles_core::{
    cdn::{BaseUrl, Cdn, InvalidSigningKey, KeyPairId, Signer, SigningKey, URL_LIFE},
    clock::{Clock, Timestamp},
};
use xfiles_standalone::distribution::{Bucket, Distribution, Options, TrustedKey};

const BASE: &str = "https://cdn.example.com";
const ORIGINAL: &str = "/files/originals/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3.jpg";
const VARIANT: &str = "/files/variants/private/aaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbb/photo-a1b2c3_w400.webp";
const NOW: Timestamp = Timestamp::from_millis(1_767_290_412_345);

/// A bucket that has every object, so that only the signature decides.
#[derive(Debug)]
struct EveryObject;

impl HttpConnector for EveryObject {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let mut answer = HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from("bytes"));
        answer.headers_mut().insert("content-length", "5");
        HttpConnectorFuture::ready(Ok(answer))
    }
}

/// A distribution at [`BASE`] that trusts some keys.
struct Door {
    clock: Clock,
    distribution: Distribution,
}

impl Door {
    fn new(now: Timestamp, trusted_keys: Vec<TrustedKey>) -> Self {
        let connector = SharedHttpConnector::new(EveryObject);
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .endpoint_url("http://s3.invalid")
            .force_path_style(true)
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let clock = Clock::manual(now);
        let distribution = Distribution::new(Options {
            base_url: BASE.parse().unwrap(),
            bucket: Bucket { client: aws_sdk_s3::Client::from_conf(config), name: "bucket".to_owned() },
            trusted_keys,
            clock: clock.clone(),
            cache_bytes: 1 << 20,
        });
        Self { clock, distribution }
    }

    async fn status(&self, url: &str) -> u16 {
        let request = Request::get(url.strip_prefix(BASE).unwrap()).body(Body::empty()).unwrap();
        self.distribution.router(Router::new()).oneshot(request).await.unwrap().status().as_u16()
    }
}

/// The URL without one of its parameters.
fn without(url: &str, parameter: &str) -> String {
    let (base, query) = url.split_once('?').unwrap();
    let kept: Vec<&str> = query.split('&').filter(|pair| pair.split('=').next() != Some(parameter)).collect();
    format!("{base}?{}", kept.join("&"))
}

/// The URL with another value of one of its parameters.
fn with(url: &str, parameter: &str, change: impl Fn(&str) -> String) -> String {
    let (base, query) = url.split_once('?').unwrap();
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if name == parameter => format!("{name}={}", change(value)),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{base}?{}", pairs.join("&"))
}

fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| (key == name).then_some(value))
}

/// Changes a character in the middle.
fn altered(value: &str) -> String {
    let at = value.len() / 2;
    let other = if &value[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &value[..at], &value[at + 1..])
}

/// The vectors of `fixtures/signatures/make.py`.
struct Vectors {
    now: Timestamp,
    expires: Timestamp,
    key_ids: Vec<String>,
    trusted: Vec<TrustedKey>,
    urls: Vec<(String, String)>,
}

impl Vectors {
    fn load() -> Self {
        let text = include_str!("../fixtures/signatures/vectors.json");
        let document: Value = serde_json::from_str(text).unwrap();
        let keys = document["publicKeys"].as_object().unwrap();
        let trust =
            |(id, pem): (&String, &Value)| TrustedKey::from_pem(id.parse().unwrap(), pem.as_str().unwrap()).unwrap();
        let text_of = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            now: Timestamp::from_millis(document["now"].as_i64().unwrap() * 1000),
            expires: Timestamp::from_millis(document["expires"].as_i64().unwrap() * 1000),
            key_ids: keys.keys().cloned().collect(),
            trusted: keys.iter().map(trust).collect(),
            urls: document["vectors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|vector| (text_of(&vector["name"]), text_of(&vector["url"])))
                .collect(),
        }
    }

    fn door(&self) -> Door {
        Door::new(self.now, self.trusted.clone())
    }
}

#[tokio::test]
async fn every_url_that_botocore_signed_opens_until_it_expires() {
    let vectors = Vectors::load();
    let door = vectors.door();
    assert_eq!(vectors.urls.len(), 20);
    for (name, url) in &vectors.urls {
        assert_eq!(door.status(url).await, 200, "{name}");
    }
    door.clock.advance(vectors.expires.since(vectors.now) - Duration::from_millis(1));
    for (name, url) in &vectors.urls {
        assert_eq!(door.status(url).await, 200, "{name}");
    }
    door.clock.advance(Duration::from_millis(1));
    for (name, url) in &vectors.urls {
        assert_eq!(door.status(url).await, 403, "{name}");
    }
}

#[tokio::test]
async fn a_url_that_botocore_signed_opens_no_other_file_and_no_other_project() {
    let vectors = Vectors::load();
    let door = vectors.door();
    for (name, url) in &vectors.urls {
        for other in [
            url.replacen("bbbb/", "bbbc/", 1),
            url.replacen("aaaa/", "aaac/", 1),
            url.replacen("/originals/", "/variants/", 1).replacen("c3.jpg", "c3_w100.webp", 1),
            url.replacen("/variants/", "/originals/", 1).replacen("_w400.webp", ".jpg", 1),
        ] {
            if other != *url {
                assert_eq!(door.status(&other).await, 403, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_botocore_url_that_was_tampered_with_opens_nothing() {
    let vectors = Vectors::load();
    let door = vectors.door();
    for (name, url) in &vectors.urls {
        for changed in ["Signature", "Policy", "Expires", "Key-Pair-Id"] {
            if parameter(url, changed).is_some() {
                assert_eq!(door.status(&with(url, changed, altered)).await, 403, "{name}: {changed} altered");
                assert_eq!(door.status(&without(url, changed)).await, 403, "{name}: {changed} missing");
                assert_eq!(door.status(&with(url, changed, |_| String::new())).await, 403, "{name}: {changed} empty");
            }
        }
        let prolonged = with(url, "Expires", |seconds| (seconds.parse::<i64>().unwrap() + 60).to_string());
        assert_eq!(door.status(&prolonged).await == 200, prolonged == *url, "{name}: prolonged");
        let own = parameter(url, "Key-Pair-Id").unwrap();
        for other in vectors.key_ids.iter().filter(|id| *id != own) {
            assert_eq!(door.status(&with(url, "Key-Pair-Id", |_| other.clone())).await, 403, "{name}: other key");
        }
        let other_hash = match parameter(url, "Hash-Algorithm") {
            Some(_) => without(url, "Hash-Algorithm"),
            None => format!("{url}&Hash-Algorithm=SHA256"),
        };
        assert_eq!(door.status(&other_hash).await, 403, "{name}: other hash");
    }
}

#[tokio::test]
async fn a_key_that_is_no_longer_trusted_opens_nothing() {
    let vectors = Vectors::load();
    let door = Door::new(vectors.now, Vec::new());
    for (name, url) in &vectors.urls {
        assert_eq!(door.status(url).await, 403, "{name}");
    }
}

/// The `openssl` command in a temporary directory.
struct OpenSsl {
    directory: TempDir,
}

impl OpenSsl {
    /// `None` on a machine without it, with a message that the test harness does not capture.
    fn find(test: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self { directory: tempfile::tempdir().unwrap() });
        }
        writeln!(std::io::stderr(), "SKIPPED {test}: there is no `openssl` command here").unwrap();
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("openssl").current_dir(self.directory.path()).args(arguments).output().unwrap()
    }

    /// The PEM of a new key in the form of the arguments.
    fn private_key(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn public_key(&self, private_key: &str) -> String {
        fs::write(self.path("private.pem"), private_key).unwrap();
        let output = self.run(&["pkey", "-in", "private.pem", "-pubout"]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    fn verifies(&self, public_key: &str, policy: &str, signature: &[u8]) -> bool {
        let write = |name: &str, bytes: &[u8]| fs::write(self.path(name), bytes).unwrap();
        write("public.pem", public_key.as_bytes());
        write("policy.json", policy.as_bytes());
        write("signature.bin", signature);
        let arguments = ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature.bin", "policy.json"];
        self.run(&arguments).status.success()
    }
}

/// Every supported form of a key: its name, and OpenSSL's arguments.
const KEY_FORMS: [(&str, &[&str]); 5] = [
    ("P-256, PKCS#8", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("P-256, SEC 1", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
    ("P-256, SEC 1 after its parameters", &["ecparam", "-name", "prime256v1", "-genkey"]),
    ("RSA-2048, PKCS#8", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("RSA-2048, PKCS#1", &["genrsa", "-traditional", "2048"]),
];

fn cdn(key: SigningKey) -> Cdn {
    let door = Door::new(NOW, Vec::new());
    let base: BaseUrl = BASE.parse().unwrap();
    Cdn::new(base, Signer::new(key, URL_LIFE), Arc::new(door.distribution))
}

/// The policy that a URL signs, and the signature.
fn signed_parts(url: &str) -> (String, Vec<u8>) {
    let decode = |text: &str| BASE64.decode(text.replace('-', "+").replace('_', "=").replace('~', "/")).unwrap();
    let signature = decode(parameter(url, "Signature").unwrap());
    let policy = match (parameter(url, "Policy"), parameter(url, "Expires")) {
        (Some(policy), _) => String::from_utf8(decode(policy)).unwrap(),
        (None, expires) => [
            r#"{"Statement":[{"Resource":""#,
            url.split_once('?').unwrap().0,
            r#"","Condition":{"DateLessThan":{"AWS:EpochTime":"#,
            expires.unwrap(),
            "}}}]}",
        ]
        .concat(),
    };
    (policy, signature)
}

#[tokio::test]
async fn what_we_sign_verifies_with_openssl_and_opens_the_stand_in() {
    let Some(openssl) = OpenSsl::find("what_we_sign_verifies_with_openssl_and_opens_the_stand_in") else { return };
    for (form, arguments) in KEY_FORMS {
        let pem = openssl.private_key(arguments);
        let key = SigningKey::from_pem(KeyPairId::mint(), &pem).unwrap();
        assert_eq!(key.public_key_pem(), openssl.public_key(&pem), "{form}");

        let public_key = key.public_key_pem();
        let door = Door::new(NOW, vec![TrustedKey::from_pem(key.id().clone(), &public_key).unwrap()]);
        let cdn = cdn(key);
        for path in [ORIGINAL, VARIANT] {
            let url = cdn.url(&path[1..].parse().unwrap(), cdn.expiry(NOW)).await.unwrap();
            let (policy, signature) = signed_parts(url.as_str());
            assert!(openssl.verifies(&public_key, &policy, &signature), "{form} {path}");
            assert!(!openssl.verifies(&public_key, &policy.replace("bbbb/", "bbbc/"), &signature), "{form} {path}");
            assert_eq!(door.status(url.as_str()).await, 200, "{form} {path}");
            assert_eq!(door.status(&without(url.as_str(), "Signature")).await, 403, "{form} {path}");
        }
    }
}

#[test]
fn a_generated_key_is_one_that_openssl_reads() {
    let Some(openssl) = OpenSsl::find("a_generated_key_is_one_that_openssl_reads") else { return };
    let (key, pem) = SigningKey::generate_p256(KeyPairId::mint());
    assert_eq!(key.public_key_pem(), openssl.public_key(pem.reveal()));
}

#[test]
fn a_key_that_cloudfront_would_not_take_is_refused() {
    let Some(openssl) = OpenSsl::find("a_key_that_cloudfront_would_not_take_is_refused") else { return };
    for (arguments, reason) in [
        (&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..], InvalidSigningKey::Unsupported),
        (&["ecparam", "-name", "secp384r1", "-genkey", "-noout"], InvalidSigningKey::Unsupported),
        (&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"], InvalidSigningKey::Unsupported),
        (&["genpkey", "-algorithm", "ED25519"], InvalidSigningKey::Unsupported),
        (&["genrsa", "-aes128", "-passout", "pass:secret", "2048"], InvalidSigningKey::NotPem),
    ] {
        let pem = openssl.private_key(arguments);
        let refused = SigningKey::from_pem(KeyPairId::mint(), &pem).err();
        assert_eq!(refused, Some(reason), "{arguments:?}");
    }
}

#[test]
fn the_fixtures_hold_no_private_key() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signatures");
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("PRIVATE KEY"));
    }
}
