//! `xf deploy`: build, key pair, package, deploy, first API key. Every step finds what an earlier run has made.

use std::path::PathBuf;

use serde_json::json;
use xfiles_core::{
    api_key::ApiKey,
    cdn::{KeyPairId, SigningKey},
    clock::Clock,
    id::ProjectId,
};
use xfiles_standalone::first_project;

use super::{Deployed, StackName, command::Command, table};
use crate::{
    failure::{Exit, Failure, os_text},
    output::Console,
    wait,
};

/// Deploy XFiles to AWS, or update what is deployed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf deploy --dry-run
  xf deploy --parameter AlarmTopicArn=arn:aws:sns:…
  xf deploy --stack files-test --parameter LogDays=7
  xf deploy --first-key          # after `sam deploy`

Run it in XFiles's source directory, with cargo-lambda and the AWS CLI installed and logged in. The first run makes a \
key pair, whose private key goes into Secrets Manager and nowhere else, and prints the first API key, once. Later runs \
change what has changed.")]
pub(crate) struct DeployArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles")]
    stack: StackName,
    /// The template
    #[arg(long, value_name = "PATH", default_value = "infra/template.yaml")]
    template: PathBuf,
    /// A parameter of the template; may be given several times. Without it, what was deployed stays
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<String>,
    /// Deploy the functions that were built before
    #[arg(long)]
    no_build: bool,
    /// Only print the commands, without credentials and without running any
    #[arg(long)]
    dry_run: bool,
    /// Deploy nothing, and only make the project and the API key that a stack begins with, if it has none
    #[arg(long, conflicts_with_all = ["parameters", "no_build", "dry_run", "template"])]
    first_key: bool,
    /// Print outputs and the first API key as JSON
    #[arg(long)]
    json: bool,
}

fn parameter(text: &str) -> Result<String, String> {
    let named = text
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()));
    if named { Ok(text.to_owned()) } else { Err("a parameter is NAME=VALUE".to_owned()) }
}

pub(crate) fn deploy(args: &DeployArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    if args.dry_run {
        for line in plan(args) {
            console.result(line)?;
        }
        return Ok(Exit::Ok);
    }
    if !args.first_key {
        deploy_stack(args, console)?;
    }
    let deployed = Deployed::existing(&args.stack)?;
    let (project, first_key) = wait(first_key(&deployed))?;
    tell(args, &deployed, project, first_key.as_ref(), console)?;
    Ok(Exit::Ok)
}

fn deploy_stack(args: &DeployArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if !args.no_build {
        console.note("building the functions");
        build().watched()?;
    }
    let bucket = artifacts(console)?;
    let earlier = Deployed::read(&args.stack)?;
    let mut parameters = args.parameters.clone();
    if earlier.is_none() {
        let signing = signing_key(&args.stack, console)?;
        parameters.splice(
            0..0,
            [format!("SigningKeySecretArn={}", signing.secret), format!("PublicKeyA={}", signing.public_key)],
        );
    }
    let folder = tempfile::tempdir().map_err(|error| {
        Failure::new(Exit::Unavailable, format!("cannot make a temporary folder: {}", os_text(&error)))
    })?;
    let packaged = folder.path().join("packaged.yaml");
    let packaged = packaged.to_string_lossy();
    console.note("uploading the functions");
    package(args, &bucket, &packaged).text()?;
    console.note("deploying; the first time takes some minutes, most of them CloudFront's");
    change(args, &bucket, &packaged, &parameters).watched()
}

fn tell(
    args: &DeployArgs,
    deployed: &Deployed,
    project: ProjectId,
    first_key: Option<&ApiKey>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if args.json {
        let outputs: serde_json::Map<_, _> = deployed.outputs().map(|(k, v)| (k.to_owned(), v.into())).collect();
        return console.json(&json!({
            "outputs": outputs, "projectId": project, "apiKey": first_key.map(ApiKey::reveal),
        }));
    }
    for (name, value) in deployed.outputs() {
        console.result(format_args!("{name:24}{value}"))?;
    }
    match first_key {
        Some(key) => {
            console.result(format_args!("\nThe first API key, which is shown only now:\n\n{}", key.reveal()))?;
        }
        None => console.note("there are API keys already; `xf keys create` makes another"),
    }
    let url = deployed.output("ApiUrl")?;
    console.note(format_args!("try it: XFILES_API_KEY=… xf doctor --url {url}"));
    Ok(())
}

