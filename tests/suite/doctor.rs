//! `xf doctor` against a running stack, whole and broken, and the plan of `xf deploy`.

use serde_json::Value;
use xfiles_cli::{Console, Exit};
use xfiles_core::api_key::Scope;
use xfiles_tests::{World, WorldOptions};

/// Runs `xf` with these arguments and gives how it ended and what it printed.
async fn xf(arguments: &[&str]) -> (Exit, String) {
    let arguments: Vec<_> = ["xf"].iter().chain(arguments).map(Into::into).collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = xfiles_cli::run(arguments, &mut Console::new(&mut out, &mut err));
        out.extend(err);
        (exit, String::from_utf8(out).expect("text"))
    };
    tokio::task::spawn_blocking(run).await.expect("it returns")
}

/// The findings of `xf doctor` against a world, under a key.
async fn findings(world: &World, key: &str) -> (Exit, Vec<Value>) {
    let url = world.stack.listens_at().to_string();
    let arguments = ["doctor", "--json", "--purge-within", "5", "--url", &url, "--api-key", key];
    let (exit, out) = xf(&arguments).await;
    (exit, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}")))
}

/// The one finding that is a fault.
fn only_fault(findings: &[Value]) -> &Value {
    let faults: Vec<_> = findings.iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0]
}

#[tokio::test]
async fn a_healthy_stack_passes_every_check_and_keeps_nothing() {
    let world = World::start().await;
    let (exit, findings) = findings(&world, world.client.key()).await;
    assert_eq!(exit, Exit::Ok, "{findings:#?}");
    for check in ["CORS", "failover", "signed URL", "without the signature", "forgets"] {
        assert!(findings.iter().any(|f| f["check"].as_str().unwrap().contains(check)), "{check}: {findings:#?}");
    }
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_the_cause_that_is_named() {
    let world = World::start().await;
    let (exit, findings) = findings(&world, &format!("xf_{}", "a".repeat(32))).await;
    assert_eq!(exit, Exit::Failed);
    let fault = only_fault(&findings);
    assert_eq!(fault["check"], "the API key is accepted");
    assert!(fault["fix"].as_str().unwrap().contains("key"), "{fault}");
    world.end().await;
}

#[tokio::test]
async fn a_key_that_may_not_upload_is_told_apart_from_a_store_that_does_not_work() {
    let world = World::start().await;
    let reader = world.client_with(&[Scope::Read]).await;
    let (exit, findings) = findings(&world, reader.key()).await;
    assert_eq!(exit, Exit::Failed);
    let fault = only_fault(&findings);
    assert_eq!(fault["check"], "a public upload begins");
    assert!(fault["cause"].as_str().unwrap().contains("write"), "{fault}");
    world.end().await;
}

#[tokio::test]
async fn a_cdn_that_does_not_answer_is_named_and_no_signed_url_is_shown() {
    let nowhere = "http://127.0.0.1:1".parse().unwrap();
    let world = World::with(WorldOptions { public_url: Some(nowhere), ..WorldOptions::default() }).await;
    let (exit, findings) = findings(&world, world.client.key()).await;
    assert_eq!(exit, Exit::Failed);
    let fault = findings.iter().find(|f| f["check"] == "the CDN reads the bucket").unwrap();
    assert_eq!(fault["ok"], false);
    assert!(fault["cause"].as_str().unwrap().contains("does not answer"), "{fault}");
    let all = Value::Array(findings).to_string();
    assert!(!all.contains("Signature") && !all.contains(world.client.key()), "{all}");
    assert!(world.objects().await.is_empty(), "what was uploaded is deleted all the same");
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_the_first_finding_and_the_last() {
    let key = format!("xf_{}", "a".repeat(32));
    let (exit, out) = xf(&["doctor", "--url", "http://127.0.0.1:1", "--api-key", &key]).await;
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("FAIL  the API answers\n      cause: 127.0.0.1 does not answer"), "{out}");
}

#[tokio::test]
async fn the_plan_of_a_deployment_needs_no_credentials_and_names_every_command() {
    let (exit, out) = xf(&["deploy", "--dry-run", "--stack", "files-test", "--parameter", "LogDays=7"]).await;
    assert_eq!(exit, Exit::Ok, "{out}");
    let commands: Vec<_> = out.lines().filter(|line| !line.starts_with('#')).collect();
    for (command, begins) in commands.iter().zip([
        "cargo lambda build --locked --profile function --arm64",
        "aws s3 mb",
        "aws secretsmanager create-secret --name xfiles/files-test/signing-key",
        "aws cloudformation package --template-file infra/template.yaml",
        "aws cloudformation deploy",
        "aws dynamodb put-item",
    ]) {
        assert!(command.starts_with(begins), "{command}");
    }
    assert_eq!(commands.len(), 6);
    assert!(commands[4].contains("--stack-name files-test") && commands[4].ends_with(" LogDays=7"), "{out}");
}

#[tokio::test]
async fn what_is_no_stack_and_no_parameter_is_refused_with_the_rule() {
    for (arguments, rule) in [
        (["deploy", "--dry-run", "--stack", "1st"], "a stack's name is a letter"),
        (["deploy", "--dry-run", "--parameter", "LogDays"], "a parameter is NAME=VALUE"),
    ] {
        let (exit, out) = xf(&arguments).await;
        assert_eq!(exit, Exit::Usage);
        assert!(out.contains(rule), "{out}");
    }
    assert_eq!(xf(&["destroy"]).await.0, Exit::Usage, "destroy without --plan");
}