/// What would be run, with what is only known then in angle brackets.
fn plan(args: &DeployArgs) -> Vec<String> {
    let bucket = artifacts_bucket("<account>", "<region>");
    let mut parameters = vec!["SigningKeySecretArn=<secret>".to_owned(), "PublicKeyA=<public key>".to_owned()];
    parameters.extend(args.parameters.iter().cloned());
    let mut lines = Vec::new();
    if !args.no_build {
        lines.push("# 1. Build the functions for arm64.".to_owned());
        lines.push(build().to_string());
    }
    lines.extend([
        "# 2. A bucket for what CloudFormation takes the functions from, unless it is there.".to_owned(),
        make_bucket(&bucket).to_string(),
        "# 3. At the first deployment, unless the secret is there: a P-256 key pair, made here; its private key goes in"
            .to_owned(),
        "#    by standard input.".to_owned(),
        make_secret(&args.stack).to_string(),
        "# 4. Upload the functions.".to_owned(),
        package(args, &bucket, "<packaged>").to_string(),
        "# 5. Deploy. The first two parameters are given at the first deployment only.".to_owned(),
        change(args, &bucket, "<packaged>", &parameters).to_string(),
        "# 6. Unless there is one: a project, and an API key that is printed once.".to_owned(),
        "aws dynamodb put-item --cli-input-json 'file://<item>'".to_owned(),
    ]);
    lines
}

fn build() -> Command {
    Command::new(["cargo", "lambda", "build", "--locked", "--profile", "function", "--arm64", "--features", "lambda"])
        .and([
            "--package",
            "xfiles-control-api",
            "--package",
            "xfiles-edge-variants",
            "--package",
            "xfiles-cleanup-cron",
        ])
}

fn artifacts_bucket(account: &str, region: &str) -> String {
    format!("xfiles-deploy-{account}-{region}")
}

fn make_bucket(bucket: &str) -> Command {
    Command::aws(["s3", "mb", &format!("s3://{bucket}")])
}

/// The bucket for the functions' code, made if it is not there.
fn artifacts(console: &mut Console<'_>) -> Result<String, Failure> {
    let identity = Command::aws(["sts", "get-caller-identity"]).json()?;
    let account = identity["Account"].as_str().unwrap_or_default();
    // What the AWS CLI takes for the region: its environment first, then its profile.
    let zones = Command::aws(["ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName"]);
    let region = zones.json()?;
    let bucket = artifacts_bucket(account, region.as_str().unwrap_or_default());
    let there = Command::aws(["s3api", "head-bucket", "--bucket", &bucket]).text().is_ok();
    if !there {
        console.note(format_args!("making the bucket {bucket}"));
        make_bucket(&bucket).text()?;
    }
    Ok(bucket)
}

/// The key pair of private URLs, as far as the template is told.
struct Signing {
    secret: String,
    public_key: String,
}

fn secret_name(stack: &StackName) -> String {
    format!("xfiles/{stack}/signing-key")
}

fn make_secret(stack: &StackName) -> Command {
    Command::aws(["secretsmanager", "create-secret", "--name", &secret_name(stack)]).and([
        "--description",
        "Signs the private URLs of XFiles",
        "--secret-string",
        "file:///dev/stdin",
    ])
}

/// The key in the secret, made if it is not there.
fn signing_key(stack: &StackName, console: &mut Console<'_>) -> Result<Signing, Failure> {
    // The public key does not depend on the id, which CloudFront gives later.
    let id: KeyPairId = "unnamed".parse().expect("an id");
    let name = secret_name(stack);
    match Command::aws(["secretsmanager", "get-secret-value", "--secret-id", &name]).json() {
        Ok(secret) => {
            let pem = secret["SecretString"].as_str().unwrap_or_default();
            let key = SigningKey::from_pem(id, pem)
                .map_err(|error| Failure::new(Exit::Failed, format!("the secret {name}: {error}")))?;
            Ok(Signing { secret: arn(&secret), public_key: key.public_key_pem() })
        }
        Err(failure) if failure.detail().contains("ResourceNotFoundException") => {
            console.note(format_args!("making the key pair; its private key goes into the secret {name}"));
            let (key, pem) = SigningKey::generate_p256(id);
            let made = make_secret(stack).input(pem.reveal()).json()?;
            Ok(Signing { secret: arn(&made), public_key: key.public_key_pem() })
        }
        Err(failure) => Err(failure),
    }
}

fn arn(secret: &serde_json::Value) -> String {
    secret["ARN"].as_str().unwrap_or_default().to_owned()
}

fn package(args: &DeployArgs, bucket: &str, packaged: &str) -> Command {
    let template = args.template.to_string_lossy();
    Command::aws(["cloudformation", "package", "--template-file", &template, "--s3-bucket", bucket])
        .and(["--output-template-file", packaged])
}

fn change(args: &DeployArgs, bucket: &str, packaged: &str, parameters: &[String]) -> Command {
    let command =
        Command::aws(["cloudformation", "deploy", "--template-file", packaged, "--stack-name", &args.stack.0])
            .and(["--s3-bucket", bucket, "--no-fail-on-empty-changeset"])
            .and(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]);
    if parameters.is_empty() { command } else { command.and(["--parameter-overrides"]).and(parameters) }
}

/// The first project, and its key if there was none.
async fn first_key(deployed: &Deployed) -> Result<(ProjectId, Option<ApiKey>), Failure> {
    let quota = deployed.output("DefaultQuotaBytes")?;
    let quota = quota.parse().map_err(|_| Failure::new(Exit::Failed, "the output DefaultQuotaBytes is no number"))?;
    let catalog = table::catalog(deployed.output("TableName")?);
    Ok(first_project(&catalog, quota, Clock::system().now()).await?)
}
